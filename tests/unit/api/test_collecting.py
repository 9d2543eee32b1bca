"""When garbage is collected."""

from __future__ import annotations

import asyncio
import threading

import pytest

from wherry.api.containerd import collecting
from wherry.api.containerd.collecting import Collector
from wherry.engine.pool import Pool
from wherry.store.collection import Collected


class Counted:
    """A collection that counts, and fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.runs = 0
        self.may_end = threading.Event()
        self.may_end.set()

    def run(self) -> Collected:
        self.runs += 1
        assert self.may_end.wait(30)
        if self.failures:
            raise self.failures.pop(0)
        return Collected(nodes=(), files=0)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_PAUSE_S", 0)


async def runs(collection: Counted, wanted: int) -> None:
    async with asyncio.timeout(30):
        while collection.runs < wanted:
            await asyncio.sleep(0.001)


def test_many_removals_cost_one_collection_and_those_that_come_meanwhile_another() -> None:
    async def walk() -> None:
        collection, pool = Counted(), Pool()
        collection.may_end.clear()
        collector = Collector(pool, collection)  # type: ignore[arg-type]
        for _ in range(5):
            collector.soon()
        await runs(collection, 1)
        collector.soon()
        collector.soon()
        collection.may_end.set()
        await runs(collection, 2)
        await collector.close()
        assert collection.runs == 2
        pool.close()

    asyncio.run(walk())


def test_one_that_fails_is_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    async def walk() -> None:
        collection, pool = Counted(OSError("disk full"), ZeroDivisionError()), Pool()
        collector = Collector(pool, collection)  # type: ignore[arg-type]
        for number in range(1, 4):
            collector.soon()
            await runs(collection, number)
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0)
        await collector.close()
        pool.close()

    asyncio.run(walk())
    assert "disk full" in caplog.text


def test_nothing_comes_after_its_end() -> None:
    async def walk() -> None:
        collection, pool = Counted(), Pool()
        collection.may_end.clear()
        collector = Collector(pool, collection)  # type: ignore[arg-type]
        collector.soon()
        await runs(collection, 1)
        collector.soon()
        asyncio.get_running_loop().call_later(0.01, collection.may_end.set)
        await collector.close()
        collector.soon()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert collection.runs == 1
        pool.close()

    asyncio.run(walk())
