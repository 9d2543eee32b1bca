"""The other half of `dying_wherryd.py`: says at which of its changes the daemon is killed, and reads how many it has made."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

KILLS = int(os.environ.get("WHERRY_TEST_KILLS", "3"))
"""How many times each verb is killed; 0: before each of its changes."""


class Counter:
    """Which change of the daemon is its last one, and how many it has made. `program` is the daemon that looks at it."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(16))
        self.program = (sys.executable, str(Path(__file__).with_name("dying_wherryd.py")), str(path))
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), 16)).cast("q")

    def kill_at(self, number: int) -> None:
        """Counts from one again; 0: nothing is killed."""
        self._numbers[0], self._numbers[1] = 0, 0
        self._numbers[0] = number

    @property
    def made(self) -> int:
        """How many changes there were since."""
        return self._numbers[1]


def points(made: int) -> list[int]:
    """At which of so many changes to kill: the first, the last and some between, as many as KILLS."""
    if not KILLS or made <= KILLS:
        return list(range(1, made + 1))
    return sorted({1 + round(part * (made - 1) / (KILLS - 1)) for part in range(KILLS)}) if KILLS > 1 else [1 + made // 2]
