"""Maps of sparse files in tar archives: where in the file each stretch of data belongs.

Three ways to write one (GNU tar manual, «Storing Sparse Files»): GNU's old header of type S, continued in blocks
of its own; PAX 0.0 and 0.1, as records of the extended header; PAX 1.0, as decimal lines in the first blocks of the
content.
"""

from __future__ import annotations

import os

from wherry.store.tarheader import BLOCK, InvalidTar, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Map = tuple[tuple[int, int], ...]

MAX_PIECES = 1 << 20


def gnu_map(block: bytes, more: Callable[[int], bytes]) -> tuple[Map, int]:
    """(map, size of the file) of a header of type S; `more` reads the blocks that continue it. Raises InvalidTar."""
    pieces = _pairs(block[386:482])
    real_size = number(block[483:495])
    extended = block[482]
    while extended:
        block = more(BLOCK)
        pieces += _pairs(block[:504])
        extended = block[504]
        if len(pieces) > MAX_PIECES:
            raise InvalidTar("archive/tar: sparse file contains too many pieces")
    return _checked(pieces, real_size), real_size


def pax_map(pax: dict[str, bytes], content: Callable[[int], bytes]) -> tuple[Map, int, str]:
    """(map, size of the file, its name or "") by PAX records; `content` reads from the entry's content. Raises InvalidTar."""
    name = os.fsdecode(pax.get("GNU.sparse.name", b""))
    if pax.get("GNU.sparse.major", b"0") == b"1" and pax.get("GNU.sparse.minor", b"0") == b"0":
        real_size = _decimal(pax.get("GNU.sparse.realsize", b""))
        pieces = _lines(content)
    else:
        real_size = _decimal(pax.get("GNU.sparse.size", pax.get("GNU.sparse.realsize", b"")))
        numbers = [_decimal(one) for one in pax.get("GNU.sparse.map", b"").split(b",") if one]
        if len(numbers) % 2:
            raise InvalidTar("archive/tar: invalid tar header")
        pieces = list(zip(numbers[::2], numbers[1::2], strict=True))
    return _checked(pieces, real_size), real_size, name


def _pairs(data: bytes) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(data), 24):
        offset, size = data[at : at + 12], data[at + 12 : at + 24]
        if not offset[0] or len(size) < 12:
            break
        found.append((number(offset), number(size)))
    return found


def _lines(content: Callable[[int], bytes]) -> list[tuple[int, int]]:
    data = b""

    def line() -> int:
        nonlocal data
        while b"\n" not in data:
            data += content(BLOCK)
        one, _, data = data.partition(b"\n")
        return _decimal(one)

    count = line()
    if count > MAX_PIECES:
        raise InvalidTar("archive/tar: sparse file contains too many pieces")
    return [(line(), line()) for _ in range(count)]


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise InvalidTar("archive/tar: invalid tar header")
    return int(value)


def _checked(pieces: list[tuple[int, int]], real_size: int) -> Map:
    """In order, without overlaps, within the file: otherwise a small archive could ask for endless writing."""
    if not 0 <= real_size < 1 << 63:
        raise InvalidTar("archive/tar: invalid tar header")
    end = 0
    for offset, size in pieces:
        if offset < end or size < 0 or offset + size > real_size:
            raise InvalidTar("archive/tar: invalid tar header")
        end = offset + size
    return tuple(pieces)
