"""Waking the lock of cgroup moves changes nothing: the process stays where it is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from wherry.linux.cgroup import detect
from wherry.linux.cgroup.movelock import MoveLock, Waking

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


def test_what_wakes_it_beside_us_is_reaped_and_moves_nothing() -> None:
    before = Path("/proc/self/cgroup").read_text()
    with MoveLock().waking() as waking:
        assert (waking._pid > 0) is (detect() != "v2")
        waking.end()
        assert waking._pid == 0
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert Path("/proc/self/cgroup").read_text() == before
    with Waking("/sys/fs/cgroup/nowhere/cgroup.procs"):
        pass  # best effort: a start that nobody woke for waits itself


def test_a_caller_whose_children_the_kernel_reaps_is_no_error() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with MoveLock().waking():
            pass
    finally:
        signal.signal(signal.SIGCHLD, before)
