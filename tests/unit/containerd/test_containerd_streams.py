"""Streams over fifos with a shim's ends in the test's hands: log, clients, input, ends, and a daemon that comes later. No root."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from wherry.containerd.pump import Pump
from wherry.containerd.streams import Fifos, Streams
from wherry.errors import Conflict
from wherry.shim.protocol import AttachEnded, AttachRequest, LogOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

WAIT_S = 30.0


class Lab:
    """A pump, and the streams of one process whose shim is played by the test."""

    def __init__(self, folder: Path) -> None:
        self.pump = Pump()
        self.log = folder / "log"
        self.fifos = Fifos.of(str(folder / "io"), terminal=False, open_stdin=True)
        self.told: list[Any] = []
        self.closed: list[str] = []
        self.ends: list[int] = []

    def streams(self) -> Streams:
        return Streams(self.pump, self.fifos, close_on_eof=True, told=self.told.append, input_closed=lambda: self.closed.append("stdin"),
                       log=LogOptions(path=str(self.log)))

    def open(self) -> None:
        """What containerd's shim holds: a reading and a writing end of stdin, both of the outputs."""
        flags = (os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY)
        self.ends = [os.open(self.fifos.stdin, flag) for flag in flags]
        self.ends += [os.open(path, os.O_RDWR) for path in (self.fifos.stdout, self.fifos.stderr)]

    def write(self, data: bytes, stream: int = 2) -> None:
        os.write(self.ends[stream], data)

    def end(self) -> None:
        while self.ends:
            os.close(self.ends.pop())

    def lines(self) -> list[tuple[str, str]]:
        return [(one["stream"], one["log"]) for one in map(json.loads, self.log.read_text().splitlines())] if self.log.exists() else []

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def finish(self, streams: Streams) -> None:
        done = asyncio.get_running_loop().create_future()
        self.pump.post(lambda: streams.finish(lambda: self.pump.settle(done, None)))
        await asyncio.wait_for(done, WAIT_S)


def in_lab(work: Callable[[Lab], Awaitable[None]], folder: Path) -> None:
    async def run() -> None:
        lab = Lab(folder)
        try:
            await work(lab)
        finally:
            lab.end()
            lab.pump.close()

    asyncio.run(run())


def client() -> tuple[socket.socket, int]:
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT_S)
    return ours, theirs.detach()


def test_what_is_written_is_logged_and_shown_and_input_is_passed_on(tmp_path: Path) -> None:
    async def work(lab: Lab) -> None:
        streams = lab.streams()
        await lab.pump.run(streams.make)
        lab.open()
        lab.write(b"early\n")
        ours, fd = client()
        request = AttachRequest(attach_id="a", stdin=True, stdout=True, stderr=True, multiplex=False, early=b"first ")
        await lab.pump.run(lambda: streams.attach([(request, fd)]))
        os.close(fd)
        await lab.pump.run(streams.begin)
        lab.write(b"wrong\n", stream=3)
        await lab.until(lambda: len(lab.lines()) == 2)
        assert sorted(lab.lines()) == [("stderr", "wrong\n"), ("stdout", "early\n")]
        with ours:
            ours.sendall(b"second")
            ours.shutdown(socket.SHUT_WR)
            await lab.until(lambda: lab.closed)
            assert os.read(lab.ends[0], 100) == b"first second"
            lab.write(b"last, without an end of line")
            lab.end()
            await lab.finish(streams)
            got = b""
            while data := await asyncio.to_thread(ours.recv, 4096):
                got += data
        assert got.endswith(b"last, without an end of line")
        assert lab.lines()[-1] == ("stdout", "last, without an end of line")
        await lab.until(lambda: lab.told == [AttachEnded(attach_id="a")])
        with pytest.raises(Conflict):
            await lab.pump.run(lambda: streams.attach([(AttachRequest(attach_id="late"), -1)]))

    in_lab(work, tmp_path)


def test_what_is_written_while_no_daemon_is_there_waits(tmp_path: Path) -> None:
    async def work(lab: Lab) -> None:
        first = lab.streams()
        await lab.pump.run(first.make)
        lab.open()
        await lab.pump.run(first.begin)
        lab.write(b"before\n")
        await lab.until(lambda: len(lab.lines()) == 1)
        await lab.pump.run(first.drop)
        assert lab.closed == []  # the process goes on, and may still be typed to
        lab.write(b"meanwhile\n")
        second = lab.streams()
        await lab.pump.run(second.begin)
        lab.write(b"after\n")
        await lab.until(lambda: len(lab.lines()) == 3)
        assert [text for _, text in lab.lines()] == ["before\n", "meanwhile\n", "after\n"]
        ours, fd = client()
        with ours:
            await lab.pump.run(lambda: second.attach([(AttachRequest(stdin=True, early=b"typed"), fd)]))
            os.close(fd)
            await lab.until(lambda: select_readable(lab.ends[0]))
            assert os.read(lab.ends[0], 100) == b"typed"
        lab.end()
        await lab.finish(second)

    in_lab(work, tmp_path)


def test_a_process_that_ended_while_no_daemon_was_there(tmp_path: Path) -> None:
    async def work(lab: Lab) -> None:
        first = lab.streams()
        await lab.pump.run(first.make)
        lab.open()
        await lab.pump.run(first.begin)
        await lab.pump.run(first.drop)
        lab.end()
        second = lab.streams()
        await lab.pump.run(second.begin)  # nobody reads its stdin any more
        await lab.finish(second)
        assert lab.lines() == []

    in_lab(work, tmp_path)


def test_what_fails_in_the_pump_is_raised_where_it_was_asked_for(tmp_path: Path) -> None:
    async def work(lab: Lab) -> None:
        streams = lab.streams()
        await lab.pump.run(streams.make)
        with pytest.raises(FileExistsError):
            await lab.pump.run(streams.make)
        assert await lab.pump.run(lambda: "still there") == "still there"
        await lab.pump.run(streams.drop)

    in_lab(work, tmp_path)


def select_readable(fd: int) -> bool:
    import select

    return bool(select.select([fd], [], [], 0)[0])
