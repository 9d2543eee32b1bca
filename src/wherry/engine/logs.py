"""`docker logs`: what is in a container's log, and what still comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wherry.engine.streams import from_thread
from wherry.errors import Unsupported
from wherry.shim.logfile import LogFile, LogFollower, ReadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.engine.container import Container


class LogsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a log; times in nanoseconds since 1970, zero: no bound; tail -1: everything."""

    follow: bool = False
    stdout: bool = False
    stderr: bool = False
    since_ns: int = 0
    until_ns: int = 0
    timestamps: bool = False
    tail: int = -1
    details: bool = False


def read(container: Container, request: LogsRequest) -> AsyncIterator[bytes]:
    """The log as chunks for the client: stdcopy frames, or plain text from a terminal.

    A followed log ends with the container, or at `until_ns`. Raises Unsupported when the driver keeps none.
    """
    if container.host.log_config.type != "json-file" or not container.record.log_path:
        raise Unsupported("configured logging driver does not support reading")
    options = ReadOptions(stdout=request.stdout, stderr=request.stderr, timestamps=request.timestamps,
                          details=request.details, tail=request.tail, since_ns=request.since_ns, until_ns=request.until_ns,
                          multiplex=not container.tty)
    path = container.record.log_path
    if not request.follow or not container.state.running:
        return from_thread(lambda: LogFile(path).read(options))
    return _follow(container, path, options)


async def _follow(container: Container, path: str, options: ReadOptions) -> AsyncIterator[bytes]:
    with LogFollower(path, options) as follower:
        ended = container.exited()
        ended.add_done_callback(lambda _: follower.finish())
        if not container.state.running:
            follower.finish()
        try:
            async for chunk in from_thread(lambda: follower, follower.cancel):
                yield chunk
        finally:
            ended.cancel()


def parse_tail(text: str) -> int:
    """`all`, empty or a number that is none are everything, as in Docker."""
    return int(text) if text.isdecimal() else -1
