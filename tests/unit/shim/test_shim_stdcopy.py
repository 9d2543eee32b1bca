"""Frames of the multiplexed stream, whole and in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import DataLoss
from wherry.shim.stdcopy import STDERR, STDOUT, Demultiplexer, header


def test_a_header_is_eight_bytes_with_the_length_in_network_order() -> None:
    assert header(STDERR, 0x01020304) == b"\x02\0\0\0\x01\x02\x03\x04"


@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=8), st.integers(1, 30))
def test_what_was_framed_comes_out_again_however_it_is_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    wire = b"".join(header(stream, len(data)) + data for stream, data in frames)
    taken = {STDOUT: b"", STDERR: b""}
    demultiplexer = Demultiplexer()
    for at in range(0, len(wire), step):
        for stream, piece in demultiplexer.feed(wire[at : at + step]):
            taken[stream] += piece
    assert demultiplexer.is_whole
    assert taken == {one: b"".join(data for stream, data in frames if stream == one) for one in (STDOUT, STDERR)}


def test_half_a_frame_is_not_whole() -> None:
    demultiplexer = Demultiplexer()
    demultiplexer.feed(header(STDOUT, 3) + b"ab")
    assert not demultiplexer.is_whole


@pytest.mark.parametrize("head", [b"\x04\0\0\0\0\0\0\x01", b"\x01\0\x01\0\0\0\0\x01", b"\x01\0\0\0\xff\xff\xff\xff"])
def test_what_no_docker_sends_is_refused(head: bytes) -> None:
    with pytest.raises(DataLoss, match="unrecognized stream"):
        Demultiplexer().feed(head + b"x")
