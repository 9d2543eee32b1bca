from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.jsontext import dumps, loads
from wherry.cli.output.ports import display_ports
from wherry.cli.output.progress import ProgressError, ProgressScreen, bar
from wherry.console import units
from wherry.console.table import columns, tabbed


@pytest.mark.parametrize(("seconds", "text"), [
    (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (125, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
    (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"), (60 * 86400, "2 months"),
    (729 * 86400, "24 months"), (731 * 86400, "2 years")])
def test_spans(seconds: float, text: str) -> None:
    assert units.span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (4274632, "4.275MB"), (10**12, "1TB"), (123456, "123.5kB")])
def test_sizes(count: int, text: str) -> None:
    assert units.size(count) == text
    assert units.size(4274632, 3) == "4.27MB"
    assert units.binary_size(1536) == "1.5KiB"


@pytest.mark.parametrize(("text", "seconds"), [("1970-01-01T00:00:01Z", 1), ("2026-11-25T01:33:30.5Z", 1795570410.5), ("2000-02-29T12:00:00+02:00", 951818400)])
def test_times(text: str, seconds: float) -> None:
    assert units.parse_time(text) == seconds


def test_columns_are_ten_wide_and_three_apart() -> None:
    assert columns([["A", "LONG HEADER", "C"], ["x", "y", "zzzzzz"]]) == "A         LONG HEADER   C\nx         y             zzzzzz\n"
    assert tabbed("a\tb\nccccccccc\td\n") == "a           b\nccccccccc   d\n"


@given(st.lists(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12), min_size=3, max_size=3), min_size=1, max_size=6))
def test_columns_line_up(rows: list[list[str]]) -> None:
    lines = columns(rows).split("\n")[:-1]
    first = max(10, max(len(row[0]) for row in rows) + 3) if any(row[0] for row in rows) else 10
    for line, row in zip(lines, rows, strict=True):
        assert line[:first] == row[0].ljust(first)
        assert line.endswith(row[2])


@pytest.mark.parametrize(("ports", "text"), [
    ([], ""),
    ([{"PrivatePort": 80, "Type": "tcp"}], "80/tcp"),
    ([{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}], "0.0.0.0:8080->80/tcp"),
    ([{"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}], "[::]:8080->80/tcp"),
    ([{"PrivatePort": number, "Type": "tcp"} for number in (80, 81, 82, 90)], "80-82/tcp, 90/tcp"),
    ([{"IP": "1.2.3.4", "PrivatePort": number, "PublicPort": number, "Type": "udp"} for number in (53, 54)], "1.2.3.4:53-54->53-54/udp"),
])
def test_ports(ports: list[dict[str, object]], text: str) -> None:
    assert display_ports(ports) == text


def test_progress_on_a_terminal_and_elsewhere() -> None:
    messages = [{"status": "Pulling from library/x", "id": "latest"}, {"status": "Downloading", "id": "aa", "progressDetail": {"current": 50, "total": 100}},
                {"status": "Pull complete", "id": "aa", "progressDetail": {}}, {"stream": "Step 1/1\n"}, {"status": "done"}]
    plain: list[str] = []
    ProgressScreen(plain.append).show_all(messages)
    assert "".join(plain) == "latest: Pulling from library/x\naa: Pull complete\nStep 1/1\ndone\n"
    moving: list[str] = []
    ProgressScreen(moving.append, 120).show_all(messages[:2])
    assert "".join(moving).startswith("latest: Pulling from library/x\n\n\x1b[1A\x1b[2K\raa: Downloading [")
    with pytest.raises(ProgressError, match="it broke"):
        ProgressScreen(plain.append).show({"errorDetail": {"message": "it broke"}, "error": "it broke"})


def test_bars() -> None:
    assert bar({"current": 50, "total": 100}, 120, 0) == "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"
    assert bar({"current": 50}, 120, 0) == "     50B"
    assert bar({}, 120, 0) == ""


JSON = st.recursive(st.none() | st.booleans() | st.integers(-10**15, 10**15) | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(JSON)
def test_json_round_trip(value: object) -> None:
    assert loads(dumps(value)) == value
    assert loads(dumps(value, html=True, indent="    ")) == value
