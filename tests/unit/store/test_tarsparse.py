"""Sparse files in tars: the three notations, and maps that lie."""

from __future__ import annotations

import io
import os

import pytest

from wherry.store import tarheader
from wherry.store.archive import unpack
from wherry.store.tarheader import Entry, InvalidTar, write_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

END = bytes(1024)
ID = {"uid": os.getuid(), "gid": os.getgid()}
REAL = 1 << 20
DATA = b"A" * 512 + b"B" * 100
PIECES = ((4096, 512), (REAL - 100, 100))


def checksummed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def gnu(pieces: tuple[tuple[int, int], ...], real: int, data: bytes) -> bytes:
    block = bytearray(write_header(Entry(name="f", size=len(data), **ID)))
    block[156:157] = b"S"
    block[257:265] = b"ustar  \0"
    block[345:512] = bytes(167)
    first, rest = pieces[:4], pieces[4:]
    at = 386
    for offset, size in first:
        block[at : at + 24] = b"%011o\0%011o\0" % (offset, size)
        at += 24
    block[482] = bool(rest)
    block[483:495] = b"%011o\0" % real
    more = b""
    while rest:
        now, rest = rest[:21], rest[21:]
        extension = b"".join(b"%011o\0%011o\0" % piece for piece in now).ljust(504, b"\0")
        more += (extension + bytes([bool(rest)])).ljust(512, b"\0")
    return checksummed(block) + more + data + bytes(tarheader.padding(len(data))) + END


def pax(records: dict[str, str], data: bytes, name: str = "GNUSparseFile.0/f") -> bytes:
    body = b"".join(tarheader._record(key.encode(), value.encode()) for key, value in records.items())
    head = write_header(Entry(name="x", kind=tarheader.PAX, size=len(body)))
    return (head + body + bytes(tarheader.padding(len(body))) + write_header(Entry(name=name, size=len(data), **ID)) + data
            + bytes(tarheader.padding(len(data))) + END)  # fmt: skip


def with_offsets() -> bytes:
    body = b"".join(tarheader._record(key, value) for key, value in (
        (b"GNU.sparse.size", b"%d" % REAL), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.offset", b"4096"),
        (b"GNU.sparse.numbytes", b"512"), (b"GNU.sparse.offset", b"%d" % (REAL - 100)), (b"GNU.sparse.numbytes", b"100")))  # fmt: skip
    head = write_header(Entry(name="x", kind=tarheader.PAX, size=len(body)))
    return (head + body + bytes(tarheader.padding(len(body))) + write_header(Entry(name="f", size=len(DATA), **ID)) + DATA
            + bytes(tarheader.padding(len(DATA))) + END)  # fmt: skip


MAP_1_0 = f"2\n4096\n512\n{REAL - 100}\n100\n".encode().ljust(512, b"\0")
ARCHIVES = {
    "gnu": gnu(PIECES, REAL, DATA),
    "pax 0.0": with_offsets(),
    "pax 0.1": pax({"GNU.sparse.size": str(REAL), "GNU.sparse.name": "f", "GNU.sparse.map": f"4096,512,{REAL - 100},100"}, DATA),
    "pax 1.0": pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(REAL), "GNU.sparse.name": "f"},
                   MAP_1_0 + DATA),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARCHIVES)
def test_the_holes_are_holes_and_the_data_is_where_it_belongs(tmp_path: Path, kind: str) -> None:
    assert unpack(io.BytesIO(ARCHIVES[kind]), str(tmp_path)) == REAL
    content = (tmp_path / "f").read_bytes()
    assert len(content) == REAL
    assert content[4096:4608] == b"A" * 512
    assert content[-100:] == b"B" * 100
    assert content.count(0) == REAL - 612
    assert (tmp_path / "f").stat().st_blocks * 512 < REAL // 2


def test_a_map_that_goes_on_in_blocks_of_its_own(tmp_path: Path) -> None:
    pieces = tuple((number * 10_000, 10) for number in range(60))
    unpack(io.BytesIO(gnu(pieces, 600_000, b"0123456789" * 60)), str(tmp_path))
    content = (tmp_path / "f").read_bytes()
    assert len(content) == 600_000
    assert all(content[offset : offset + 10] == b"0123456789" for offset, _ in pieces)


@pytest.mark.parametrize("archive", [
    gnu(((0, 512), (100, 100)), REAL, DATA),  # overlapping
    gnu(((REAL, 612),), REAL, DATA),  # beyond the end
    gnu(((0, 500),), REAL, DATA),  # less than there is
    gnu(((0, 700),), REAL, DATA),  # more than there is
    pax({"GNU.sparse.size": "10", "GNU.sparse.map": "0,1,2"}, DATA),
    pax({"GNU.sparse.size": str(1 << 70), "GNU.sparse.map": ""}, b""),
    pax({"GNU.sparse.size": "x", "GNU.sparse.map": "0,1"}, DATA),
    pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}, b"no map"),
    pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}, b"99999999999\n".ljust(512, b"\0")),
])
def test_maps_that_lie_are_refused(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(InvalidTar):
        unpack(io.BytesIO(archive), str(tmp_path))
