"""Progress lines from threads to a client."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from wherry.api.docker.progress import Lines, bar, human_size
from wherry.errors import NotFound


def collect(work: Any, *, errors_in_stream: bool = False) -> list[dict[str, Any]]:
    async def main() -> bytes:
        lines = Lines()
        return b"".join([chunk async for chunk in lines.stream(work(lines), errors_in_stream=errors_in_stream)])

    return [msgspec.json.decode(line) for line in asyncio.run(main()).split(b"\r\n") if line]


def test_lines_come_in_order_with_docker_s_fields() -> None:
    async def work(lines: Lines) -> None:
        def inside() -> None:
            lines.status("Pulling from library/x", "latest", about_whole=True)
            lines.status("Pulling fs layer", "abc")
            lines.status("Downloading", "abc", current=50, total=100, measured=True)
            lines.status("", aux={"Tag": "latest"})

        await asyncio.to_thread(inside)

    assert collect(work) == [
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "abc"},
        {"status": "Downloading", "progressDetail": {"current": 50, "total": 100},
         "progress": "[=========================>                         ]      50B/100B", "id": "abc"},
        {"progressDetail": {}, "aux": {"Tag": "latest"}},
    ]


def test_measured_lines_that_were_not_sent_replace_each_other() -> None:
    async def work(lines: Lines) -> None:
        for current in range(1000):
            lines.status("Downloading", "abc", current=current, total=1000, measured=True)
        lines.status("Download complete", "abc")

    found = collect(work)
    assert [one["progressDetail"].get("current") for one in found] == [999, None]


def test_an_error_before_the_first_line_is_raised_and_later_it_is_a_line() -> None:
    async def early(lines: Lines) -> None:
        raise NotFound("no such thing")

    async def late(lines: Lines) -> None:
        lines.put({"status": "begun"})
        await asyncio.sleep(0.01)
        raise NotFound("no such thing")

    with pytest.raises(NotFound):
        collect(early)
    error = {"errorDetail": {"message": "no such thing"}, "error": "no such thing"}
    assert collect(early, errors_in_stream=True) == [error]
    assert collect(late) == [{"status": "begun"}, error]


def test_a_reader_who_leaves_stops_the_work() -> None:
    stopped = threading.Event()

    async def main() -> None:
        lines = Lines()

        async def work() -> None:
            lines.put({"status": "begun"})

            def wait() -> None:
                assert lines.cancelled.wait(10)
                stopped.set()

            await asyncio.to_thread(wait)

        stream = lines.stream(work())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(main())
    assert stopped.is_set()


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234567, "1.235MB"), (10**12, "1TB")])
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


def test_a_bar_is_full_at_the_end_and_absent_without_a_total() -> None:
    assert bar(100, 100) == "[" + "=" * 50 + ">]     100B/100B"
    assert bar(5000, 0) == "     5kB"
