"""Reads json-file logs: the last lines, a span of time, and what is still being written; made for a worker thread per reader.

    for batch in LogFile(path).read(ReadOptions(tail=100, timestamps=True)): …        bytes, ready for the client

    with LogFollower(path, options) as follower:                                       blocks in the thread
        for batch in follower: …                                                       until `finish` or `cancel`

A batch is many records at once: stdcopy frames (one per record, as Docker sends them) or plain text. The regular expression
takes whole blocks of records apart in one go; a record in an unusual form (another writer's) is read with `json`.

Rotation renames `x.log` to `x.log.1`; a reader keeps its descriptors, so it reads the renamed file to its end and then opens the
new one. With one file, rotation empties it: a file that is shorter than what was read begins anew. A record that is not
complete yet waits for its end.
"""

from __future__ import annotations

import os
import re

from wherry.linux import inotify
from wherry.oci.jsontext import loads
from wherry.record import Record
from wherry.shim.logrecord import Clock
from wherry.shim.stdcopy import STDERR, STDOUT, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Final, Self

_BLOCK: Final = 1 << 18
_RECORD: Final = re.compile(
    rb'\{"log":"([^"\\]*(?:\\.[^"\\]*)*)","stream":"(stdout|stderr)",'
    rb'(?:"attrs":(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}),)?"time":"([^"]*)"\}\n'
)
_PLAIN_RECORD: Final = re.compile(rb'\{"log":"([^"\\]*)\\n","stream":"(stdout|stderr)","time":"([^"]*)"\}\n')
_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|.)")
_SIMPLE: Final = {
    b'\\"': b'"',
    b"\\\\": b"\\",
    b"\\/": b"/",
    b"\\n": b"\n",
    b"\\r": b"\r",
    b"\\t": b"\t",
    b"\\b": b"\b",
    b"\\f": b"\f",
}
_STREAMS: Final = {b"stdout": STDOUT, b"stderr": STDERR}
# While a follower waits, a change of names or a truncation is noticed by inotify; where that is missing, by looking.
_LOOK_EVERY_MS: Final = 1000


class ReadOptions(Record):
    """What is wanted of a log. `tail` counts records from the end (-1: all), before times are looked at, as in Docker."""

    stdout: bool = True
    stderr: bool = True
    timestamps: bool = False
    details: bool = False  # the records' attributes, `a=b,c=d `, before the text
    tail: int = -1
    since_ns: int = 0
    until_ns: int = 0
    multiplex: bool = True


class LogFile:
    """The log of one container: the file and its rotated predecessors."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, options: ReadOptions) -> Iterator[bytes]:
        """What is logged up to now, in batches. A container without a log file has none. Raises OSError."""
        files = self._open_all()
        try:
            yield from _Reading(options).files(files)
        finally:
            for file in files:
                file.close()

    def _open_all(self) -> list[BinaryIO]:
        """The files, oldest first. A rotation while they are opened is noticed, and they are opened again."""
        while True:
            found: list[BinaryIO] = []
            try:
                found.append(open(self.path, "rb", buffering=0))  # noqa: SIM115 (the caller closes them)
            except FileNotFoundError:
                return []
            number = 1
            while older := _open_rotated(f"{self.path}.{number}"):
                found.append(older)
                number += 1
            if os.path.exists(self.path) and os.path.samestat(os.stat(self.path), os.fstat(found[0].fileno())):
                return found[::-1]
            for file in found:
                file.close()


class LogFollower:
    """Reads what is there and then what comes, until told otherwise. `finish` and `cancel` may come from any thread."""

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._log = LogFile(path)
        self._options = options
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._finishing = False
        self._cancelled = False

    def finish(self) -> None:
        """The container has ended: what is in the log by now is read, then the iteration ends."""
        self._finishing = True
        self._notify()

    def cancel(self) -> None:
        """The iteration ends before its next batch."""
        self._cancelled = True
        self._notify()

    def _is_cancelled(self) -> bool:
        return self._cancelled  # by another thread

    def _notify(self) -> None:
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Gives the descriptor back; not while another thread iterates (cancel it first)."""
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        reading = _Reading(self._options)
        files = self._log._open_all()  # noqa: SLF001 (a neighbour in this module)
        current = files.pop() if files else None
        try:
            if current is not None:
                for batch in reading.files([*files, current]):
                    if self._is_cancelled():
                        return
                    yield batch
            yield from self._come(reading, current)
        finally:
            for file in files:
                file.close()

    def _come(self, reading: _Reading, current: BinaryIO | None) -> Iterator[bytes]:
        path = self._log.path
        folder = inotify.watch(os.path.dirname(path) or ".", inotify.IN_MODIFY | 0x80 | 0x100)  # IN_MOVED_TO, IN_CREATE
        try:
            while not self._is_cancelled() and not reading.is_past_end:
                finishing = self._finishing  # before looking: what was logged before it was said is not missed
                grown = False
                if current is not None:
                    for batch in reading.rest(current):
                        grown = True
                        yield batch
                        if self._is_cancelled():
                            return
                if current is not None and os.fstat(current.fileno()).st_size < current.tell():  # emptied by its rotation
                    current.seek(0)
                    reading.begin_file()
                    continue
                successor = _successor(path, current)
                if successor is not None:
                    if current is not None:
                        yield from reading.rest(current)  # written between the last look and the renaming
                        current.close()
                    current = successor
                    reading.begin_file()
                elif not grown:
                    if finishing:
                        return
                    self._wait(folder)
        finally:
            os.close(folder)
            if current is not None:
                current.close()

    def _wait(self, folder: int) -> None:
        import select

        poll = select.poll()
        poll.register(folder, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        for fd, _ in poll.poll(_LOOK_EVERY_MS):
            try:
                os.read(fd, 1 << 16)
            except BlockingIOError:
                continue


def _successor(path: str, current: BinaryIO | None) -> BinaryIO | None:
    """The file that continues the one in hand, if there is one: the next younger, or the log itself when that cannot be told."""
    try:
        if current is not None:
            here = os.fstat(current.fileno())
            younger, number = "", 0
            while True:
                name = f"{path}.{number}" if number else path
                try:
                    is_it = os.path.samestat(here, os.stat(name))
                except FileNotFoundError:
                    if number:  # it is rotated out of existence
                        younger = path
                        break
                    return None
                if is_it:
                    break
                younger, number = name, number + 1
            if not younger:
                return None
            return open(younger, "rb", buffering=0)
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        return None


def _open_rotated(path: str) -> BinaryIO | None:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        pass
    try:
        packed = open(path + ".gz", "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        return None
    import gzip
    import shutil
    import tempfile

    plain = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    with packed, gzip.GzipFile(fileobj=packed) as source:
        shutil.copyfileobj(source, plain, 1 << 20)
    plain.seek(0)
    return plain


class _Heads(dict[tuple[bytes, int], bytes]):
    """Frame headers by stream and length, made when they are first asked for."""

    def __missing__(self, key: tuple[bytes, int]) -> bytes:
        head = self[key] = header(_STREAMS[key[0]], key[1])
        return head


class _Reading:
    """Turns blocks of records into batches; remembers an unfinished record, and when everything wanted was seen."""

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        clock = Clock()
        # Times are compared as text: without the Z, a longer fraction sorts after a shorter one that it begins with.
        self._since = clock.text(options.since_ns)[:-1] if options.since_ns else b""
        self._until = clock.text(options.until_ns)[:-1] if options.until_ns else b""
        self._rest = b""
        self._heads = _Heads()
        self.is_past_end = False

    def begin_file(self) -> None:
        """Another file: what was unfinished stays so."""
        self._rest = b""

    def files(self, files: list[BinaryIO]) -> Iterator[bytes]:
        """Batches of the files, oldest first, from where `tail` says."""
        tail = self._options.tail
        if tail >= 0:
            start = 0
            for index in range(len(files) - 1, -1, -1):
                files[index].seek(0)
                offset, missing = _tail_offset(files[index], tail)
                files[index].seek(offset)
                start, tail = index, missing
                if not tail:
                    break
            files = files[start:]
        for file in files:
            self.begin_file()
            yield from self.rest(file)
            if self.is_past_end:
                return

    def rest(self, file: BinaryIO) -> Iterator[bytes]:
        """Batches of what a file has beyond what was read of it."""
        while not self.is_past_end and (block := file.read(_BLOCK)):
            text = self._rest + block if self._rest else block
            end = text.rfind(b"\n") + 1
            self._rest = text[end:]
            batch = self.batch(text[:end]) if end else b""
            if batch:
                yield batch

    def batch(self, records: bytes) -> bytes:
        """The output of whole records."""
        options = self._options
        count = records.count(b"\n")
        found: list[tuple[bytes, ...]]
        if not options.details and records.count(b"\\") == count:  # nothing is escaped but line ends
            found = _PLAIN_RECORD.findall(records)
            if len(found) == count:
                return self._plain(found)
        found = [(text, stream, at, attributes) for text, stream, attributes, at in _RECORD.findall(records)]
        if len(found) != count:
            found = [one for line in records.split(b"\n") if (one := _record(line))[2]]
        wanted = self._wanted(found)
        lines = [_text(text) for text, _, _, _ in wanted]
        if options.timestamps or options.details:
            lines = [self._prefix(attributes, at) + line for line, (_, _, at, attributes) in zip(lines, wanted, strict=True)]
        if not options.multiplex:
            return b"".join(lines)
        heads = self._heads
        return b"".join([heads[stream, len(line)] + line for line, (_, stream, _, _) in zip(lines, wanted, strict=True)])

    def _plain(self, found: list[tuple[bytes, ...]]) -> bytes:
        """The same for records that are one whole line each: text, stream, time."""
        found = self._wanted(found)
        if self._options.timestamps:
            times = {at: _full_time(at) + b" " for at in {at for _, _, at in found}}
            found = [(times[at] + text, stream, at) for text, stream, at in found]
        if not self._options.multiplex:
            return b"\n".join([text for text, _, _ in found]) + b"\n" if found else b""
        heads = self._heads
        return b"".join([b"%b%b\n" % (heads[stream, len(text) + 1], text) for text, stream, _ in found])

    def _wanted(self, found: list[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
        """Those of the wanted streams and times."""
        options = self._options
        if options.since_ns or options.until_ns:
            found = self._in_time(found)
        if options.stdout and options.stderr:
            return found
        wanted = b"stdout" if options.stdout else b"stderr" if options.stderr else b""
        return [one for one in found if one[1] == wanted]

    def _in_time(self, found: list[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
        kept = []
        for one in found:
            at = one[2].rstrip(b"Z")
            if at < self._since:
                continue
            if self._until and at > self._until:
                self.is_past_end = True
                break
            kept.append(one)
        return kept

    def _prefix(self, attributes: bytes, at: bytes) -> bytes:
        parts = []
        if self._options.timestamps:
            parts.append(_full_time(at))
        if self._options.details:
            pairs = loads(attributes.decode()) if attributes else {}
            parts.append(",".join(f"{_quote(name)}={_quote(value)}" for name, value in sorted(pairs.items())).encode())
        return b" ".join(parts) + b" "


def _quote(text: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text, safe="-_.~")


def _full_time(at: bytes) -> bytes:
    """The time with all nine digits of its fraction, as Docker sends timestamps."""
    whole, _, fraction = at.rstrip(b"Z").partition(b".")
    return whole + b"." + fraction.ljust(9, b"0") + b"Z"


def _text(escaped: bytes) -> bytes:
    if b"\\" not in escaped:
        return escaped
    if escaped.endswith(b"\\n") and escaped.find(b"\\") == len(escaped) - 2:
        return escaped[:-2] + b"\n"
    return _ESCAPE.sub(_unescaped, escaped)


def _unescaped(match: re.Match[bytes]) -> bytes:
    text = match.group()
    simple = _SIMPLE.get(text)
    if simple is not None:
        return simple
    if text[1:2] != b"u":
        return text[1:]
    code = int(text[2:6], 16)
    if len(text) == 12 and 0xD800 <= code < 0xDC00:
        return chr(0x10000 + ((code - 0xD800) << 10) + (int(text[8:12], 16) - 0xDC00)).encode()
    first = "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)
    return (first + ("\ufffd" if len(text) == 12 else "")).encode()


def _record(line: bytes) -> tuple[bytes, ...]:
    """A record in an unusual form, in the parts and the escaping of a usual one. One that cannot be read is left out (empty)."""
    from wherry.oci.jsontext import dumps

    try:
        record = loads(line.decode(errors="replace"))
        stream = record.get("stream", "stdout").encode()
        return (
            dumps(record["log"])[1:-1].encode(),
            stream if stream in _STREAMS else b"stdout",
            record["time"].encode(),
            dumps(record.get("attrs") or {}).encode(),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return b"", b"stdout", b"", b""


def _tail_offset(file: BinaryIO, count: int) -> tuple[int, int]:
    """Where the last `count` records of a file begin, and how many are missing in it."""
    end = file.seek(0, os.SEEK_END)
    if not count:
        return end, 0
    at, left = end, count + 1  # one more line end than records: the one before the first of them
    while at:
        begin = max(0, at - _BLOCK)
        file.seek(begin)
        block = file.read(at - begin)
        lines = block.count(b"\n")
        if lines >= left:
            cut = len(block)
            for _ in range(left):
                cut = block.rfind(b"\n", 0, cut)
            return begin + cut + 1, 0
        left -= lines
        at = begin
    return 0, left - 1
