"""The small pool of threads in which the engine's blocking work is done.

The event loop never blocks: system calls that may wait, disk, compression and the synchronous rooms below
(`store/`, `network/`, `registry/`) are called through here. What is called must be thread-safe or guarded
by the lock of what it touches.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """Runs blocking functions beside the event loop; two kinds of work do not stand in each other's way.

    `run` is for what takes milliseconds (files, mounts, netlink). `run_long` is for what takes seconds (unpacking,
    registry traffic, tar streams), so that a pull never delays a start.
    """

    def __init__(self, short_threads: int = 8, long_threads: int = 16) -> None:
        self._short = ThreadPoolExecutor(short_threads, "wherry-short")
        self._long = ThreadPoolExecutor(long_threads, "wherry-long")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a call that takes milliseconds. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._short, partial(function, *args, **kwargs))

    def start(self, function: Callable[[], None]) -> None:
        """Has a call made that nobody waits for; it handles its own errors."""
        self._short.submit(function)

    async def run_long(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a call that may take seconds or minutes. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._long, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Ends the threads once their present work is done; what still queues is dropped."""
        self._short.shutdown(wait=True, cancel_futures=True)
        self._long.shutdown(wait=False, cancel_futures=True)
