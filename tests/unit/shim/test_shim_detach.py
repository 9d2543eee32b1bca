"""Detach keys: how they are written, and how they are found in what is typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidArgument
from wherry.shim.detach import DetachScanner, parse_keys

KEYS = b"\x10\x11"


@pytest.mark.parametrize(
    ("text", "codes"),
    [("ctrl-p,ctrl-q", KEYS), ("a", b"a"), ("ctrl-a,a", b"\x01a"), ("ctrl-@", b"\0"), ("ctrl-[", b"\x1b"), ("ctrl-_,d", b"\x1fd"), ("", b"")],
)
def test_keys_are_read_as_docker_writes_them(text: str, codes: bytes) -> None:
    assert parse_keys(text) == codes


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "ctrl-P", "alt-a", "ä"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_keys(text)


@given(st.lists(st.sampled_from([b"\x10", b"\x11", b"a", b"b\x10", b"\x10\x10"]), max_size=20), st.sampled_from([KEYS, b"aab", b"a", b"\x10\x10\x11"]))
def test_everything_before_the_keys_gets_through_and_nothing_else(pieces: list[bytes], keys: bytes) -> None:
    scanner = DetachScanner(keys)
    passed, detached = b"", False
    for piece in pieces:
        if detached:
            break
        got, detached = scanner.feed(piece)
        passed += got
    typed = b"".join(pieces)
    assert detached == (keys in typed)
    assert passed + (b"" if detached else scanner.end()) == typed.partition(keys)[0]


def test_a_beginning_that_comes_to_nothing_is_passed_on() -> None:
    scanner = DetachScanner(KEYS)
    assert scanner.feed(b"x\x10") == (b"x", False)
    assert scanner.feed(b"y") == (b"\x10y", False)


def test_without_keys_nothing_is_looked_at() -> None:
    assert DetachScanner(b"").feed(KEYS) == (KEYS, False)
