"""Whether an init waits for `start` is what it holds, not what lies there: who started it may have been killed before it tidied up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.runtime import state

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_of_a_warm_init_counts_as_long_as_it_is_locked(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert not state.is_waiting(str(tmp_path), "x")
    held = state.make_waiting(str(tmp_path), "x")
    assert state.is_waiting(str(tmp_path), "x")
    os.close(held)  # as its exec does
    assert (tmp_path / "x/waiting").exists()
    assert not state.is_waiting(str(tmp_path), "x")


def test_the_fifo_of_a_cold_init_counts_as_long_as_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    os.mkfifo(tmp_path / "x/exec.fifo")
    assert not state.is_waiting(str(tmp_path), "x")
    reader = os.open(tmp_path / "x/exec.fifo", os.O_RDONLY | os.O_NONBLOCK)
    assert state.is_waiting(str(tmp_path), "x")
    os.close(reader)
    assert not state.is_waiting(str(tmp_path), "x")
