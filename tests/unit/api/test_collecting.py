"""When garbage is collected."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from wherry.api.containerd import collecting
from wherry.api.containerd.collecting import Collector
from wherry.api.containerd.pace import Pace
from wherry.engine.pool import Pool
from wherry.store.collection import Collected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT_ONCE = Pace(pause_threshold=0.5, startup_delay_s=0)
NEVER = Pace(startup_delay_s=3600)


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

    async def comes_to(self, runs: int) -> None:
        """Waits until it ran so often, and whoever had it run has heard of it."""
        async with asyncio.timeout(30):
            while self.runs < runs or asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def collector(collection: Counted, pace: Pace) -> AsyncIterator[Collector]:
    pool = Pool()
    one = Collector(pool, collection, pace)  # type: ignore[arg-type]
    one.begin()
    yield one
    await one.close()
    pool.close()


def test_many_removals_cost_one_collection_and_those_that_come_meanwhile_another() -> None:
    async def walk() -> None:
        collection = Counted()
        collection.may_end.clear()
        async with collector(collection, AT_ONCE) as one:
            for _ in range(5):
                one.deleted()
            async with asyncio.timeout(30):
                while not collection.runs:
                    await asyncio.sleep(0.001)
            one.deleted()
            one.deleted()
            collection.may_end.set()
            await collection.comes_to(2)
        assert collection.runs == 2

    asyncio.run(walk())


def test_the_first_one_comes_without_a_reason() -> None:
    async def walk() -> None:
        collection = Counted()
        async with collector(collection, Pace(startup_delay_s=0.001)):
            await collection.comes_to(1)

    asyncio.run(walk())


@pytest.mark.parametrize(("pace", "deletions", "changes"), [
    (AT_ONCE, 1, 0),
    (Pace(startup_delay_s=0, mutation_threshold=3), 0, 3),
    (Pace(startup_delay_s=3600, deletion_threshold=2), 2, 0),
])
def test_what_is_a_reason(pace: Pace, deletions: int, changes: int) -> None:
    async def walk() -> None:
        collection = Counted()
        async with collector(collection, pace) as one:
            await happen(one, deletions, changes)
            await collection.comes_to(1)

    asyncio.run(walk())


@pytest.mark.parametrize(("pace", "deletions", "changes"), [
    (NEVER, 5, 1000),
    (Pace(startup_delay_s=0, mutation_threshold=3), 0, 2),
    (Pace(startup_delay_s=0, mutation_threshold=0), 0, 1000),
    (Pace(startup_delay_s=3600, deletion_threshold=2), 1, 0),
])
def test_what_is_none(pace: Pace, deletions: int, changes: int) -> None:
    async def walk() -> None:
        collection = Counted()
        async with collector(collection, pace) as one:
            await happen(one, deletions, changes)
            await asyncio.sleep(0.01)
            assert collection.runs == 0
            await one.now()
        assert collection.runs == 1

    asyncio.run(walk())


async def happen(one: Collector, deletions: int, changes: int) -> None:
    for _ in range(deletions):
        one.deleted()
    await asyncio.to_thread(lambda: [one.changed() for _ in range(changes)])


def test_the_longer_collections_take_the_longer_are_the_pauses() -> None:
    assert Pace().interval_s(None) == 1.0
    assert Pace(pause_threshold=0).interval_s(3.0) == 1.0
    assert Pace().interval_s(0.02) == pytest.approx(0.98)
    assert Pace(pause_threshold=0.5).interval_s(0.3) == pytest.approx(0.3)


def test_one_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def walk() -> None:
        collection = Counted(OSError("disk full"), OSError("disk full"))
        async with collector(collection, AT_ONCE) as one:
            one.deleted()
            await collection.comes_to(3)

    monkeypatch.setattr(collecting, "_PAUSE_AFTER_FAILURE_S", 0)
    monkeypatch.setattr("wherry.api.containerd.pace._FIRST_INTERVAL_S", 0)
    asyncio.run(walk())
    assert caplog.text.count("disk full") == 2


def test_who_waits_for_one_hears_of_its_failure_and_a_mistake_of_ours_does_not_end_the_later_ones() -> None:
    async def walk() -> None:
        collection = Counted(OSError("disk full"), ZeroDivisionError())
        async with collector(collection, NEVER) as one:
            with pytest.raises(OSError, match="disk full"):
                await one.now()
            with pytest.raises(ZeroDivisionError):
                await one.now()
            await one.now()
        assert collection.runs == 3

    asyncio.run(walk())


def test_nothing_comes_after_its_end() -> None:
    async def walk() -> None:
        collection = Counted()
        collection.may_end.clear()
        async with collector(collection, AT_ONCE) as one:
            one.deleted()
            async with asyncio.timeout(30):
                while not collection.runs:
                    await asyncio.sleep(0.001)
            one.deleted()
            asyncio.get_running_loop().call_later(0.01, collection.may_end.set)
        one.deleted()
        one.changed()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert collection.runs == 1

    asyncio.run(walk())
