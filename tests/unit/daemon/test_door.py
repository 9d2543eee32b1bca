"""The socket whose server is made when the first client comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from typing import TYPE_CHECKING

from wherry.daemon.door import Door

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest


class Echo:
    """A server that says its name and then what it hears."""

    def __init__(self) -> None:
        self.made = 0
        self.refuses = 0

    async def make(self, path: str) -> Echo:
        self.made += 1
        if self.refuses:
            self.refuses -= 1
            raise OSError("not now")
        self.server = await asyncio.start_unix_server(self._serve, path)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"echo ")
        while data := await reader.read(1000):
            writer.write(data)
        writer.write(b" end")
        writer.close()

    async def close(self, _seconds: float) -> None:
        self.server.close()


async def said(path: str, text: bytes) -> bytes:
    """What the server answers to a client that says something and then only listens."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def with_door(tmp_path: Path, walk: Callable[[str, Echo, Door], Awaitable[None]]) -> None:
    async def run() -> None:
        echo, path = Echo(), str(tmp_path / "sock")
        door = Door(path, echo.make)
        door.listen()
        await walk(path, echo, door)
        await door.close(1.0)
        assert not os.path.exists(path)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_nothing_is_made_before_somebody_comes(tmp_path: Path) -> None:
    async def walk(path: str, echo: Echo, _door: Door) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        await asyncio.sleep(0)
        assert echo.made == 0
        answers = await asyncio.gather(*(said(path, b"%d" % at * 70_000) for at in range(5)))
        assert answers == [b"echo " + b"%d" % at * 70_000 + b" end" for at in range(5)]
        inode = os.stat(path).st_ino
        assert await said(path, b"later") == b"echo later end"
        assert (echo.made, os.stat(path).st_ino) == (1, inode)

    with_door(tmp_path, walk)


def test_a_server_that_cannot_be_made_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def walk(path: str, echo: Echo, _door: Door) -> None:
        echo.refuses = 1
        with contextlib.suppress(ConnectionError):
            assert await said(path, b"x") == b""
        assert "not now" in caplog.text
        assert await said(path, b"y") == b"echo y end"

    with_door(tmp_path, walk)


def test_it_can_be_opened_before_and_closed_without_a_client(tmp_path: Path) -> None:
    async def walk(path: str, echo: Echo, door: Door) -> None:
        door.open()
        door.open()
        assert await said(path, b"z") == b"echo z end"
        assert echo.made == 1

    async def nobody(_path: str, echo: Echo, _door: Door) -> None:
        assert echo.made == 0

    with_door(tmp_path, walk)
    with_door(tmp_path, nobody)
