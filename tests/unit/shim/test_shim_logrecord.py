"""json-file records: escaping, splitting, times; checked against a plain description of what Docker does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.shim.logrecord import MAX_LINE, Clock, RecordMaker, escape

AT = 1_732_500_000_123_456_789


def described(text: bytes) -> list[bytes]:
    """The texts of the records for a stream: Docker's copier, line by line."""
    records = []
    lines = text.split(b"\n")
    for number, line in enumerate(lines):
        while len(line) >= MAX_LINE:
            records.append(line[:MAX_LINE])
            line = line[MAX_LINE:]
        if number < len(lines) - 1:
            records.append(line + b"\n")
        elif line:
            records.append(line)
    return records


def recorded(chunks: list[bytes]) -> list[bytes]:
    maker = RecordMaker("stdout")
    block = b"".join(maker.feed(chunk, AT) for chunk in chunks) + maker.end(AT)
    return [json.loads(line)["log"].encode() for line in block.splitlines()]


pieces = st.builds(
    lambda length, ended: b"x" * length + (b"\n" if ended else b""),
    st.sampled_from([0, 1, 7, MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 2 * MAX_LINE, 40_000]),
    st.booleans(),
)


@given(st.lists(st.lists(pieces, max_size=4).map(b"".join), max_size=5))
def test_lines_are_split_as_docker_splits_them(chunks: list[bytes]) -> None:
    assert recorded(chunks) == described(b"".join(chunks))


@given(st.binary(max_size=60), st.integers(1, 9))
def test_a_record_has_the_text_whatever_bytes_it_is_made_of(text: bytes, step: int) -> None:
    chunks = [text[at : at + step] for at in range(0, len(text), step)]
    expected = [line.decode("utf-8", "replace") for line in described(text)]
    got = [line.decode() for line in recorded(chunks)]
    # Python replaces a broken sequence once, Go each of its bytes: compared without them.
    assert [one.replace("\ufffd", "") for one in got] == [one.replace("\ufffd", "") for one in expected]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (b'a"b\\c', rb"a\"b\\c"),
        (b"<&>", rb"\u003c\u0026\u003e"),
        (b"\t\r\x1b\x00", rb"\u0009\r\u001b\u0000"),
        (b"\x7f", b"\x7f"),
        ("grüße \u2028".encode(), "grüße ".encode() + rb"\u2028"),
        (b"\xff\xc3", rb"\ufffd\ufffd"),
        (b"\xe2\x82", rb"\ufffd\ufffd"),
        (b"\xed\xa0\x80", rb"\ufffd\ufffd\ufffd"),
    ],
)
def test_text_is_escaped_as_gos_encoder_does(text: bytes, escaped: bytes) -> None:
    assert escape(text) == escaped


def test_a_record_is_what_docker_writes() -> None:
    maker = RecordMaker("stderr", (("b", "2"), ("a", 'x"y')))
    assert maker.feed(b"hi\nrest", AT) == (
        b'{"log":"hi\\n","stream":"stderr","attrs":{"a":"x\\"y","b":"2"},"time":"2024-11-25T02:00:00.123456789Z"}\n'
    )
    assert maker.rest == b"rest"


def test_all_parts_of_a_long_line_have_the_time_of_the_first() -> None:
    maker = RecordMaker("stdout")
    block = maker.feed(b"x" * MAX_LINE, AT) + maker.feed(b"y\nz\n", AT + 10**9)
    times = [json.loads(line)["time"] for line in block.splitlines()]
    assert times == ["2024-11-25T02:00:00.123456789Z"] * 2 + ["2024-11-25T02:00:01.123456789Z"]


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [(0, b"1970-01-01T00:00:00Z"), (1_500_000_000, b"1970-01-01T00:00:01.5Z"), (1, b"1970-01-01T00:00:00.000000001Z")],
)
def test_times_have_no_zeros_at_their_end(at_ns: int, text: bytes) -> None:
    assert Clock().text(at_ns) == text
