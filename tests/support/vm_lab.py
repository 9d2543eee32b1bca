"""The virtual machine with the checkout and its environment in it: systemd as process 1, pure cgroup v2, Debian's kernel.

Both go in as images of file systems, mounted where they lie here: read file by file over the shared folder, a daemon's modules
alone take a minute.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
NEEDED = ("qemu-system-x86_64", "mmdebstrap", "mke2fs")
# Debian's interpreter is in the machine; another one is not.
FOREIGN = Path(sys.executable).resolve() != Path("/usr/bin/python3").resolve()
missing = [one for one in NEEDED if shutil.which(one) is None]
marks = [pytest.mark.vm, pytest.mark.slow, pytest.mark.root,
         pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}"),
         pytest.mark.skipif(FOREIGN, reason="needs an environment made with /usr/bin/python3, which the machine has too")]
# The root hands its controllers down, as it does where an engine runs.
HAND_DOWN = "for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c > /sys/fs/cgroup/cgroup.subtree_control; done"


def build() -> None:
    """Makes the machine's own image if it is not there (about two minutes), or skips the tests."""
    done = subprocess.run([str(TOP / "vm/build")], capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"the virtual machine cannot be built here: {done.stderr.strip().splitlines()[-1]}")


def make_image(path: Path, source: Path, free_mib: int) -> None:
    """An ext4 file system with a copy of a folder, and room for more."""
    held_mib = int(subprocess.run(["du", "-sm", str(source)], capture_output=True, text=True, check=True).stdout.split()[0])
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "80000", "-d", str(source),
                    str(path), f"{held_mib + held_mib // 3 + free_mib}M"], check=True, stdout=subprocess.DEVNULL)


def run(script: str, shared: Path, timeout_s: int) -> subprocess.CompletedProcess[str]:
    """Runs an sh script in a new machine, in the checkout, `shared` at its place; status 0 or not, and what it printed.

    Set in it: $python, the environment's interpreter. The machine is ended as by a power cut.
    """
    folders = {TOP} if Path(sys.prefix).is_relative_to(TOP) else {TOP, Path(sys.prefix)}
    with tempfile.TemporaryDirectory(prefix="wherry-vm-", dir="/var/tmp") as temporary:
        words = [f"python={shlex.quote(sys.executable)}; modprobe loop; {HAND_DOWN}"]
        for number, folder in enumerate(sorted(folders)):
            image = Path(temporary, f"{number}.img")
            make_image(image, folder, 64)
            words.append(f"mkdir -p {shlex.quote(str(folder))}; mount -o loop,noatime {image} {shlex.quote(str(folder))}")
        words += [f"cd {shlex.quote(str(TOP))}", script]
        return subprocess.run([str(TOP / "vm/run"), "--timeout", str(timeout_s), "--share", temporary, "--share", str(shared),
                               "--", "sh", "-c", "\n".join(words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              cwd=temporary, timeout=timeout_s + 60, check=False)
