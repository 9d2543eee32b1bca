"""wherryd as a service of systemd, with the units of packaging/: only where systemd is process 1, as in the virtual machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from busybox_image import archive

TOP = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
UNITS = Path("/run/systemd/system")
pytestmark = [
    pytest.mark.root, pytest.mark.vm,
    pytest.mark.skipif(not UNITS.is_dir() or os.geteuid() != 0 or os.path.exists("/run/wherry.sock"),
                       reason="needs root, systemd as process 1, and no wherry of its own there"),
]


def run(*words: str, data: bytes | None = None) -> str:
    done = subprocess.run(words, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stdout!r}"
    return done.stdout.decode().strip()


def wherry(*words: str, data: bytes | None = None) -> str:
    return run(str(BIN / "wherry"), "-H", "unix:///run/wherry.sock", *words, data=data)


@pytest.fixture
def units():
    """The packaged units, with this environment's program, and without the group that packages make."""
    text = (TOP / "packaging/systemd/wherry.service").read_text()
    assert "/usr/local/bin/wherryd" in text
    (UNITS / "wherry.service").write_text(text.replace("/usr/local/bin/wherryd", str(BIN / "wherryd")))
    lines = (TOP / "packaging/systemd/wherry.socket").read_text().splitlines(keepends=True)
    (UNITS / "wherry.socket").write_text("".join(line for line in lines if not line.startswith("SocketGroup")))
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "wherry.socket")
    yield
    subprocess.run(["systemctl", "stop", "wherry.socket", "wherry.service"], timeout=120, check=False)
    for name in ("wherry.service", "wherry.socket"):
        (UNITS / name).unlink()


def test_a_service_that_starts_with_its_first_client_and_outlived_by_containers(units) -> None:
    assert subprocess.run(["systemctl", "is-active", "wherry.service"], capture_output=True).stdout == b"inactive\n"
    wherry("load", "-q", data=archive("busybox:latest"))
    assert run("systemctl", "is-active", "wherry.service") == "active"
    wherry("run", "-d", "--name", "lives", "--network", "none", "--memory", "64m", "busybox", "sleep", "1000")
    try:
        pid = wherry("inspect", "-f", "{{.State.Pid}}", "lives")
        folder = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")
        assert Path(f"/sys/fs/cgroup{folder}/memory.max").read_text() == f"{64 << 20}\n"
        main = run("systemctl", "show", "-p", "MainPID", "--value", "wherry.service")
        os.kill(int(main), 9)
        deadline = time.monotonic() + 60
        while run("systemctl", "show", "-p", "MainPID", "--value", "wherry.service") in (main, "0"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert wherry("inspect", "-f", "{{.State.Pid}} {{.State.Running}}", "lives") == f"{pid} true"
        assert wherry("exec", "lives", "echo", "still") == "still"
    finally:
        wherry("rm", "-f", "lives")
