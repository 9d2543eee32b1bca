"""Published escapes of runc, containerd and dockerd, tried on containers of wherryd, their start, exec, attach, cp; exec also cold."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
from attacked import Attack, Cold
from containers_by_api import Api, until
from wherryd_box import wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]
SUPPORT = Path(__file__).resolve().parents[1] / "support"
# The host's interpreter for programs in containers; the image has none.
PYTHON = os.path.realpath(sys.executable)
BINDS = [f"{folder}:{folder}:ro" for folder in ("/usr", "/lib", "/lib64") if os.path.isdir(folder)]
PEEKING = {"CapAdd": ["SYS_PTRACE", "SYS_ADMIN", "CHECKPOINT_RESTORE"], "SecurityOpt": ["seccomp=unconfined"]}


@pytest.fixture(scope="module")
def api():
    with wherryd() as daemon:
        yield Api(daemon)


@pytest.fixture
def shared(tmp_path):
    """A folder that containers may be given."""
    shutil.copy(SUPPORT / "peeking.py", tmp_path)
    return tmp_path


def looks(shared: Path) -> list[dict]:
    """What the peeking program saw of processes that had not become their program yet."""
    return [json.loads(line) for line in (shared / "seen").read_text().split("\n")[1:-1]]


def check_nothing_of_the_host(seen: list[dict]) -> None:
    for one in seen:
        assert not one["exe_writable"], one
        assert one["writable_maps"] == []
        assert one["root_inside"], one
        assert one["foreign"] == []


def test_who_enters_by_exec_brings_nothing_of_the_host(api, shared) -> None:
    """CVE-2019-5736, CVE-2016-9962: the first exec in a container, and those that follow (which may be made in another way)."""
    with api.running(PYTHON, "-IS", "/shared/peeking.py", "/shared/seen", "/bin/busybox",
                     host={**PEEKING, "Binds": [*BINDS, f"{shared}:/shared"]}) as container:
        until(lambda: (shared / "seen").exists() and (shared / "seen").read_text())
        for tty in (False, True):
            for _ in range(4):
                assert api.exec(container, "true", Tty=tty)[0] == 0
        seen = looks(shared)
    assert seen, "nothing was caught on its way in"
    check_nothing_of_the_host(seen)


def test_who_enters_by_a_cold_exec_brings_nothing_of_the_host(shared, tmp_path) -> None:
    """The same by `wherry-runc exec`: there the interpreter is on a mount that can be written to, and stays outside."""
    cold = Cold(tmp_path / "cold")
    attack = Attack(args=(PYTHON, "-IS", "/shared/peeking.py", "/shared/seen", "/bin/busybox"), binds=(*BINDS, f"{shared}:/shared"),
                    capabilities=tuple(f"CAP_{name}" for name in PEEKING["CapAdd"]))
    with cold.running(attack):
        until(lambda: (shared / "seen").exists() and (shared / "seen").read_text())
        for _ in range(6):
            assert cold.exec("true") == 0
        seen = looks(shared)
    assert seen, "nothing was caught on its way in"
    check_nothing_of_the_host(seen)
    assert not any("python" in one["exe"] for one in seen)


def test_who_joins_a_pid_namespace_brings_nothing_of_the_host(api, shared) -> None:
    """As CVE-2016-9962, by containers that are started with `--pid container:` in the pid namespace of the attacker."""
    with api.running(PYTHON, "-IS", "/shared/peeking.py", "/shared/seen", "/bin/busybox",
                     host={**PEEKING, "Binds": [*BINDS, f"{shared}:/shared"]}) as container:
        until(lambda: (shared / "seen").exists() and (shared / "seen").read_text())
        for tty in (False, True):
            for _ in range(4):
                assert api.run("true", host={"PidMode": f"container:{container}"}, Tty=tty)[0] == 0
        seen = looks(shared)
    check_newcomers(seen)


def test_who_joins_a_pid_namespace_cold_brings_nothing_of_the_host(shared, tmp_path) -> None:
    """The same by `wherry-runc run`."""
    attacker, joining = Cold(tmp_path / "attacker"), Cold(tmp_path / "joining")
    attack = Attack(args=(PYTHON, "-IS", "/shared/peeking.py", "/shared/seen", "/bin/busybox"), binds=(*BINDS, f"{shared}:/shared"),
                    capabilities=tuple(f"CAP_{name}" for name in PEEKING["CapAdd"]))
    with attacker.running(attack):
        until(lambda: (shared / "seen").exists() and (shared / "seen").read_text())
        for terminal in (False, True, False, True):
            assert joining.run(Attack(args=("true",), terminal=terminal, joins=attacker.pid()))[0] == 0
        seen = looks(shared)
    check_newcomers(seen)


def check_newcomers(seen: list[dict]) -> None:
    """What was stopped on its way had its own root by then, and was a last hop: no interpreter, no descriptor of the host."""
    assert seen, "nothing was caught on its way in"
    for one in seen:
        assert not one["exe_writable"], one
        assert one["writable_maps"] == []
        assert not set(os.listdir("/")) <= set(one["root_files"]), one
        assert one["foreign"] == []
        assert "python" not in one["exe"]


def test_a_number_is_a_uid_whatever_the_image_calls_it(api) -> None:
    """CVE-2016-3697: a user of the image whose name is a number, with uid 0."""
    script = "echo '1000:x:0:0::/:/bin/sh' >>/etc/passwd; sleep 1000"
    with api.running("sh", "-c", script) as container:
        until(lambda: "1000:x:0" in api.exec(container, "cat", "/etc/passwd")[1])
        assert api.exec(container, "id", "-u", User="1000") == (0, "1000\n")


def test_no_capability_is_inheritable(api) -> None:
    """CVE-2022-24769, CVE-2022-29162: by start and by exec."""
    inheritable = "CapInh:\t" + "0" * 16 + "\n"
    assert api.run("grep", "CapInh", "/proc/self/status") == (0, inheritable)
    with api.running() as container:
        for _ in range(2):
            assert api.exec(container, "grep", "CapInh", "/proc/self/status") == (0, inheritable)
        assert api.exec(container, "grep", "CapInh", "/proc/self/status", Privileged=True) == (0, inheritable)


def test_no_descriptor_of_the_host_is_a_working_folder(api) -> None:
    """CVE-2024-21626: by start and by exec."""
    with api.running() as container:
        for fd in range(3, 16):
            code, text = api.exec(container, "ls", "-a", WorkingDir=f"/proc/self/fd/{fd}")
            assert code != 0, text
            made = api.create("ls", WorkingDir=f"/proc/self/fd/{fd}")
            try:
                assert api.daemon.request("POST", f"/containers/{made}/start")[0] >= 400
            finally:
                api.remove(made)


def test_links_that_change_lead_no_copy_out(api, shared) -> None:
    """CVE-2018-15664: a folder becomes a link to a folder of the host while something is copied into it."""
    outside = shared / "outside"
    outside.mkdir()
    swap = f"mkdir -p /a{outside} {outside}; while :; do mv /x /y; ln -s {outside} /x; rm /x; mv /y /x; done"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("planted"))
    with api.running("sh", "-c", f"mkdir /x; {swap}") as container:
        arrived = tried = 0
        while tried < 30 or (not arrived and tried < 1000):  # on a busy machine it is seldom a folder
            tried += 1
            status, _ = api.daemon.request("PUT", f"/containers/{container}/archive?path=/x", data.getvalue(),
                                           {"Content-Type": "application/x-tar"})
            arrived += status == 200
        assert arrived
    assert os.listdir(outside) == []


def test_a_race_for_the_target_of_a_mount_is_lost(api, shared) -> None:
    """CVE-2021-30465, CVE-2024-45310: in a shared volume a folder becomes a link to a folder of the host while a container mounts there."""
    outside, volume = shared / "outside", shared / "volume"
    outside.mkdir()
    (volume / "a").mkdir(parents=True)
    swap = f"cd /v; while :; do mv a b; ln -s /{'../' * 12}{outside} a; rm a; mv b a; done"
    binds = [f"{volume}:/v", f"{shared}/peeking.py:/v/a/made"]
    with api.running("sh", "-c", swap, host={"Binds": [f"{volume}:/v"]}):
        started = 0
        for _ in range(15):
            container = api.create("true", host={"Binds": binds})
            started += api.daemon.request("POST", f"/containers/{container}/start")[0] == 204
            api.remove(container)
    assert started
    assert os.listdir(outside) == []
