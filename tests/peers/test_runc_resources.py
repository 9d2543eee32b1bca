"""Limits of cgroup v1 by wherry-runc beside Debian's runc: at creation, field by field, and by every way of `update`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import RUNTIMES, WHERRY, bundle_of_busybox, call, configure, group, needs, sleeping  # noqa: F401 (a fixture)

from wherry.linux import cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer]
MIB = 1 << 20
KNOBS = tuple(name.split("/") for name in (
    "memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "memory/memory.soft_limit_in_bytes", "memory/memory.swappiness",
    "memory/memory.oom_control", "cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "cpuset/cpuset.cpus",
    "cpuset/cpuset.mems", "pids/pids.max", "blkio/blkio.weight", "blkio/blkio.bfq.weight", "blkio/blkio.throttle.read_bps_device"))
FIELDS: tuple[dict[str, Any], ...] = (
    {"memory": {"limit": 64 * MIB}}, {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}, {"memory": {"limit": 64 * MIB, "swap": -1}},
    {"memory": {"limit": -1}}, {"memory": {"limit": 0}}, {"memory": {"swap": 128 * MIB}}, {"memory": {"limit": 64 * MIB, "swap": 32 * MIB}},
    {"memory": {"reservation": 32 * MIB}}, {"memory": {"swappiness": 10}}, {"memory": {"swappiness": 200}},
    {"memory": {"limit": 64 * MIB, "disableOOMKiller": True}}, {"memory": {"useHierarchy": True}}, {"memory": {"limit": 4096}},
    {"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}}, {"memory": {"limit": "1G"}}, {"memory": {"limit": True}},
    {"cpu": {"shares": 512}}, {"cpu": {"shares": 300000}}, {"cpu": {"shares": 1}}, {"cpu": {"quota": 50000, "period": 100000}},
    {"cpu": {"quota": -1}}, {"cpu": {"period": 1000000}}, {"cpu": {"quota": 5000}}, {"cpu": {"period": 10}},
    {"cpu": {"realtimeRuntime": 950000, "realtimePeriod": 1000000}}, {"cpu": {"cpus": "0", "mems": "0"}}, {"cpu": {"cpus": "77"}},
    {"cpu": {"cpus": 0}}, {"pids": {"limit": 20}}, {"pids": {"limit": 0}}, {"pids": {"limit": -1}}, {"pids": {"limit": 1}},
    {"blockIO": {"weight": 500}}, {"blockIO": {"weight": 5}}, {"blockIO": {"leafWeight": 300}}, {"blockIO": {"weightDevice": {}}},
    {"blockIO": {"throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 1000}]}},
    {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}, {"hugepageLimits": [{"pageSize": "3MB", "limit": 4 * MIB}]},
    {"network": {"classID": 1048577}}, {"network": {"priorities": [{"name": "lo", "priority": 3}]}}, {"rdma": {"mlx5_0": {"hcaHandles": 2}}},
    {"unified": {"memory.high": "1000000"}}, {"unified": {}}, {"devices": [{"allow": True, "type": "q", "access": "rwm"}]},
    {"devices": [{"allow": True, "type": "c", "major": 1, "minor": 1, "access": "x"}]}, {"devices": [{"allow": "yes"}]}, {})
UPDATES: tuple[tuple[tuple[str, ...], str | None], ...] = (
    *(((*words.split(),), None) for words in (
        "--cpuset-cpus 1", "--memory 67108864", "--memory 50M", "--memory-reservation 33554432", "--memory-swap -1", "--memory-swap 96468992",
        "--memory -1", "--pids-limit 10", "--pids-limit -1", "--pids-limit 0", "--memory 30M --memory-swap 50M",
        "--memory 60M --memory-swap 80M", "--cpu-period 900000 --cpu-quota 600000 --cpu-share 200 --pids-limit 10", "--cpu-quota -1",
        "--cpu-quota -1 --cpu-period 100000", "--cpu-period 50000", "--blkio-weight 300", "--kernel-memory 50M", "--cpuset-mems 0",
        "--cpuset-cpus 99", "--memory 1", "--memory abc", "--cpu-share abc", "--cpu-quota 10", "--memory-swap 1",
        "--resources /nope", "--l3-cache-schema x", "--nope 1", "")),
    *((("-r", "-"), text) for text in (
        '{"memory": {"limit": 33554432, "reservation": 25165824}, "cpu": {"shares": 100, "quota": 500000, "period": 1000000, "cpus": "0"}}',
        '{"memory": {"limit": 1000000000, "checkBeforeUpdate": true}}', '{"memory": {"limit": 4096, "checkBeforeUpdate": true}}',
        '{"unified": {"memory.high": "1"}}', '{"devices": [{"allow": false, "access": "rwm"}]}',
        '{"memory": {"limit": "1G"}}', "{", "{}")))


@pytest.fixture(autouse=True, scope="module")
def on_v1() -> None:
    needs("runc")
    if cgroup.detect() == "v2":
        pytest.skip("needs v1 controllers")


def knobs(place: str) -> dict[str, str]:
    """What the files of a cgroup say, those that are there."""
    files = {name: Path("/sys/fs/cgroup", controller, place, name) for controller, name in KNOBS}
    return {name: file.read_text() for name, file in files.items() if file.exists()}


@pytest.mark.parametrize("resources", FIELDS, ids=json.dumps)
def test_at_creation(bundle: Path, resources: dict[str, Any]) -> None:
    seen = []
    for runtime in RUNTIMES:
        place = f"{group(runtime)}-new"
        configure(bundle, "sleep", "1000")
        document = json.loads((bundle / "config.json").read_text())
        document["linux"].update(resources=resources, cgroupsPath=f"/{place}")
        (bundle / "config.json").write_text(json.dumps(document))
        code, text = call(runtime, bundle, "run", "-d", "new")
        seen.append((code, knobs(place)))
        assert code == 0 or "error" in text
        assert "ended before" not in text
        call(runtime, bundle, "delete", "--force", "new")
        assert not list(Path("/sys/fs/cgroup").glob(f"*/{place}"))
    assert seen[1] == seen[0]


def test_the_init_of_a_container_without_memory(bundle: Path) -> None:
    configure(bundle, "true")
    document = json.loads((bundle / "config.json").read_text())
    document["linux"]["resources"] = {"memory": {"limit": 4096}}
    (bundle / "config.json").write_text(json.dumps(document))
    code, text = call(WHERRY, bundle, "run", "starved")
    assert code == 1
    assert "container init was OOM-killed (memory limit too low?)" in text


@pytest.fixture(scope="module")
def running(bundle: Path) -> Iterator[Path]:
    with sleeping(bundle) as one:
        yield one


def test_updates_one_after_the_other(running: Path) -> None:
    """The same limits after each, and the same exit status.

    Not here: shares out of bounds, which runc writes before it refuses them, and swappiness, which only ours changes.
    """
    for words, text in UPDATES:
        seen = []
        for runtime in RUNTIMES:
            root = f"/run/beside-{os.getpid()}-{Path(runtime).name}"
            done = subprocess.run([runtime, "--root", root, "update", *words, "x"], cwd=running, input=text or "", capture_output=True, text=True,
                                  timeout=60, check=False)
            seen.append((words, text, done.returncode, knobs(group(runtime))))
        assert seen[1] == seen[0]


def test_delete_takes_a_pattern_as_crun_does(bundle: Path) -> None:
    needs("crun")
    for runtime in (WHERRY, "crun"):
        for name in ("test-1", "test-2", "other"):
            configure(bundle, "sleep", "1000")
            document = json.loads((bundle / "config.json").read_text())
            document["linux"]["cgroupsPath"] += f"-{name}"
            (bundle / "config.json").write_text(json.dumps(document))
            assert call(runtime, bundle, "run", "-d", name) == (0, "")
        assert call(runtime, bundle, "delete", "--force", "--regex", "^test-.$") == (0, "")
        assert re.findall(r"\w+", call(runtime, bundle, "list", "-q")[1]) in (["other"], ["other", "x"])  # `running`'s
        assert call(runtime, bundle, "delete", "--force", "other") == (0, "")
