"""BoltDB files, as dockerd keeps networks and volumes in them: read, and written anew as a whole.

A file is made of pages (usually 4 KiB, the meta page says), each with a header; all numbers are little-endian:

    page    id 8 · flags 2 (1 branch, 2 leaf, 4 meta, 16 free list) · count 2 · overflow 4 · elements
    meta    magic 4 (0xED0CDAED) · version 4 (2) · page size 4 · flags 4 · root bucket (page 8 · sequence 8) · free list 8
            · pages 8 · transaction 8 · FNV-1a of the 56 bytes before 8;  pages 0 and 1, the newer valid one counts
    branch  position 4 · key size 4 · page 8                     position counts from the element itself
    leaf    flags 4 (1: a bucket) · position 4 · key size 4 · value size 4
    bucket  page 8 · sequence 8; page 0: the bucket's only page follows inline

Format: go.etcd.io/bbolt. A file that a running dockerd holds may change while it is read: lock it first, or read a copy.
What is written has one leaf page per bucket, however long: bbolt splits it when it next changes something there.
"""

from __future__ import annotations

import struct

from wherry.errors import DataLoss, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAGIC = 0xED0CDAED
VERSION = 2
BRANCH, LEAF, META, FREE = 1, 2, 4, 16
IS_BUCKET = 1
PAGE_BYTES = 4096  # of what is written

_PAGE = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQQ")
_BRANCH = struct.Struct("<IIQ")
_LEAF = struct.Struct("<IIII")
_BUCKET = struct.Struct("<QQ")
_MAX_DEPTH = 64
_MAX_KEYS = 0xFFFE
MAX_BYTES = 1 << 30  # of a file that is read


class Bucket:
    """A bucket: keys in order, each with a value or a bucket of its own."""

    def __init__(self, file: _File, page: int, inline: bytes = b"", depth: int = 0) -> None:
        self._file = file
        self._page = page
        self._inline = inline
        self._depth = depth

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """All keys with their values and buckets. Raises DataLoss where the file is damaged."""
        yield from self._walk(self._inline or self._file.page(self._page), self._depth)

    def get(self, key: bytes) -> bytes | Bucket | None:
        """The value or bucket at a key, None where there is none."""
        return next((value for one, value in self.items() if one == key), None)

    def bucket(self, *keys: bytes) -> Bucket:
        """The bucket at a path of keys. Raises NotFound."""
        found = self
        for key in keys:
            below = found.get(key)
            if not isinstance(below, Bucket):
                raise NotFound(f'bucket "{key.decode(errors="replace")}" does not exist')
            found = below
        return found

    def _walk(self, page: bytes, depth: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        if depth > _MAX_DEPTH:
            raise DataLoss("invalid database: pages are nested too deep")
        _, flags, count, _ = _PAGE.unpack_from(page)
        if flags & LEAF:
            yield from self._leaf(page, count, depth)
        elif flags & BRANCH:
            for number in range(count):
                at = _PAGE.size + number * _BRANCH.size
                _, _, below = _BRANCH.unpack(_slice(page, at, _BRANCH.size))
                yield from self._walk(self._file.page(below), depth + 1)
        else:
            raise DataLoss(f"invalid database: page of the type {flags:#x} in a bucket")

    def _leaf(self, page: bytes, count: int, depth: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        for number in range(count):
            at = _PAGE.size + number * _LEAF.size
            flags, position, key_size, value_size = _LEAF.unpack(_slice(page, at, _LEAF.size))
            key = _slice(page, at + position, key_size)
            value = _slice(page, at + position + key_size, value_size)
            if not flags & IS_BUCKET:
                yield key, value
                continue
            root, _ = _BUCKET.unpack(_slice(value, 0, _BUCKET.size))
            inline = b"" if root else value[_BUCKET.size :]
            if not root and len(inline) < _PAGE.size:
                raise DataLoss("invalid database: cut bucket")
            yield key, Bucket(self._file, root, inline, depth + 1)


def parse(data: bytes) -> Bucket:
    """The root bucket of a file's content. Raises DataLoss."""
    metas = []
    # The second meta page lies one page further; until one is read, its size can only be guessed from the usual ones.
    for at in (0, 4096, 8192, 16384, 32768, 65536):
        meta = _meta(data, at)
        if meta is not None:
            metas.append(meta)
    if not metas:
        raise DataLoss("invalid database")
    _, page_size, root = max(metas)
    return Bucket(_File(data, page_size), root)


def values(data: bytes, bucket: bytes) -> dict[bytes, bytes]:
    """What a bucket below the root holds, without buckets of its own. Raises DataLoss.

    An empty file has nothing: dockerd takes it for a new one.
    """
    try:
        items = parse(data).bucket(bucket).items() if data else ()
        return {key: value for key, value in items if not isinstance(value, Bucket)}
    except NotFound:
        return {}


def dump(buckets: Mapping[bytes, Mapping[bytes, bytes]]) -> bytes:
    """A file with these buckets of keys and values. Raises ValueError for an empty key, which BoltDB has not."""
    pages = [b"", b"", _page(2, FREE, 0, b"")]
    roots = {}
    for name, values in buckets.items():
        roots[name] = _BUCKET.pack(_append(pages, {key: (0, value) for key, value in values.items()}), 0)
    root = _append(pages, {name: (IS_BUCKET, place) for name, place in roots.items()})
    total = sum(map(len, pages[2:])) // PAGE_BYTES + 2
    for transaction in (0, 1):
        meta = _META.pack(MAGIC, VERSION, PAGE_BYTES, 0, root, 0, 2, total, transaction, 0)[:-8]
        pages[transaction] = _page(transaction, META, 0, meta + struct.pack("<Q", fnv1a(meta)))
    return b"".join(pages)


def _append(pages: list[bytes], items: Mapping[bytes, tuple[int, bytes]]) -> int:
    """Adds a bucket's only page with these keys, flags and values; its number."""
    if b"" in items or len(items) > _MAX_KEYS:
        raise ValueError("a bucket has up to 65,534 keys, none of them empty")
    number = sum(map(len, pages[2:])) // PAGE_BYTES + 2
    heads, data = bytearray(), bytearray()
    for at, key in enumerate(sorted(items)):
        flags, value = items[key]
        heads += _LEAF.pack(flags, (len(items) - at) * _LEAF.size + len(data), len(key), len(value))
        data += key + value
    pages.append(_page(number, LEAF, len(items), bytes(heads + data)))
    return number


def _page(number: int, flags: int, count: int, body: bytes) -> bytes:
    overflow = (_PAGE.size + len(body) - 1) // PAGE_BYTES
    return (_PAGE.pack(number, flags, count, overflow) + body).ljust((overflow + 1) * PAGE_BYTES, b"\0")


class _File:
    """The content of a file, by pages."""

    def __init__(self, data: bytes, page_size: int) -> None:
        self._data = data
        self._page_size = page_size

    def page(self, number: int) -> bytes:
        """A page with those that continue it. Raises DataLoss."""
        at = number * self._page_size
        _, _, _, overflow = _PAGE.unpack(_slice(self._data, at, _PAGE.size))
        return _slice(self._data, at, (overflow + 1) * self._page_size)


def _meta(data: bytes, at: int) -> tuple[int, int, int] | None:
    """(transaction, page size, root page) of a valid meta page."""
    start = at + _PAGE.size
    if len(data) < start + _META.size:
        return None
    magic, version, page_size, _, root, _, _, _, transaction, checksum = _META.unpack_from(data, start)
    if magic != MAGIC or version != VERSION or checksum != fnv1a(data[start : start + 56]):
        return None
    if page_size < 512 or page_size & (page_size - 1) or at not in (0, page_size):
        return None
    return transaction, page_size, root


def fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _slice(data: bytes, at: int, size: int) -> bytes:
    piece = data[at : at + size]
    if len(piece) < size:
        raise DataLoss("invalid database: it refers to something beyond its end")
    return piece
