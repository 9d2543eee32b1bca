"""Tar archives as a stream of entries, with every byte accounted for: tar-split keeps what is not a file's content.

    reader = TarReader(stream)
    while (entry := reader.next()) is not None:
        for piece in reader.payload():      # or reader.skip()
            …
    reader.take_raw()                       # bytes outside payloads since the last call

Much faster than `tarfile` (which also hides the raw bytes), and as strict as Go's archive/tar, whose error texts
Docker's users know.
Understood: ustar, GNU long names and links, PAX (names, numbers, times, xattrs), both kinds of sparse files.
"""

from __future__ import annotations

import hashlib

from wherry.errors import DataLoss
from wherry.store import tarheader
from wherry.store.stream import CHUNK
from wherry.store.tarheader import BLOCK, Entry, InvalidTar
from wherry.store.tarsparse import gnu_map, pax_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.store.stream import Readable

# Go's archive/tar has the same limit for names, links and PAX headers.
MAX_EXTENSION = 1 << 20
_SPARSE = frozenset({"GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"})


class Source:
    """Bytes of a stream, buffered, and hashed as they come where that is wanted."""

    def __init__(self, stream: Readable, hashed: bool) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256() if hashed else None
        self._buffer = b""
        self._at = 0
        self.taken = 0

    @property
    def digest(self) -> str:
        """`sha256:…` of everything that came out of the stream so far, "" when it is not hashed."""
        return "sha256:" + self._sha256.hexdigest() if self._sha256 else ""

    def _fill(self) -> bool:
        self._buffer = self._stream.read(CHUNK)
        self._at = 0
        if self._sha256:
            self._sha256.update(self._buffer)
        return bool(self._buffer)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        end = self._at + size
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
        else:
            return b"".join(bytes(piece) for piece in self.pieces(size, exact=False))
        self.taken += size
        return data

    def pieces(self, size: int, *, exact: bool = True) -> Iterator[memoryview]:
        """The next `size` bytes in pieces, without copying. Raises DataLoss when they end early and `exact` is set."""
        while size:
            if self._at >= len(self._buffer) and not self._fill():
                if exact:
                    raise DataLoss("unexpected EOF")
                return
            piece = memoryview(self._buffer)[self._at : self._at + size]
            self._at += len(piece)
            self.taken += len(piece)
            size -= len(piece)
            yield piece


class TarReader:
    """Reads one archive, front to back; `hashed`: `source.digest` is wanted."""

    def __init__(self, stream: Readable, hashed: bool = False) -> None:
        self.source = Source(stream, hashed)
        self._raw: list[bytes] = []
        self._left = 0
        self._padding = 0
        self._ended = False

    def next(self) -> Entry | None:
        """The next entry, None at the end. Raises InvalidTar for what is not a tar, DataLoss when it is cut."""
        if self._left:
            self.skip()
        pax: dict[str, bytes] = {}
        long_name: str | None = None
        long_link: str | None = None
        while True:
            block = self._header_block()
            entry = tarheader.parse_header(block) if block else None
            if entry is None:
                if pax or long_name is not None or long_link is not None:
                    raise DataLoss("unexpected EOF")
                return None
            if entry.kind == tarheader.PAX:
                pax = parse_pax(self._extension(entry.size))
            elif entry.kind == tarheader.PAX_GLOBAL:
                # Docker ignores global headers; in the wild they hold git's commit id.
                parse_pax(self._extension(entry.size))
            elif entry.kind == tarheader.GNU_LONG_NAME:
                long_name = tarheader.text(self._extension(entry.size))
            elif entry.kind == tarheader.GNU_LONG_LINK:
                long_link = tarheader.text(self._extension(entry.size))
            else:
                break
        if long_name is not None or long_link is not None:
            entry = entry.replace(
                name=entry.name if long_name is None else long_name, link=entry.link if long_link is None else long_link
            )
        if pax:
            entry = apply_pax(entry, pax)
        if entry.size and entry.kind in _WITHOUT_CONTENT:
            entry = entry.replace(size=0)  # the size of a link or folder is no content (Go and GNU tar agree)
        self._left, self._padding = entry.size, tarheader.padding(entry.size)
        if entry.kind == tarheader.GNU_SPARSE or not _SPARSE.isdisjoint(pax):
            entry = self._sparse(entry, block, pax)
        return entry

    def payload(self) -> Iterator[memoryview]:
        """The entry's content in pieces, to be consumed to its end. Raises DataLoss when it is cut."""
        size, self._left = self._left, 0
        yield from self.source.pieces(size)
        self._pad()

    def skip(self) -> None:
        """Takes the content as raw bytes."""
        size, self._left = self._left, 0
        self._raw.extend(bytes(piece) for piece in self.source.pieces(size))
        self._pad()

    def take_raw(self) -> bytes:
        """All bytes outside the content of entries since the last call."""
        raw, self._raw = b"".join(self._raw), []
        return raw

    def rest(self) -> Iterator[bytes]:
        """What follows the end of the archive, to the end of the stream, in pieces."""
        while piece := self.source.take(CHUNK):
            yield piece

    def _pad(self) -> None:
        if self._padding:
            # A last entry without its padding is accepted, as everywhere.
            self._raw.append(self.source.take(self._padding))
            self._padding = 0

    def _header_block(self) -> bytes:
        """The next header, b"" at the end (two blocks of zeros, or no bytes at all)."""
        for _ in range(2):
            block = self.source.take(BLOCK)
            self._raw.append(block)
            if not block:
                return b""
            if len(block) < BLOCK:
                raise DataLoss("unexpected EOF")
            if block.strip(b"\0"):
                return block
        return b""

    def _extension(self, size: int) -> bytes:
        if size > MAX_EXTENSION:
            raise InvalidTar("archive/tar: header field too long")
        data = self.source.take(size + tarheader.padding(size))
        if len(data) < size:
            raise DataLoss("unexpected EOF")
        self._raw.append(data)
        return data[:size]

    def _sparse(self, entry: Entry, block: bytes, pax: dict[str, bytes]) -> Entry:
        """The entry with its map; blocks of the map that lie between header and content become raw bytes."""

        def more(size: int) -> bytes:
            data = self.source.take(size)
            if len(data) < size:
                raise DataLoss("unexpected EOF")
            self._raw.append(data)
            return data

        if entry.kind == tarheader.GNU_SPARSE:
            pieces, real_size = gnu_map(block, more)
            return entry.replace(kind=tarheader.REGULAR, sparse=pieces, real_size=real_size)

        def in_content(size: int) -> bytes:
            if size > self._left:
                raise InvalidTar("archive/tar: invalid tar header")
            self._left -= size
            return more(size)

        pieces, real_size, name = pax_map(pax, in_content)
        return entry.replace(name=name or entry.name, size=self._left, sparse=pieces, real_size=real_size)


_WITHOUT_CONTENT = frozenset({
    tarheader.LINK, tarheader.SYMLINK, tarheader.CHARACTER, tarheader.BLOCK_DEVICE, tarheader.FOLDER, tarheader.FIFO,
})  # fmt: skip


def parse_pax(data: bytes) -> dict[str, bytes]:
    """The records of a PAX header. Raises InvalidTar. Repeated GNU.sparse.offset and numbytes are gathered into a map."""
    records: dict[str, bytes] = {}
    gathered: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        if not digits.isdigit():
            if not data[at:].strip(b"\0"):
                break
            raise InvalidTar("archive/tar: invalid tar header")
        end = at + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space or data[end - 1 : end] != b"\n" or not equals or not key or b"\0" in key:
            raise InvalidTar("archive/tar: invalid tar header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            gathered.append(value)
        elif value:
            records[key.decode(errors="surrogateescape")] = value
        else:  # an empty value takes a record back (POSIX)
            records.pop(key.decode(errors="surrogateescape"), None)
        at = end
    if gathered:
        records["GNU.sparse.map"] = b",".join(gathered)
    return records


def apply_pax(entry: Entry, pax: dict[str, bytes]) -> Entry:
    """The entry with what its PAX header says. Raises InvalidTar."""
    changes: dict[str, object] = {}
    xattrs: dict[str, bytes] = {}
    for key, value in pax.items():
        if key == "path":
            changes["name"] = _name(value)
        elif key == "linkpath":
            changes["link"] = _name(value)
        elif key in ("uid", "gid", "size"):
            changes[key] = _integer(value)
        elif key == "mtime":
            changes["mtime_ns"] = nanoseconds(value)
        elif key.startswith(tarheader.XATTR):
            xattrs[key[len(tarheader.XATTR) :]] = value
    if xattrs:
        changes["xattrs"] = xattrs
    if entry.kind == tarheader.REGULAR and str(changes.get("name", "")).endswith("/"):
        changes["kind"] = tarheader.FOLDER
    return entry.replace(**changes) if changes else entry


def nanoseconds(value: bytes) -> int:
    """A decimal number of seconds as whole nanoseconds. Raises InvalidTar."""
    whole, _, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not (digits + fraction).isdigit() or len(digits) > 18:
        raise InvalidTar("archive/tar: invalid tar header")
    total = int(digits or b"0") * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -total if negative else total


def _integer(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise InvalidTar("archive/tar: invalid tar header")
    return int(value)


def _name(value: bytes) -> str:
    if b"\0" in value:
        raise InvalidTar("archive/tar: invalid tar header")
    return tarheader.text(value)
