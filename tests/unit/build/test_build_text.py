"""What a build says: durations as Go prints them, output whose characters come in pieces."""

from __future__ import annotations

import pytest

from wherry.build.duration import duration_text, parse_duration_ns
from wherry.build.printed import Printed


@pytest.mark.parametrize(("nanoseconds", "text"), [
    (0, "0s"), (1, "1ns"), (1500, "1.5µs"), (2_000_000, "2ms"), (1_000_000_000, "1s"), (90_500_000_000, "1m30.5s"),
    (60_000_000_000, "1m0s"), (3_600_000_000_000, "1h0m0s"), (1_050_000_000, "1.05s"),
])
def test_durations(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text
    assert parse_duration_ns(text) == nanoseconds


def test_output_is_said_in_whole_characters_and_errors_in_red() -> None:
    said: list[str] = []
    printed = Printed(said.append)
    printed(1, "ü".encode()[:1])
    printed(2, b"wrong\n")
    printed(1, "ü".encode()[1:])
    assert said == ["\x1b[91mwrong\n\x1b[0m", "ü"]
