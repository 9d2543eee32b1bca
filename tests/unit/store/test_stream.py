"""Streams of chunks: small ones are joined, nothing is lost or moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wherry.store.stream import ByteStream, gathered


@given(st.lists(st.binary(max_size=12)), st.integers(1, 16))
def test_gathered_keeps_the_bytes_and_their_order(chunks: list[bytes], size: int) -> None:
    assert b"".join(gathered(chunks, size)) == b"".join(chunks)


def test_small_chunks_are_joined_and_large_ones_pass_as_they_are() -> None:
    large = b"x" * 8
    result = list(gathered([b"ab", b"cd", b"ef", large, b"gh", b"i"], 4))
    assert result == [b"abcd", b"ef", large, b"ghi"]
    assert result[2] is large


def test_gathered_of_nothing_is_nothing() -> None:
    assert list(gathered([b"", b""])) == []


@given(st.lists(st.binary(min_size=1, max_size=12)), st.integers(1, 16))
def test_a_stream_is_read_in_any_pieces(chunks: list[bytes], size: int) -> None:
    with ByteStream(one for one in chunks) as stream:
        pieces = list(iter(lambda: stream.read(size), b""))
    assert b"".join(pieces) == b"".join(chunks)
    assert all(len(piece) <= size for piece in pieces)
