"""How many were killed for want of memory on cgroup v2, also when systemd has removed the cgroup before that is read."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from wherry.linux.cgroup.v2 import V2Manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def note(folder: Path, kills: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax 7\noom {kills}\noom_kill {kills}\n")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[V2Manager, Path, Path]]:
    """A cgroup whose watch began when its parent had counted two, its folder and the parent's."""
    above, folder = tmp_path / "slice", tmp_path / "slice/scope"
    note(above, 2)
    note(folder, 0)
    manager = V2Manager(str(folder), str(tmp_path))
    fd = manager.watch_oom()
    yield manager, folder, above
    os.close(fd)


def test_what_it_counted_itself(watched: tuple[V2Manager, Path, Path]) -> None:
    manager, folder, above = watched
    note(above, 5)
    assert manager.oom_count() == 0
    note(folder, 1)
    assert manager.oom_count() == 1


def test_when_it_has_gone_the_parent_tells(watched: tuple[V2Manager, Path, Path]) -> None:
    manager, folder, above = watched
    shutil.rmtree(folder)
    assert manager.oom_count() == 0
    note(above, 3)
    assert manager.oom_count() == 1


def test_nobody_watched(tmp_path: Path) -> None:
    note(tmp_path, 3)
    assert V2Manager(str(tmp_path / "gone"), str(tmp_path)).oom_count() == 0
