"""Control groups on this machine's own hierarchies: made, limited, joined, frozen, counted, killed, removed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from wherry.errors import InvalidArgument
from wherry.linux.cgroup import detect, manager

pytestmark = pytest.mark.root

EVERYTHING = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
              {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"}]


@pytest.fixture
def group():
    one = manager(f"/wherry-test/{os.getpid()}")
    yield one
    one.kill()
    one.remove()


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_life(group, sleeper):
    group.create({"pids": {"limit": 7}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 512, "cpus": "0"}})
    assert group.exists()
    group.join(sleeper.pid)
    assert group.processes() == [sleeper.pid]
    stats = group.stats()
    assert (stats.pids.current, stats.pids.limit) == (1, 7)
    assert stats.memory.usage.limit == 64 << 20
    group.set({"pids": {"limit": 9}, "memory": {"limit": 128 << 20}})
    assert group.stats().pids.limit == 9
    assert group.stats().memory.usage.limit == 128 << 20
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert not group.frozen()
    group.kill()
    assert sleeper.wait(10) == -signal.SIGKILL
    group.remove()
    group.remove()
    assert not group.exists()
    assert group.processes() == []


def test_a_frozen_group_is_killed(group, sleeper):
    group.create()
    group.join(sleeper.pid)
    group.freeze()
    group.kill()
    assert sleeper.wait(10) == -signal.SIGKILL
    if group.version == "v2":  # it died frozen: whoever meant to thaw the group afterwards may find that it is gone
        group.remove()
        group.thaw()


def test_a_signal_reaches_everybody(group):
    group.create()
    parent = subprocess.Popen(["/bin/sh", "-c", "read x; sleep 1000 & sleep 1000"], stdin=subprocess.PIPE)
    group.join(parent.pid)
    parent.stdin.write(b"go\n")
    parent.stdin.flush()
    deadline = time.monotonic() + 10
    while len(group.processes()) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    group.kill(signal.SIGTERM)
    assert parent.wait(10) == -signal.SIGTERM
    parent.stdin.close()
    group.remove()
    assert group.processes() == []


def test_remove_takes_what_the_container_made_below(group):
    group.create()
    for folder in dict.fromkeys(group.paths().values()):
        os.makedirs(f"{folder}/inner/most")
    group.remove()
    assert not group.exists()


def test_remove_says_what_is_still_inside(group, sleeper):
    group.create()
    group.join(sleeper.pid)
    with pytest.raises(OSError, match="still in use"):
        group.remove(timeout_s=0.05)


def test_what_failed_leaves_nothing(group):
    with pytest.raises(OSError, match="failed to write"):
        group.create({"cpu": {"cpus": "4000"}})
    assert not group.exists()
    with pytest.raises(InvalidArgument):
        group.create({"pids": {"limit": 5}, "memory": {"limit": 10, "swap": 5}})
    assert not group.exists()


def test_a_memory_limit_under_what_is_used(group):
    group.create()
    hog = subprocess.Popen([sys.executable, "-c", "input(); x = b'x' * (30 << 20); print(len(x), flush=True); input()"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        group.join(hog.pid)
        hog.stdin.write(b"\n")
        hog.stdin.flush()
        hog.stdout.readline()
        with pytest.raises(InvalidArgument, match="rejecting memory limit"):
            group.set({"memory": {"limit": 8 << 20, "checkBeforeUpdate": True}})
    finally:
        hog.kill()
        hog.wait()
        hog.stdin.close()
        hog.stdout.close()


def test_out_of_memory_is_told(group):
    group.create({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    watch = group.watch_oom()
    try:
        assert select.select([watch], [], [], 0)[0] == []
        hog = subprocess.Popen([sys.executable, "-c", "input(); x = bytearray(100 << 20)"], stdin=subprocess.PIPE)
        group.join(hog.pid)
        hog.communicate(b"\n", timeout=30)
        assert hog.returncode == -signal.SIGKILL
        assert select.select([watch], [], [], 10)[0] == [watch]
        assert group.oom_count() >= 1
    finally:
        os.close(watch)


def test_devices(group):
    group.create({"devices": EVERYTHING})
    probe = subprocess.Popen([sys.executable, "-c", """
import os, sys
for line in sys.stdin:
    try:
        os.close(os.open(line.strip(), os.O_RDONLY)); print("yes", flush=True)
    except PermissionError:
        print("no", flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def can_open(path):
        probe.stdin.write(path + "\n")
        probe.stdin.flush()
        return probe.stdout.readline() == "yes\n"

    try:
        group.join(probe.pid)
        assert [can_open(path) for path in ("/dev/null", "/dev/urandom", "/dev/zero")] == [True, True, False]
        group.set({"devices": [*EVERYTHING[:2], {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}]})
        assert [can_open(path) for path in ("/dev/null", "/dev/urandom", "/dev/zero")] == [True, False, True]
        group.set({"devices": [{"allow": True, "access": "rwm"}]})
        assert [can_open(path) for path in ("/dev/null", "/dev/urandom", "/dev/zero")] == [True, True, True]
    finally:
        probe.kill()
        probe.wait()
        probe.stdin.close()
        probe.stdout.close()


def test_cpu_time_is_counted(group):
    group.create()
    worker = subprocess.Popen([sys.executable, "-c", "input()\nfor i in range(3000000): pass"], stdin=subprocess.PIPE)
    group.join(worker.pid)
    worker.communicate(b"\n", timeout=60)
    stats = group.stats().cpu
    assert stats.total_ns > 1_000_000
    if group.version == "v1":
        assert sum(stats.per_cpu_ns) <= group.stats().cpu.total_ns
        assert len(stats.per_cpu_ns) == os.cpu_count()


def test_a_child_is_born_inside(group):
    """CLONE_INTO_CGROUP on v2; on v1 there is no such thing, and the interface says so."""
    group.create()
    descriptor = group.folder_fd()
    if group.version == "v1":
        assert descriptor is None
        assert detect() in ("v1", "hybrid")
        return
    os.close(descriptor)
    assert detect() == "v2"
