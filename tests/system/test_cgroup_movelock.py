"""Waking the lock of cgroup moves changes nothing: the process stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry.linux.cgroup import detect
from wherry.linux.cgroup.movelock import MoveLock

pytestmark = pytest.mark.root


def test_a_wake_moves_nothing() -> None:
    before = Path("/proc/self/cgroup").read_text()
    lock = MoveLock()
    assert lock.sleeps is (detect() != "v2")
    if lock.sleeps:
        lock.wake()
    assert Path("/proc/self/cgroup").read_text() == before


def test_a_cgroup_that_is_not_ours_is_an_error() -> None:
    lock = MoveLock()
    lock._procs = "/sys/fs/cgroup/nowhere/cgroup.procs"
    with pytest.raises(FileNotFoundError):
        lock.wake()
