"""Scopes made by systemd: where systemd is process 1, as in the virtual machine, and not in a world of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from wherry.linux.cgroup import manager
from wherry.linux.cgroup.systemd import SYSTEM_BUS

pytestmark = [
    pytest.mark.root, pytest.mark.vm,
    pytest.mark.skipif(not os.path.isdir("/run/systemd/system") or not os.path.exists(SYSTEM_BUS) or os.geteuid() != 0,
                       reason="needs root, systemd as process 1 and its bus"),
]
RULES = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
         {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rwm"}]
LIMITS = {"memory": {"limit": 64 << 20}, "pids": {"limit": 9}, "cpu": {"shares": 512, "quota": 50000, "period": 100000},
          "devices": RULES}


@pytest.fixture
def scope():
    one = manager(f"system.slice:wherry:test-{os.getpid()}", "systemd")
    yield one
    one.kill()
    one.remove()


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def shown(unit, *names):
    lines = subprocess.run(["systemctl", "show", unit, *(f"-p{name}" for name in names)], capture_output=True, text=True, check=True)
    return sorted(lines.stdout.split("\n")[:-1])


def test_systemd_and_the_files_agree(scope, sleeper):
    scope.create(LIMITS)
    assert not scope.exists()
    scope.join(sleeper.pid)
    assert Path(f"/proc/{sleeper.pid}/cgroup").read_text().strip().endswith(f"/system.slice/{scope.unit}")
    assert shown(scope.unit, "MemoryMax", "TasksMax", "CPUWeight", "CPUQuotaPerSecUSec", "Delegate", "DeviceAllow") == [
        "CPUQuotaPerSecUSec=500ms", "CPUWeight=20", "Delegate=yes", "DeviceAllow=/dev/char/1:3 rwm", "DeviceAllow=char-pts rwm",
        "MemoryMax=67108864", "TasksMax=9"]
    stats = scope.stats()
    assert (stats.pids.current, stats.pids.limit, stats.memory.usage.limit) == (1, 9, 64 << 20)
    scope.set({"pids": {"limit": 11}})
    assert shown(scope.unit, "TasksMax") == ["TasksMax=11"]
    # What systemd writes again at a reload is what we asked for.
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert scope.stats().pids.limit == 11


def test_a_second_life_under_the_same_name(scope):
    for _ in range(2):
        process = subprocess.Popen(["sleep", "1000"])
        scope.create({})
        scope.join(process.pid)
        assert scope.processes() == [process.pid]
        scope.kill()
        assert process.wait(20) == -9
        scope.remove()
        assert not scope.exists()
