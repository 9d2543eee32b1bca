"""`kill -9` of the daemon at every point of a container's life: either nothing is left, or the next daemon finds all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from shim_box import Box, alive, wait_for

from wherry.errors import NotFound
from wherry.shim.client import Shim, read_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
DAEMON = Path(__file__).resolve().parents[1] / "support/shim_daemon.py"
POINTS = ("zygote", "launching", "created", "starting", "started", "executing", "executed", "exited", "releasing", "released")
COMMAND = "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); done; read x; echo end; exit 13"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    base = Path("/run") / f"shim-crash-{os.getpid()}"
    base.mkdir()
    one = Box(base)
    yield one
    one.close()


def left_of(name: str, zygote: int) -> list[str]:
    """The shim of a container, and zygotes but the one given: a shim is called so too before it has its title."""
    shown = subprocess.run(["ps", "ww", "-eo", "pid,cmd"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 1) for line in shown.splitlines()]
    return [command for pid, command in rows
            if command.rstrip() == f"wherry-shim {name}" or (command.startswith("wherry-zygote") and int(pid) != zygote)]


@pytest.mark.parametrize("delay_s", [0, 0.002, 0.01])
@pytest.mark.parametrize("point", POINTS)
def test_a_daemon_is_killed(box: Box, point: str, delay_s: float) -> None:
    request = box.request(COMMAND)
    folder = Path(request.run_folder)
    daemon = subprocess.Popen([sys.executable, str(DAEMON), request.run_folder, request.bundle, request.id], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    try:
        for word in POINTS:
            assert daemon.stdout.readline() == word + "\n"
            if word == point:
                break
            daemon.stdin.write("\n")
            daemon.stdin.flush()
        time.sleep(delay_s)
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stdin.close()
        daemon.stdout.close()

    async def take_over() -> Shim | None:
        try:
            return await Shim.connect(request.run_folder)
        except NotFound:
            return None

    shim = None
    if point in ("starting", "started", "executing", "executed"):
        shim = box.run(take_over())
        assert shim is not None or point == "starting"
    if shim is not None and not shim.started:  # the order to start had not arrived
        box.run(shim.release())
        shim = None
    if shim is not None:
        events: list[object] = []
        shim.on_event = events.append
        assert {one.exec_id for one in shim.execs} <= {"e"}
        assert point != "executed" or shim.execs
        box.run(shim.close_stdin())
        box.wait_for(lambda: shim.exited is not None, lambda: "the exit")
        assert shim.exited is not None
        assert shim.exited.code == 13
        box.run(shim.release())
        assert (folder / "log").read_text().count("\n") == 21
    wait_for(lambda: not left_of(request.id, box.zygote.pid), lambda: "the shim and the zygote end")
    assert not (folder / "shim.sock").exists()
    exited = read_exit(str(folder))
    if point in ("zygote", "launching", "created"):
        assert exited is None
    if point in ("exited", "releasing", "released") or shim is not None:
        assert exited is not None
        assert exited.code == 13
    assert subprocess.run(["find", "/sys/fs/cgroup", "-name", request.id], capture_output=True, text=True, check=True).stdout == ""
    assert not list((folder / "runtime").glob("*/state.json"))
    assert alive(box.zygote.pid)
