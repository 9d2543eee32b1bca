"""tar-split: what of a layer's tar is not the content of its files, so that the tar is made again byte for byte.

One JSON object per line, gzipped:

    {"type":2,"payload":"<base64>","position":0}                                        bytes as they are: headers, padding
    {"type":1,"name":"bin/sh","size":1234,"payload":"<base64 of CRC-64>","position":1}  the content of this file
    {"type":1,"name":"bin/","payload":null,"position":2}                                an entry without content: nothing

A name that is not UTF-8 is `name_raw` in base64 instead. Readers refuse a name that occurs twice; so of several
contents under one name only the last is of type 1, the others are kept whole as bytes. Format:
github.com/vbatts/tar-split.
"""

from __future__ import annotations

import base64
import json
import os
import posixpath

from wherry.errors import DataLoss
from wherry.store.compression import GZIP_ERRORS, gzip_reader, gzip_writer
from wherry.store.crc64 import crc64
from wherry.store.stream import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any, BinaryIO

# A segment's line stays readable for implementations that take one into memory.
_SEGMENT = 1 << 20
_DAMAGED: tuple[type[Exception], ...] = (ValueError, KeyError, TypeError, *GZIP_ERRORS)


class SplitWriter:
    """Writes one tar-split file. Close it; its file stays the caller's."""

    def __init__(self, file: BinaryIO) -> None:
        self._gzip = gzip_writer(file)
        self._position = 0
        self._names: set[str] = set()

    def segment(self, raw: bytes) -> None:
        """Notes bytes as they are."""
        for at in range(0, len(raw), _SEGMENT):
            piece = base64.b64encode(raw[at : at + _SEGMENT]).decode()
            self._line(f'{{"type":2,"payload":"{piece}","position":{self._position}}}\n')

    def entry(self, name: str) -> None:
        """Notes an entry without content."""
        if self._is_new(name):
            self._line(f'{{"type":1,{_name_field(name)},"payload":null,"position":{self._position}}}\n')

    def takes_file(self, name: str) -> bool:
        """Whether `file` may be called for this name: it has not occurred yet. Otherwise its content is a segment."""
        return posixpath.normpath(name) not in self._names

    def file(self, name: str, size: int, checksum: int) -> int:
        """Notes that here follows the content of a file, `size` bytes with this CRC-64; the position of the record."""
        self._names.add(posixpath.normpath(name))
        payload = base64.b64encode(checksum.to_bytes(8, "big")).decode()
        at = self._position
        self._line(f'{{"type":1,{_name_field(name)},"size":{size},"payload":"{payload}","position":{at}}}\n')
        return at

    def close(self) -> None:
        """Writes the end of the gzip data."""
        self._gzip.close()

    def _is_new(self, name: str) -> bool:
        clean = posixpath.normpath(name)
        if clean in self._names:
            return False
        self._names.add(clean)
        return True

    def _line(self, line: str) -> None:
        self._gzip.write(line.encode())
        self._position += 1


def replace_files(source: BinaryIO, target: BinaryIO, contents: dict[int, Callable[[], Iterator[bytes]]]) -> None:
    """Copies a tar-split file; the records of files at these positions become segments of the contents given."""
    with gzip_reader(source) as lines, gzip_writer(target) as out:
        position = 0
        for number, line in enumerate(lines):
            record = json.loads(line)
            if number in contents:
                records: Iterator[dict[str, Any]] = (
                    {"type": 2, "payload": base64.b64encode(piece).decode()} for piece in contents[number]()
                )
            else:
                records = iter((record,))
            for one in records:
                out.write(json.dumps({**one, "position": position}, separators=(",", ":")).encode() + b"\n")
                position += 1


def total_size(split: BinaryIO) -> int:
    """Bytes in the tar that a tar-split file describes. Raises DataLoss when the description is damaged."""
    total = 0
    with gzip_reader(split) as lines:
        try:
            for line in lines:
                record = json.loads(line)
                if record["type"] == 2:
                    payload = record["payload"] or ""
                    total += len(payload) // 4 * 3 - payload[-2:].count("=")
                else:
                    total += record.get("size", 0)
        except _DAMAGED as err:
            raise DataLoss(f"invalid tar-split data: {err}") from err
    return total


def assemble(split: BinaryIO, open_file: Callable[[str], int]) -> Generator[bytes, None, None]:
    """The tar that a tar-split file describes; `open_file` gives a descriptor for a name, which is closed here.

    Raises DataLoss when a file is missing, or is not what it was, or when the description itself is damaged.
    """
    with gzip_reader(split) as lines:
        try:
            for line in lines:
                record = json.loads(line)
                if record["type"] == 2:
                    payload = base64.b64decode(record["payload"] or "")
                    if payload:
                        yield payload
                elif record["type"] == 1 and record.get("size", 0):
                    yield from _content(record, open_file)
        except _DAMAGED as err:
            raise DataLoss(f"invalid tar-split data: {err}") from err


def _content(record: dict[str, Any], open_file: Callable[[str], int]) -> Iterator[bytes]:
    raw = record.get("name_raw")
    name = os.fsdecode(base64.b64decode(raw)) if raw else record["name"]
    left = record["size"]
    checksum = 0
    try:
        fd = open_file(name)
    except OSError as err:
        raise DataLoss(f'cannot read "{name}" of the layer: {err.strerror}') from err
    try:
        while left:
            data = os.read(fd, min(left, CHUNK))
            if not data:
                break
            checksum = crc64(data, checksum)
            left -= len(data)
            yield data
    finally:
        os.close(fd)
    if left or base64.b64decode(record["payload"] or "") != checksum.to_bytes(8, "big"):
        raise DataLoss(f'file integrity checksum failed for "{name}"')


def _name_field(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return f'"name_raw":"{base64.b64encode(os.fsencode(name)).decode()}"'
    return f'"name":{json.dumps(name, ensure_ascii=False)}'
