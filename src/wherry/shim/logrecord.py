r"""The json-file record, byte for byte as Docker writes it.

    {"log":"hello\n","stream":"stdout","time":"2024-11-25T01:02:03.123456789Z"}
    {"log":"…","stream":"stderr","attrs":{"name":"value"},"time":"…"}

One record per line of output, on a line of its own. A line longer than 16384 bytes is split into records of 16384 bytes without
the `\n`, which the last (possibly empty) one has; so has none what was written last without a line's end. Text is escaped as
Go's encoder does: control characters, `"`, `\`, `<`, `>`, `&`, U+2028, U+2029; a byte that is not UTF-8 is `\ufffd`.

Speed comes from doing a whole chunk with few calls: one look whether anything must be escaped, one `replace` of all line ends.
"""

from __future__ import annotations

import codecs
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_LINE: Final = 16 * 1024
_PLAIN: Final = bytes(code for code in range(0x20, 0x80) if code not in b'"\\<>&') + b"\n"
_ESCAPES: Final = {
    ord("\\"): b"\\\\",
    ord('"'): b'\\"',
    ord("\r"): b"\\r",
    **{code: b"\\u00%02x" % code for code in (*range(0x20), *b"<>&") if code not in b"\n\r"},
}
_SEPARATORS: Final = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def _invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\\ufffd" * (error.end - error.start), error.end


def escape(text: bytes) -> bytes:
    """The text as it stands between a record's quotes, but for line ends, which are left as they are."""
    special = text.translate(None, _PLAIN)
    if not special:
        return text
    present = set(special)
    for code, escaped in _ESCAPES.items():  # the backslash comes first
        if code in present:
            text = text.replace(bytes((code,)), escaped)
    if not special.isascii():
        for character, escaped in _SEPARATORS:
            text = text.replace(character, escaped)
        try:
            text.decode()
        except UnicodeDecodeError:
            codecs.register_error("wherry-log", _invalid)
            text = text.decode(errors="wherry-log").encode()
    return text


class Clock:
    """Times as Go writes RFC3339Nano: UTC, nanoseconds without trailing zeros. Remembers the last second's text."""

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def text(self, at_ns: int) -> bytes:
        """The time so many nanoseconds after the epoch."""
        second, fraction = divmod(at_ns, 1_000_000_000)
        if second != self._second:
            year, month, day, hour, minute, second_of_minute, *_ = time.gmtime(second)
            self._text = b"%04d-%02d-%02dT%02d:%02d:%02d" % (year, month, day, hour, minute, second_of_minute)
            self._second = second
        if not fraction:
            return self._text + b"Z"
        return self._text + b"." + (b"%09d" % fraction).rstrip(b"0") + b"Z"


def attributes_text(attributes: tuple[tuple[str, str], ...]) -> bytes:
    """The middle of each record that has attributes, sorted by name as Go's encoder does; nothing when there are none."""
    if not attributes:
        return b""

    def quoted(value: str) -> bytes:
        return b'"' + escape(value.encode()).replace(b"\n", b"\\n") + b'"'

    return b'"attrs":{' + b",".join(quoted(name) + b":" + quoted(value) for name, value in sorted(attributes)) + b"},"


class RecordMaker:
    """Makes the records of one stream out of chunks as they are read; keeps the beginning of an unfinished line."""

    def __init__(self, stream: str, attributes: tuple[tuple[str, str], ...] = (), clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._middle = b'","stream":"' + stream.encode() + b'",' + attributes_text(attributes) + b'"time":"'
        self._rest = b""
        self._partial_ns = 0  # when the first part of the line in hand was logged; 0: none was

    @property
    def rest(self) -> bytes:
        """What was read of an unfinished line and is in no record yet."""
        return self._rest

    def feed(self, chunk: bytes, at_ns: int) -> bytes:
        """The records that are complete now, as a block of lines. `at_ns` is when the chunk was read."""
        text = self._rest + chunk if self._rest else chunk
        blocks: list[bytes] = []
        if self._partial_ns or len(text) >= MAX_LINE:
            text = self._split(text, at_ns, blocks)
        end = text.rfind(b"\n")
        if end >= 0:
            blocks.append(self._whole(text[:end], at_ns))
        self._rest = text[end + 1 :]
        return b"".join(blocks)

    def _split(self, text: bytes, at_ns: int, blocks: list[bytes]) -> bytes:
        """Does the lines that are longer than a record; what is left has none."""
        start = 0
        while True:
            if not self._partial_ns:
                whole = start  # lines that fit, as many as there are
                while len(text) - whole >= MAX_LINE and (end := text.rfind(b"\n", whole, whole + MAX_LINE)) >= 0:
                    whole = end + 1
                if whole > start:
                    blocks.append(self._whole(text[start : whole - 1], at_ns))
                    start = whole
                if len(text) - start < MAX_LINE:
                    return text[start:]
                self._partial_ns = at_ns
            end = text.find(b"\n", start, start + MAX_LINE)
            if end >= 0:  # the last part of a long line
                blocks.append(self._whole(text[start:end], self._partial_ns))
                self._partial_ns = 0
                start = end + 1
            elif len(text) - start >= MAX_LINE:
                blocks.append(self._part(text[start : start + MAX_LINE], self._partial_ns))
                start += MAX_LINE
            else:
                return text[start:]

    def end(self, at_ns: int) -> bytes:
        """The record of what was written last without a line's end, if anything."""
        rest, self._rest = self._rest, b""
        at_ns, self._partial_ns = self._partial_ns or at_ns, 0
        return self._part(rest, at_ns) if rest else b""

    def _whole(self, lines: bytes, at_ns: int) -> bytes:
        tail = self._middle + self._clock.text(at_ns) + b'"}\n'
        return b'{"log":"' + escape(lines).replace(b"\n", b"\\n" + tail + b'{"log":"') + b"\\n" + tail

    def _part(self, piece: bytes, at_ns: int) -> bytes:
        return b'{"log":"' + escape(piece).replace(b"\n", b"\\n") + self._middle + self._clock.text(at_ns) + b'"}\n'
