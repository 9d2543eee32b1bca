"""Where processes are beside runc: cgroups of hybrid hosts, folders below, who is killed with an init; what the log says of it."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure, needs  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.root, pytest.mark.peer]
RUNC = pytest.mark.parametrize("runtime", [WHERRY, "runc"], ids=["ours", "runc"])


def sleeping(runtime: str, bundle: Path, *gone: str) -> str:
    """Starts the container `x`, without some namespaces; the path of its cgroup."""
    needs(*{runtime} - {WHERRY})
    configure(bundle, "sleep", "1000")
    document = json.loads((bundle / "config.json").read_text())
    place = document["linux"]["cgroupsPath"] = f"/wherry-processes/{'ours' if runtime == WHERRY else 'theirs'}"
    document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] not in gone]
    document["mounts"][-1]["options"].remove("ro")
    (bundle / "config.json").write_text(json.dumps(document))
    assert call(runtime, bundle, "run", "-d", "--pid-file", str(bundle / "pid"), "x") == (0, "")
    return str(place)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def inside(place: str) -> list[str]:
    try:
        return Path(f"/sys/fs/cgroup/pids{place}/cgroup.procs").read_text().split()
    except FileNotFoundError:
        return []


@pytest.mark.skipif(not Path("/sys/fs/cgroup/unified").exists(), reason="a hybrid host has the cgroup2 hierarchy beside")
@RUNC
def test_the_container_has_a_place_in_every_hierarchy_of_a_hybrid_host(bundle: Path, runtime: str) -> None:
    place = sleeping(runtime, bundle)
    try:
        lines = Path(f"/proc/{(bundle / 'pid').read_text()}/cgroup").read_text().splitlines()
        assert {line.rpartition(":")[2] for line in lines} == {place}
        assert call(runtime, bundle, "exec", "x", "cat", "/proc/self/cgroup") == (0, "".join(f"{line}\n" for line in lines))
    finally:
        assert call(runtime, bundle, "delete", "--force", "x")[0] == 0
    assert not Path(f"/sys/fs/cgroup/unified{place}").exists()


@pytest.mark.skipif(not Path("/sys/fs/cgroup/pids").exists(), reason="the controllers of version 1 have folders of their own")
@RUNC
def test_a_further_process_in_a_folder_below(bundle: Path, runtime: str) -> None:
    place = sleeping(runtime, bundle)
    try:
        code, text = call(runtime, bundle, "exec", "--cgroup", "..", "x", "true")
        assert (code, ".. is not a sub cgroup path" in text) == (255, True)
        for where in ("none", "cpu:none"):
            code, text = call(runtime, bundle, "exec", "--cgroup", where, "x", "true")
            assert code == 255
            assert re.search(r"error adding pid \d+ to cgroups: .*openat2 \S*/none/cgroup.procs: no such file or directory", text)
        code, text = call(runtime, bundle, "exec", "--cgroup", "nosuch:/", "x", "true")
        assert (code, "unknown controller nosuch" in text) == (255, True)
        assert call(runtime, bundle, "exec", "x", "busybox", "mkdir", "/sys/fs/cgroup/memory/below") == (0, "")
        code, text = call(runtime, bundle, "exec", "--cgroup", "memory:below", "x", "cat", "/proc/self/cgroup")
        assert (code, f":memory:{place}/below\n" in text, f":pids:{place}\n" in text) == (0, True, True)
    finally:
        assert call(runtime, bundle, "delete", "--force", "x")[0] == 0
    assert not Path(f"/sys/fs/cgroup/memory{place}").exists()


def test_without_a_pid_namespace_a_kill_is_for_everybody(bundle: Path) -> None:
    """As runc 1.2 does; 1.1 leaves the others."""
    place = sleeping(WHERRY, bundle, "pid")
    try:
        assert call(WHERRY, bundle, "exec", "-d", "x", "sleep", "1000") == (0, "")
        assert len(inside(place)) == 2
        assert call(WHERRY, bundle, "kill", "x", "KILL") == (0, "")
        until(lambda: not inside(place))
    finally:
        assert call(WHERRY, bundle, "delete", "--force", "x")[0] == 0


@pytest.mark.skipif(not Path("/sys/fs/cgroup/freezer").exists(), reason="frozen processes of cgroup v2 die")
def test_an_init_that_somebody_froze_elsewhere_is_removed_by_force(bundle: Path) -> None:
    """Runc gives up, and crun leaves the process."""
    sleeping(WHERRY, bundle)
    elsewhere = Path("/sys/fs/cgroup/freezer/wherry-elsewhere")
    elsewhere.mkdir()
    try:
        (elsewhere / "cgroup.procs").write_text((bundle / "pid").read_text())
        (elsewhere / "freezer.state").write_text("FROZEN")
        assert call(WHERRY, bundle, "delete", "--force", "x") == (0, "")
    finally:
        (elsewhere / "freezer.state").write_text("THAWED")
        call(WHERRY, bundle, "delete", "--force", "x")
        elsewhere.rmdir()


@pytest.mark.parametrize("words", [("kill", "x", "KILL"), ("kill", "--all", "x", "KILL"), ("delete", "x")])
def test_those_that_outlive_the_init_are_reached(bundle: Path, words: tuple[str, ...]) -> None:
    """As runc 1.2 does; 1.1 says that the container does not run."""
    place = sleeping(WHERRY, bundle, "pid")
    try:
        assert call(WHERRY, bundle, "exec", "-d", "x", "sleep", "1000") == (0, "")
        init = (bundle / "pid").read_text()
        os.kill(int(init), 9)
        until(lambda: init not in inside(place))
        assert len(inside(place)) == 1
        assert call(WHERRY, bundle, *words) == (0, "")
        until(lambda: not inside(place))
    finally:
        assert call(WHERRY, bundle, "delete", "--force", "x")[0] == 0


@RUNC
def test_the_log_has_the_words_that_its_readers_look_for(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    configure(bundle, "true")
    code, text = call(runtime, bundle, "--debug", "run", "x")
    assert (code, "level=debug" in text, "nsexec container setup" in text, "child process in init()" in text) == (0, True, True, True)
    sleeping(runtime, bundle)
    try:
        log = bundle / "exec-log"
        assert call(runtime, bundle, "--debug", "--log", str(log), "exec", "x", "true") == (0, "")
        said = log.read_text()
        assert all(words in said for words in ("nsexec container setup", "child process in init()", "setns_init: about to exec"))
        log.unlink()
    finally:
        assert call(runtime, bundle, "delete", "--force", "x")[0] == 0


@RUNC
def test_the_pages_of_help_begin_alike(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    for words in (("-h",), ("--help",), ("help",)):
        assert call(runtime, bundle, *words)[1].splitlines()[:2] == ["NAME:", "   runc - Open Container Initiative runtime"]
    for verb in ("checkpoint", "create", "delete", "exec", "list", "run", "spec", "update"):
        assert call(runtime, bundle, verb, "-h")[1].splitlines()[1].startswith(f"   runc {verb} - ")
