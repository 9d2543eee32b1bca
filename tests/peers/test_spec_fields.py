"""Fields of config.json seen from inside the container: by wherry-runc, and by a real runtime where it knows the field."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer]


def run(bundle: Path, runtime: str, *args: str, process: dict[str, Any] | None = None, mounts: tuple[Any, ...] = (),
        namespaces: tuple[str, ...] = (), **linux: Any) -> tuple[int, str]:
    configure(bundle, *args, **(process or {}))
    document = json.loads((bundle / "config.json").read_text())
    document["linux"].update(linux)
    document["linux"]["namespaces"] += [{"type": name} for name in namespaces]
    document["mounts"] += mounts
    (bundle / "config.json").write_text(json.dumps(document))
    return call(runtime, bundle, "run", "fields")


def everywhere(*names: str) -> list[str]:
    return [WHERRY, *(name for name in names if shutil.which(name))]


def test_personality(bundle: Path) -> None:
    code, text = run(bundle, WHERRY, "cat", "/proc/self/personality", personality={"domain": "LINUX32"})
    assert (code, text.strip()) == (0, "00000008")


def test_scheduler(bundle: Path) -> None:
    stat = ("cat", "/proc/self/stat")
    code, text = run(bundle, WHERRY, *stat, process={"scheduler": {"policy": "SCHED_BATCH", "nice": 7}})
    assert code == 0, text
    fields = text.rsplit(")", 1)[1].split()
    assert (fields[16], fields[38]) == ("7", "3")  # nice, policy: proc(5), 19 and 41
    code, text = run(bundle, WHERRY, "true", process={"scheduler": {"policy": "SCHED_BATCH", "priority": 7}})
    assert code == 1
    assert "scheduler.priority can only be specified for SchedFIFO or SchedRR policy" in text


def test_io_priority(bundle: Path) -> None:
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/ionice")
    code, text = run(bundle, WHERRY, "ionice", process={"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}})
    assert (code, text.strip()) == (0, "best-effort: prio 6")


def test_memory_policy(bundle: Path) -> None:
    if not os.path.exists("/proc/self/numa_maps"):
        code, text = run(bundle, WHERRY, "true", memoryPolicy={"mode": "MPOL_BIND", "nodes": "0"})
        assert code == 0 or "failed to set memory policy: function not implemented" in text
        return
    code, text = run(bundle, WHERRY, "cat", "/proc/self/numa_maps", memoryPolicy={"mode": "MPOL_BIND", "nodes": "0"})
    assert code == 0, text
    assert "bind:0" in text


def test_time_namespace(bundle: Path) -> None:
    shown = ("sh", "-c", "cat /proc/self/timens_offsets; cat /proc/uptime")
    offsets = {"monotonic": {"secs": 7200, "nanosecs": 5}, "boottime": {"secs": 864000}}
    code, text = run(bundle, WHERRY, *shown, namespaces=("time",), timeOffsets=offsets)
    assert code == 0, text
    assert [line.split() for line in text.splitlines()[:2]] == [["monotonic", "7200", "5"], ["boottime", "864000", "0"]]
    assert float(text.splitlines()[2].split()[0]) > 864000
    code, text = run(bundle, WHERRY, "true", timeOffsets=offsets)
    assert code == 1
    assert "time namespace isn't enabled" in text


@pytest.mark.parametrize("recursive", [False, True])
def test_id_mapped_mount(bundle: Path, recursive: bool) -> None:
    source = bundle / "owned"
    source.mkdir(exist_ok=True)
    (source / "file").write_text("x")
    os.chown(source / "file", 1000, 1001)
    maps = {name: [{"containerID": 0, "hostID": 5000, "size": 3000}] for name in ("uidMappings", "gidMappings")}
    mount = {"destination": "/mnt", "source": str(source), "type": "bind", "options": ["rbind", "ridmap" if recursive else "idmap"], **maps}
    code, text = run(bundle, WHERRY, "ls", "-n", "/mnt", mounts=(mount,))
    if "failed to id-map" in text and "invalid argument" in text:
        pytest.skip("this filesystem cannot be id-mapped")
    assert code == 0, text
    assert text.split()[-9 + 2 : -9 + 4] == ["6000", "6001"], text


def test_exec_has_its_own_scheduler(bundle: Path) -> None:
    configure(bundle, "sleep", "1000")
    assert call(WHERRY, bundle, "run", "-d", "fields") == (0, "")
    try:
        (bundle / "p.json").write_text(json.dumps({
            "args": ["cat", "/proc/self/stat"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "scheduler": {"policy": "SCHED_OTHER", "nice": 5}}))
        code, text = call(WHERRY, bundle, "exec", "-p", "p.json", "fields")
        assert code == 0, text
        assert text.rsplit(")", 1)[1].split()[16] == "5"
    finally:
        assert call(WHERRY, bundle, "delete", "--force", "fields")[0] == 0


def test_exec_gets_the_container_s_personality_and_its_processors(bundle: Path) -> None:
    first = min(os.sched_getaffinity(0))
    configure(bundle, "sleep", "1000", execCPUAffinity={"initial": str(first), "final": str(first)})
    document = json.loads((bundle / "config.json").read_text())
    document["linux"]["personality"] = {"domain": "LINUX32"}
    (bundle / "config.json").write_text(json.dumps(document))
    assert call(WHERRY, bundle, "run", "-d", "fields") == (0, "")
    try:
        code, text = call(WHERRY, bundle, "exec", "fields", "sh", "-c", "grep Cpus_allowed_list /proc/self/status; cat /proc/self/personality")
        assert (code, text.split()) == (0, ["Cpus_allowed_list:", str(first), "00000008"])
        (bundle / "p.json").write_text(json.dumps({
            "args": ["true"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "execCPUAffinity": {"final": "8000"}}))
        code, text = call(WHERRY, bundle, "exec", "-p", "p.json", "fields")
        assert code != 0
        assert "error setting CPU affinity: invalid argument" in text
    finally:
        assert call(WHERRY, bundle, "delete", "--force", "fields")[0] == 0


def test_exec_begins_with_what_the_container_was_created_with(bundle: Path) -> None:
    """runtime-spec, «Lifecycle»: changes of config.json after create have no effect. With crun so for the environment; runc reads again."""
    for runtime in everywhere("crun"):
        configure(bundle, "sleep", "1000", cwd="/tmp", env=["PATH=/bin", "WHO=then"], oomScoreAdj=77, user={"uid": 0, "gid": 0, "umask": 0o27})
        os.rename(bundle / "config.json", bundle / "other.json")
        assert call(runtime, bundle, "run", "--config", "other.json", "-d", "fields") == (0, "")
        try:
            (bundle / "other.json").unlink()
            code, text = call(runtime, bundle, "exec", "fields", "sh", "-c", "echo $WHO; cat /proc/self/oom_score_adj; umask; pwd")
            assert (code, text.split()[0]) == (0, "then"), runtime
            assert runtime != WHERRY or text.split()[1:] == ["77", "0027", "/tmp"]
        finally:
            assert call(runtime, bundle, "delete", "--force", "fields")[0] == 0


def test_network_devices_of_the_host(bundle: Path) -> None:
    """runtime-spec 1.3; neither runc 1.1.5 nor crun 1.8.1 knows the field."""
    (bundle / "rootfs/bin/ip").unlink(missing_ok=True)
    (bundle / "rootfs/bin/ip").symlink_to("busybox")
    subprocess.run(["ip", "link", "add", "wdev0", "type", "veth", "peer", "name", "wdev1"], check=True)
    subprocess.run(["ip", "address", "add", "10.98.7.6/24", "dev", "wdev0"], check=True)
    code, text = run(bundle, WHERRY, "sh", "-c", "ip -o link; ip -o -4 address show dev inside", netDevices={"wdev0": {"name": "inside"}, "wdev1": {}})
    assert code == 0, text
    assert "10.98.7.6/24" in text
    for name in ("inside", "wdev1"):
        assert re.search(rf" {name}[@:].*<[A-Z,]*\bUP\b", text), text
    assert subprocess.run(["ip", "link", "show", "wdev0"], capture_output=True, check=False).returncode != 0
    for devices, reason in (({"wnone": {}}, "network device 'wnone' not found"), ({"a/b": {}}, "invalid network device name 'a/b'"),
                            ({"lo": {}}, "there is a network device 'lo' in the container already")):
        code, text = run(bundle, WHERRY, "true", netDevices=devices)
        assert code == 1
        assert reason in text
    assert call(WHERRY, bundle, "list", "-q") == (0, "")
