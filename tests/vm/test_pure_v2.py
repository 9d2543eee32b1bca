"""The system tests once more, in a virtual machine with systemd and pure cgroup v2: both hierarchies are first class.

The machine is built once (about two minutes, kept in the cache folder of `vm/build`), and one machine runs all files of one list.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
NEEDED = ("qemu-system-x86_64", "mmdebstrap", "mke2fs")
missing = [one for one in NEEDED if shutil.which(one) is None]
# The machine has Debian's interpreter and reaches the libraries through the shared folder of the environment.
foreign = Path(sys.executable).resolve() != Path("/usr/bin/python3").resolve()
pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.root,
              pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}"),
              pytest.mark.skipif(foreign, reason="needs an environment made with /usr/bin/python3, which the machine has too")]
# What concerns control groups, devices and limits, and one life of a container through all boxes.
FILES = ("test_cgroup_manager.py", "test_runtime_life.py", "test_engine_containers.py")
# What waits for clocks and not for cgroups: the machine is about ten times slower where there is no KVM.
LEFT_OUT = "health or events"
CONTROLLERS = "for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c > /sys/fs/cgroup/cgroup.subtree_control; done"


@pytest.fixture(scope="module")
def machine() -> str:
    """Builds the image if it is not there; the path of `run`."""
    done = subprocess.run([str(TOP / "vm/build")], capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.skip(f"the virtual machine cannot be built here: {done.stderr.strip().splitlines()[-1]}")
    return str(TOP / "vm/run")


def run_in(machine: str, command: str) -> None:
    """Runs pytest with these arguments in a fresh machine; it must pass."""
    shares = [argument for folder in {str(TOP), sys.prefix} for argument in ("--share", folder)]
    done = subprocess.run([machine, "--timeout", "900", *shares, "--", "sh", "-c", command], capture_output=True, text=True,
                          timeout=1000, cwd=TOP, env={key: value for key, value in os.environ.items() if key != "WHERRY_WORLD"})
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_system_tests_on_pure_v2(machine: str) -> None:
    files = " ".join(f"tests/system/{name}" for name in FILES)
    run_in(machine, f"cd {TOP} && {CONTROLLERS} && exec {sys.executable} -m pytest -q -p no:cacheprovider -k 'not ({LEFT_OUT})' {files}")


def test_where_systemd_is_process_1(machine: str) -> None:
    names = ("test_systemd_service.py", "test_cgroup_systemd.py", "test_cgroup_drivers.py")
    files = " ".join(f"tests/vm/{name}" for name in names)
    # The other driver is the one of the files above.
    run_in(machine, f"cd {TOP} && exec {sys.executable} -m pytest -q -p no:cacheprovider -k 'not cgroupfs' {files}")
