"""A power cut while everything runs, and the next boot: two machines, one after the other, with one disk."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import vm_lab

pytestmark = vm_lab.marks
SCRIPT = "mkdir /data && mount -o loop {shared}/disk.img /data && exec $python tests/support/reboot_lab.py {half} /data"


def test_what_is_to_run_runs_again_and_nothing_else_is_left() -> None:
    vm_lab.build()
    with tempfile.TemporaryDirectory(prefix="wherry-reboot-", dir="/var/tmp") as shared:
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", f"{shared}/disk.img", "1G"], check=True)
        for half in ("before", "after"):
            done = vm_lab.run(SCRIPT.format(shared=shared, half=half), Path(shared), 600)
            assert done.returncode == 0, f"{half}: {done.stdout[-6000:]}"
