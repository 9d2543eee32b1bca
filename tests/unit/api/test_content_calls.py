"""Writes of blobs through the service Content, whose client goes while a thread is at work for it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from wherry.api.containerd.call import NAMESPACE, Call
from wherry.api.containerd.content import Content
from wherry.engine.pool import Pool
from wherry.proto.services import content_pb2 as api
from wherry.store.content import blobs, ingests
from wherry.store.content.files import ContentFiles
from wherry.store.content.writer import Writer
from wherry.store.metadata import leases, namespaces
from wherry.store.metadata.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

PIECE = b"x" * (1 << 20)


class Slow:
    """A function that has begun, and waits in its thread until it may go on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.has_begun.set()
        assert self.may_go_on.wait(30)
        return self.function(*args, **kwargs)

    def as_method(self) -> Callable[..., Any]:
        """The same for a class."""
        return lambda *args: self(*args)  # noqa: PLW0108 (only a function gets its object)


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[ingests.Ingests]:
    database = Database(f"{tmp_path}/metadata.db", namespaces.SCHEMA, leases.SCHEMA, blobs.SCHEMA, ingests.SCHEMA)
    yield ingests.Ingests(database, leases.Leases(database), ContentFiles(f"{tmp_path}/content"))
    database.close()


def gone_client(rooms: ingests.Ingests, slow: Slow) -> None:
    """A client that writes a piece, and goes while something is slow."""

    async def requests() -> AsyncIterator[api.WriteContentRequest]:
        yield api.WriteContentRequest(ref="r", action=api.WRITE, data=PIECE)
        await asyncio.Event().wait()

    async def write(content: Content) -> None:
        async for _ in content.write(requests(), Call([(NAMESPACE, "n")])):
            pass

    async def walk() -> None:
        pool = Pool()
        writing = asyncio.create_task(write(Content(pool, None, rooms, None, None)))  # type: ignore[arg-type]  # not asked
        assert await asyncio.to_thread(slow.has_begun.wait, 30)
        writing.cancel()
        await asyncio.sleep(0.01)
        assert not writing.done()
        slow.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
        pool.close()

    asyncio.run(walk())


def test_a_write_that_nobody_waits_for_any_more_lets_its_ref_go(rooms: ingests.Ingests, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(rooms.writer)
    monkeypatch.setattr(rooms, "writer", slow)
    gone_client(rooms, slow)
    assert not rooms.is_open("n", "r")


def test_who_goes_on_with_a_write_comes_after_the_bytes_of_who_has_gone(rooms: ingests.Ingests,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(Writer.write)
    monkeypatch.setattr(Writer, "write", slow.as_method())
    gone_client(rooms, slow)
    assert not rooms.is_open("n", "r")
    assert rooms.status("n", "r").offset == len(PIECE)
