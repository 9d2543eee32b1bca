"""Text between quotes as Go writes and reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.oci.gotext import quote, unquote


@pytest.mark.parametrize(("text", "quoted"), [
    ("", '""'), ("a b", '"a b"'), ('say "x"', '"say \\"x\\""'), ("a\\b", '"a\\\\b"'), ("\n\t\x00\x7f", '"\\n\\t\\x00\\x7f"'), ("ä€", '"ä€"'),
    ("\u200b", '"\\u200b"'), ("\U000e0001", '"\\U000e0001"'),
])
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted
    assert unquote(quoted) == text


@given(st.text())
def test_what_is_quoted_is_read_again(text: str) -> None:
    assert unquote(quote(text)) == text


@pytest.mark.parametrize(("quoted", "text"), [
    ("/a|b\\//", "a|b/"), ("|a/b\\||", "a/b|"), ('"\\101\\x42\\u0043\\U00000044"', "ABCD"), ('"\\a\\b\\f\\n\\r\\t\\v"', "\a\b\f\n\r\t\v"),
    ('"\\xc3\\xa4"', "ä"),
])
def test_unquote(quoted: str, text: str) -> None:
    assert unquote(quoted) == text


@pytest.mark.parametrize("text", ["", '"', '"a', 'a"', "'a'", '"a"b"', '"\\q"', '"\\x4"', '"\\400"', '"\\08"', '"\\ud800"', '"\\U00110000"', '"\\/"',
                                  '"\n"', '"\\'])
def test_what_is_no_literal(text: str) -> None:
    with pytest.raises(ValueError, match=r"illegal|terminated"):
        unquote(text)
