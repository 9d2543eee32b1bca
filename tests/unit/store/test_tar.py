"""Tar archives: headers, extensions and sparse files, against Python's tarfile as an oracle in both directions."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.errors import DataLoss, InvalidArgument
from wherry.store import tarheader
from wherry.store.tarheader import Entry, InvalidTar, parse_header, write_header
from wherry.store.tarread import TarReader, nanoseconds, parse_pax

END = bytes(1024)


def read_all(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(data))
    found = []
    while (entry := reader.next()) is not None:
        found.append((entry, b"".join(bytes(piece) for piece in reader.payload())))
    return found


def accounted(data: bytes) -> bytes:
    """Everything put together again: raw bytes and content, in order."""
    reader = TarReader(io.BytesIO(data))
    out = b""
    while reader.next() is not None:
        out += reader.take_raw()
        out += b"".join(bytes(piece) for piece in reader.payload())
    out += reader.take_raw()
    return out + b"".join(reader.rest())


names = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300).map(
    lambda name: name.strip("/.") or "x")


@given(
    name=names, link=names, mode=st.integers(0, 0o7777), uid=st.integers(0, 1 << 33), gid=st.integers(0, 1 << 33),
    mtime=st.integers(-(1 << 34), 1 << 36), xattr=st.binary(min_size=1, max_size=50))
def test_what_is_written_is_read_again(
    name: str, link: str, mode: int, uid: int, gid: int, mtime: int, xattr: bytes) -> None:
    entry = Entry(name=name, kind=tarheader.SYMLINK, mode=mode, uid=uid, gid=gid, mtime_ns=mtime * 10**9, link=link,
                  xattrs={"security.capability": xattr, "user.a": b"1"})
    [(found, content)] = read_all(write_header(entry) + END)
    assert found == entry
    assert content == b""


@given(name=names, mode=st.integers(0, 0o7777), uid=st.integers(0, 1 << 22), mtime=st.integers(-9, 1 << 36), data=st.binary(max_size=2000))
def test_tarfile_reads_what_is_written(name: str, mode: int, uid: int, mtime: int, data: bytes) -> None:
    entry = Entry(name=name, mode=mode, uid=uid, mtime_ns=mtime * 10**9, size=len(data))
    archive = write_header(entry) + data + bytes(tarheader.padding(len(data))) + END
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        [member] = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        assert (member.name, member.mode, member.uid, int(member.mtime), file.read()) == (name, mode, uid, mtime, data)


@settings(max_examples=60)
@given(
    members=st.lists(st.tuples(names, st.binary(max_size=1500), st.integers(0, 1 << 22), st.integers(0, 1 << 34).map(lambda quarters: quarters / 4)), max_size=5),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_what_tarfile_writes_is_read_and_every_byte_accounted_for(
    members: list[tuple[str, bytes, int, float]], form: int) -> None:
    out = io.BytesIO()
    wanted = []
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data, uid, mtime in members:
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.mtime = len(data), uid, mtime if form == tarfile.PAX_FORMAT else int(mtime)
            try:
                tar.addfile(info, io.BytesIO(data))
            except ValueError:  # ustar cannot hold it
                continue
            wanted.append((name, data, uid))
    found = read_all(out.getvalue())
    assert [(entry.name, data, entry.uid) for entry, data in found] == wanted
    assert accounted(out.getvalue()) == out.getvalue()


@pytest.mark.parametrize(("field", "value"), [
    (b"0000644\0", 0o644), (b"   644 \0", 0o644), (b"\0\0\0\0\0\0\0\0", 0), (b"        ", 0),
    (b"\x80\0\0\0\0\0\1\0", 256), (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1), (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
])
def test_numbers(field: bytes, value: int) -> None:
    assert tarheader.number(field) == value


@pytest.mark.parametrize("field", [b"9999999\0", b"x\0\0\0\0\0\0\0", b"-1\0\0\0\0\0\0", b"+1\0\0\0\0\0\0", b"1 2\0\0\0\0\0"])
def test_what_is_no_number(field: bytes) -> None:
    with pytest.raises(InvalidTar):
        tarheader.number(field)


def test_old_archives_sum_signed_bytes() -> None:
    block = bytearray(write_header(Entry(name="n")))
    block[300:303] = b"\xff\xfe\xfd"
    block[148:156] = b" " * 8
    total = sum(byte - 256 if byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % total
    entry = parse_header(bytes(block))
    assert entry is not None
    assert entry.name == "n"


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(InvalidTar, match=r"archive/tar: invalid tar header"):
        read_all(os.urandom(2048))
    with pytest.raises(InvalidTar):
        read_all(b"x" * 512)
    with pytest.raises(DataLoss, match="unexpected EOF"):
        read_all(b"short")


def test_an_empty_stream_is_an_empty_archive() -> None:
    assert read_all(b"") == []
    assert read_all(END) == []


def test_cut_archives() -> None:
    whole = write_header(Entry(name="a", size=1000)) + bytes(1024) + END
    for size in (300, 512, 900, 1511):
        with pytest.raises(DataLoss, match="unexpected EOF"):
            read_all(whole[:size])
    assert len(read_all(whole[:1512])) == 1  # the padding of the last file may be missing
    lonely = write_header(Entry(name="é"))[:1024]  # a PAX header without its file
    with pytest.raises(DataLoss):
        read_all(lonely + END)


def test_the_size_of_a_link_is_no_content() -> None:
    block = bytearray(write_header(Entry(name="l", kind=tarheader.SYMLINK, link="t", size=512)))
    found = read_all(bytes(block) + write_header(Entry(name="next")) + END)
    assert [entry.name for entry, _ in found] == ["l", "next"]


def test_a_header_without_end_is_refused_before_it_is_read() -> None:
    huge = write_header(Entry(name="x", kind=tarheader.PAX, size=2 << 20))
    with pytest.raises(InvalidTar, match="header field too long"):
        read_all(huge)
    huge = write_header(Entry(name="x", kind=tarheader.GNU_LONG_NAME, size=2 << 20))
    with pytest.raises(InvalidTar, match="header field too long"):
        read_all(huge)


@pytest.mark.parametrize("data", [
    b"x", b"5 a=\n", b"99 a=b\n", b"6 a=bc\n", b"6 =bc\n", b"-6 a=b\n", b"6 a=b7", b"99999999999999999999 a=b\n", b"3 a\n", b"7 a\0=b\n"])
def test_bad_pax_records(data: bytes) -> None:
    if data == b"5 a=\n":
        assert parse_pax(data) == {}
        return
    with pytest.raises(InvalidTar):
        parse_pax(data)


@given(st.dictionaries(st.text(alphabet="abcXYZ.é", min_size=1, max_size=30), st.binary(min_size=1, max_size=200), max_size=8))
def test_pax_records_are_read_as_written(records: dict[str, bytes]) -> None:
    data = b"".join(tarheader._record(key.encode(), value) for key, value in records.items())
    assert parse_pax(data) == records


@pytest.mark.parametrize(("text", "value"), [
    (b"1", 10**9), (b"1.5", 1_500_000_000), (b"0.000000001", 1), (b"1.1234567899", 1_123_456_789), (b"-1.25", -1_250_000_000)])
def test_times_keep_their_nanoseconds(text: bytes, value: int) -> None:
    assert nanoseconds(text) == value


@pytest.mark.parametrize("text", [b"", b".", b"x", b"1e9", b"1" * 30, b"--1"])
def test_what_is_no_time(text: bytes) -> None:
    with pytest.raises(InvalidTar):
        nanoseconds(text)


@given(st.binary(max_size=3000))
def test_rubbish_ends_in_an_error_of_ours_or_an_end(data: bytes) -> None:
    try:
        read_all(data)
    except (InvalidArgument, DataLoss):
        return


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_archive_ends_in_an_error_of_ours_or_an_end(data: st.DataObject) -> None:
    whole = bytearray(write_header(Entry(name="é" * 90, size=10, xattrs={"user.x": b"1"})) + bytes(512) + END)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 2047))
        whole[at] = data.draw(st.integers(0, 255))
        head = at // 512 * 512  # a header that is believed
        block = bytearray(whole[head : head + 512])
        block[148:156] = b" " * 8
        whole[head + 148 : head + 156] = b"%06o\0 " % sum(block)
    try:
        read_all(bytes(whole))
    except (InvalidArgument, DataLoss):
        return
