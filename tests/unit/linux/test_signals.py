"""Signals by name and number."""

from __future__ import annotations

import signal

import pytest

from wherry.linux.signals import signal_number


@pytest.mark.parametrize(("text", "number"), [
    ("SIGTERM", 15), ("term", 15), ("9", 9), ("SigHup", 1), ("RTMIN", signal.SIGRTMIN), ("SIGRTMIN+3", signal.SIGRTMIN + 3),
    ("rtmax-2", signal.SIGRTMAX - 2), ("64", 64),
])
def test_names_and_numbers(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NOPE", "RTMfoo", "RTMIN+", "RTMIN+31", "RTMAX+1", "SIG_DFL", "SIG_BLOCK", "1.5", "²"])
def test_what_is_no_signal(text: str) -> None:
    assert signal_number(text) is None


def test_every_signal_of_the_machine_has_its_name() -> None:
    for one in signal.Signals:
        assert signal_number(one.name) == one
