"""What happened, told to whoever listens: a ring of the last 256 events, and live subscriptions.

An event is published after the change it tells of is on disk and was answered. Every actor's attributes are
given by the room that publishes; this one knows only how events are kept, filtered and handed out.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from wherry.engine.filters import Filters

KEPT = 256
LAGGARD = 4096  # events that a subscriber may fall behind before it is dropped


class Actor(msgspec.Struct, frozen=True, rename="pascal"):
    """Whom an event is about."""

    id: str = msgspec.field(name="ID")
    attributes: dict[str, str] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, as the API spells it; times are of the wall clock."""

    type: str = msgspec.field(name="Type")
    action: str = msgspec.field(name="Action")
    actor: Actor = msgspec.field(name="Actor")
    scope: str = "local"
    time: int
    time_ns: int = msgspec.field(name="timeNano")


class Events:
    """The one place through which the engine says what happened. For the event loop's thread alone."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._last_ns = 0

    def publish(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None) -> Event:
        """Keeps an event and gives it to all subscribers; never waits for any of them."""
        now = max(self._clock_ns(), self._last_ns + 1)
        self._last_ns = now
        event = Event(type=kind, action=action, actor=Actor(actor_id, dict(attributes or {})),
                      time=now // 1_000_000_000, time_ns=now)
        self._kept.append(event)
        for queue in tuple(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:  # a reader who does not read must not grow the daemon
                self._listeners.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
        return event

    def listeners(self) -> int:
        """How many follow the events."""
        return len(self._listeners)

    def past(self, since_ns: int = 0, until_ns: int | None = None) -> list[Event]:
        """The kept events of a span of time, both ends included, oldest first."""
        return [event for event in self._kept
                if event.time_ns >= since_ns and (until_ns is None or event.time_ns <= until_ns)]

    async def stream(self, filters: Filters, since_ns: int | None = None,
                     until_ns: int | None = None) -> AsyncIterator[Event]:
        """Past events from `since_ns` (none when None), then live ones until `until_ns` (for ever when None).

        The subscription begins with the first step of the iteration; nothing is lost between past and live.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue(LAGGARD)
        self._listeners.add(queue)
        try:
            if since_ns is not None or until_ns is not None:
                for event in self.past(since_ns or 0, until_ns):
                    if matches(event, filters):
                        yield event
            while (event_or_end := await self._next(queue, until_ns)) is not None:
                if matches(event_or_end, filters):
                    yield event_or_end
        finally:
            self._listeners.discard(queue)

    async def _next(self, queue: asyncio.Queue[Event | None], until_ns: int | None) -> Event | None:
        if until_ns is None:
            return await queue.get()
        left_s = (until_ns - self._clock_ns()) / 1e9
        if left_s <= 0:
            return None
        try:
            async with asyncio.timeout(left_s):
                return await queue.get()
        except TimeoutError:
            return None


def matches(event: Event, filters: Filters) -> bool:
    """Whether an event passes the filters of `GET /events`: all keys, any value of each."""
    return (
        filters.is_exact_or_absent("type", event.type)
        and _action_matches(event.action, filters)
        and filters.is_exact_or_absent("scope", event.scope)
        and filters.labels_match(event.actor.attributes)
        and all(_actor_matches(event, kind, filters)
                for kind in ("container", "daemon", "image", "network", "node", "plugin", "secret", "service", "config",
                             "volume"))
    )


def _action_matches(action: str, filters: Filters) -> bool:
    """`health_status` and `exec_start` also stand for their longer forms (`exec_start: sh -c …`)."""
    wanted = filters.values("event")
    return not wanted or any(action == one or action.split(":", 1)[0] == one for one in wanted)


def _actor_matches(event: Event, kind: str, filters: Filters) -> bool:
    wanted = filters.values(kind)
    if not wanted:
        return True
    if kind == "image":
        name = event.actor.attributes.get("name" if event.type == "image" else "image", "")
        candidates = {event.actor.id, name, _without_tag(event.actor.id), _without_tag(name)}
        return event.type in ("image", "container") and any(one in candidates for one in wanted)
    if event.type == kind:
        candidates = {event.actor.id, event.actor.attributes.get("name", "")}
        return any(one in candidates or (one and event.actor.id.startswith(one)) for one in wanted)
    return kind != "container" and event.actor.attributes.get(kind, "") in wanted


def _without_tag(name: str) -> str:
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name
