"""Unpacking as an ordinary user: what a tar may do in its folder, and that nothing happens outside of it."""

from __future__ import annotations

import io
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wherry.errors import DataLoss, WherryError
from wherry.store import tarheader
from wherry.store.archive import pack, unpack
from wherry.store.compression import decompress, gzip_writer
from wherry.store.tarheader import Entry, InvalidTar, write_header
from wherry.store.unpack import clean

if TYPE_CHECKING:
    from pathlib import Path

ID = {"uid": os.getuid(), "gid": os.getgid()}
END = bytes(1024)


def tar(*members: tuple[Entry, bytes] | Entry) -> io.BytesIO:
    out = b""
    for member in members:
        entry, data = member if isinstance(member, tuple) else (member, b"")
        entry = entry.replace(**ID, size=len(data) or entry.size)
        out += write_header(entry) + data + bytes(tarheader.padding(len(data)))
    return io.BytesIO(out + END)


def file(name: str, data: bytes = b"data", **fields: object) -> tuple[Entry, bytes]:
    return Entry(name=name, **fields), data  # type: ignore[arg-type]


def folder(name: str, **fields: object) -> Entry:
    return Entry(name=name, kind=tarheader.FOLDER, **{"mode": 0o755, **fields})  # type: ignore[arg-type]


def link(name: str, target: str, kind: bytes = tarheader.SYMLINK) -> Entry:
    return Entry(name=name, kind=kind, link=target)


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """An empty folder beside a file that must stay as it is."""
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


def check_outside(inside: Path) -> None:
    assert sorted(os.listdir(inside.parent)) == ["inside", "outside"]
    assert (inside.parent / "outside").read_text() == "untouched"
    assert (inside.parent / "outside").stat().st_nlink == 1


def test_files_folders_links_modes_and_times(inside: Path) -> None:
    unpack(tar(
        folder("d/", mode=0o1750, mtime_ns=5_000_000_000), file("d/f", b"x" * 3000, mode=0o4711, mtime_ns=7_000_000_000),
        link("d/s", "../d/f"), link("d/h", "d/f", tarheader.LINK), Entry(name="p", kind=tarheader.FIFO, mode=0o640),
        file("deep/er/f")), str(inside))  # fmt: skip
    status = (inside / "d/f").stat()
    assert stat.S_IMODE(status.st_mode) == 0o4711
    assert (status.st_mtime_ns, status.st_nlink, status.st_size) == (7_000_000_000, 2, 3000)
    assert stat.S_IMODE((inside / "d").stat().st_mode) == 0o1750
    assert (inside / "d").stat().st_mtime_ns == 5_000_000_000
    assert os.readlink(inside / "d/s") == "../d/f"
    assert stat.S_ISFIFO((inside / "p").lstat().st_mode)
    assert stat.S_IMODE((inside / "deep/er").stat().st_mode) == 0o755


def test_nanoseconds_come_by_pax(inside: Path) -> None:
    record = tarheader._record(b"mtime", b"1700000000.123456789")
    head = write_header(Entry(name="x", kind=tarheader.PAX, size=len(record))) + record.ljust(512, b"\0")
    unpack(io.BytesIO(head + write_header(Entry(name="f", **ID)) + END), str(inside))
    assert (inside / "f").stat().st_mtime_ns == 1_700_000_000_123_456_789


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "..", "a/../..", "./../x"])
def test_a_name_that_leads_out_is_refused(inside: Path, name: str) -> None:
    with pytest.raises(InvalidTar, match='is outside of "/"'):
        unpack(tar(file(name)), str(inside))
    with pytest.raises(InvalidTar, match='is outside of "/"'):
        unpack(tar(file("a"), link("b", name, tarheader.LINK)), str(inside))
    check_outside(inside)


def test_absolute_names_mean_the_folder(inside: Path) -> None:
    unpack(tar(file("/etc/a"), file("//b"), file("/../c"), file("./d"), folder("/"), folder("./")), str(inside))
    assert sorted(os.listdir(inside)) == ["b", "c", "d", "etc"]
    check_outside(inside)


@pytest.mark.parametrize("target", ["..", "/", "../..", "d/../../.."])
def test_a_link_that_leads_out_is_kept_as_a_link_and_leads_nowhere(inside: Path, target: str) -> None:
    unpack(tar(folder("d"), link("l", target), file("l/outside", b"evil"), folder("l/x"), file("l/x/y")), str(inside))
    assert os.readlink(inside / "l") == target
    assert (inside / "outside").read_bytes() == b"evil"
    assert (inside / "x/y").read_bytes() == b"data"
    check_outside(inside)


def test_an_absolute_link_leads_to_the_same_place_inside(inside: Path) -> None:
    unpack(tar(folder("real"), link("l", "/real"), file("l/f", b"1")), str(inside))
    assert (inside / "real/f").read_bytes() == b"1"
    with pytest.raises(OSError, match="Not a directory"):
        unpack(tar(link("m", str(inside.parent)), file("m/outside", b"evil")), str(inside))
    check_outside(inside)


def test_a_file_takes_the_place_of_a_link_and_does_not_follow_it(inside: Path) -> None:
    unpack(tar(link("l", "../outside"), file("l", b"evil")), str(inside))
    assert (inside / "l").read_bytes() == b"evil"
    unpack(tar(link("k", "../outside"), folder("k")), str(inside))
    assert (inside / "k").is_dir()
    check_outside(inside)


def test_hard_links_cannot_reach_the_host(inside: Path) -> None:
    outside = str(inside.parent / "outside")
    with pytest.raises(InvalidTar, match="invalid hardlink"):
        unpack(tar(link("h", outside, tarheader.LINK)), str(inside))
    with pytest.raises(InvalidTar, match="invalid hardlink"):
        unpack(tar(link("s", ".."), link("h", "s/outside", tarheader.LINK)), str(inside))
    unpack(tar(link("t", "../outside"), link("h2", "t", tarheader.LINK)), str(inside))
    assert os.readlink(inside / "h2") == "../outside"  # a link to the link itself
    check_outside(inside)


def test_loops_of_links_end(inside: Path) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        unpack(tar(link("a", "b"), link("b", "a"), file("a/x")), str(inside))


def test_later_entries_take_the_place_of_earlier_ones(inside: Path) -> None:
    unpack(tar(
        file("a", b"1"), file("a", b"2"), folder("b"), file("b/x"), file("b", b"now a file"), file("c"), folder("c"),
        file("c/x", b"3"), folder("d", mode=0o700), file("d/x"), folder("d", mode=0o711)), str(inside))  # fmt: skip
    assert (inside / "a").read_bytes() == b"2"
    assert (inside / "b").read_bytes() == b"now a file"
    assert (inside / "c/x").read_bytes() == b"3"
    assert (inside / "d/x").exists()
    assert stat.S_IMODE((inside / "d").stat().st_mode) == 0o711


def test_a_later_file_does_not_change_what_shares_the_earlier_one_s_content(inside: Path) -> None:
    unpack(tar(file("a", b"1"), link("b", "a", tarheader.LINK), file("b", b"2")), str(inside))
    assert (inside / "a").read_bytes() == b"1"


def test_folders_do_not_pass_their_group_on(inside: Path) -> None:
    unpack(tar(folder("d", mode=0o2755), folder("d/e"), file("d/e/f")), str(inside))
    assert stat.S_IMODE((inside / "d").stat().st_mode) == 0o2755
    assert stat.S_IMODE((inside / "d/e").stat().st_mode) == 0o755


def test_ten_thousand_levels_are_an_error_and_what_was_made_can_be_removed(inside: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        unpack(tar(file("d/" * 10_000 + "f")), str(inside))
    with pytest.raises(OSError, match="File name too long"):
        unpack(tar(file("n" * 300)), str(inside))
    check_outside(inside)


def test_names_that_are_not_text(inside: Path) -> None:
    name = os.fsdecode(b"\xff\xfe\x80")
    unpack(tar(file(name)), str(inside))
    assert os.listdir(os.fsencode(inside)) == [b"\xff\xfe\x80"]
    with pytest.raises(InvalidTar):
        clean("a\0b")


def test_entries_of_unknown_type_are_named(inside: Path) -> None:
    with pytest.raises(InvalidTar, match="unhandled tar header type 86"):
        unpack(tar(Entry(name="x", kind=b"V")), str(inside))
    with pytest.raises(InvalidTar, match="the root is a folder"):
        unpack(tar(file(".")), str(inside))


def test_without_whiteouts_their_names_are_names(inside: Path) -> None:
    unpack(tar(file(".wh.x"), file(".wh..wh..opq")), str(inside))
    assert sorted(os.listdir(inside)) == [".wh..wh..opq", ".wh.x"]


def test_entries_can_be_changed_and_left_out(inside: Path) -> None:
    unpack(tar(file("a"), file("b"), file("c")), str(inside),
           change=lambda entry: None if entry.name == "b" else entry.replace(name="to/" + entry.name))  # fmt: skip
    assert sorted(os.listdir(inside / "to")) == ["a", "c"]


def test_packing_and_unpacking_is_the_same_tree(inside: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    unpack(tar(folder("d", mode=0o1777, mtime_ns=10**9), file("d/" + "l" * 200, b"x" * 70_000, mtime_ns=10**9), file("e", b""),
               link("s", "d"), Entry(name="p", kind=tarheader.FIFO), link("h", "e", tarheader.LINK)), str(inside))  # fmt: skip
    packed = pack(str(inside)).read()
    again = tmp_path_factory.mktemp("again")
    unpack(io.BytesIO(packed), str(again))
    assert pack(str(again)).read() == packed
    assert (again / "h").stat().st_ino == (again / "e").stat().st_ino
    with pack(str(inside), prefix="x/", change=lambda entry: None if entry.name == "x/e" else entry) as stream:
        names = _names(stream.read())
    assert names == ["x/d/", "x/d/" + "l" * 200, "x/h", "x/p", "x/s"]


def _names(data: bytes) -> list[str]:
    from wherry.store.tarread import TarReader

    reader = TarReader(io.BytesIO(data))
    found = []
    while (entry := reader.next()) is not None:
        found.append(entry.name)
    return found


def test_a_tree_deeper_than_a_path_may_be_long_is_packed_and_removed(tmp_path: Path) -> None:
    from wherry.store.tree import remove_path

    top = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("deep", dir_fd=top)
    current = os.open("deep", os.O_RDONLY, dir_fd=top)
    for _ in range(3000):
        os.mkdir("dd", dir_fd=current)
        below = os.open("dd", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=current))
    os.close(current)
    os.close(top)
    names = _names(pack(str(tmp_path / "deep")).read())
    assert len(names) == 3001
    assert names[-1] == "dd/" * 3000 + "f"
    remove_path(str(tmp_path / "deep"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz", ""])
def test_compressed_archives(inside: Path, kind: str) -> None:
    import bz2
    import lzma

    data = tar(file("f", os.urandom(5000))).getvalue()
    unpack(io.BytesIO(_compressed(kind, data, bz2, lzma)), str(inside))
    assert (inside / "f").stat().st_size == 5000


def _compressed(kind: str, data: bytes, bz2: object, lzma: object) -> bytes:
    if kind == "gzip":
        out = io.BytesIO()
        half = len(data) // 2
        for part in (data[:half], data[half:]):  # two members in one file
            with gzip_writer(out) as writer:
                writer.write(part)
        return out.getvalue()
    if kind == "zstd":
        try:
            from compression import zstd
        except ImportError:
            from backports import zstd
        return bytes(zstd.compress(data[:1000]) + zstd.compress(data[1000:]))
    module = {"bzip2": bz2, "xz": lzma}.get(kind)
    return module.compress(data) if module else data  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
def test_damaged_and_cut_compression_is_told(kind: str) -> None:
    import bz2
    import lzma

    whole = _compressed(kind, os.urandom(20_000), bz2, lzma)
    cut = whole[: len(whole) - 50]
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x55
    for data in (cut,) if kind == "zstd" else (cut, bytes(damaged)):  # zstd need not carry a checksum
        found, stream = decompress(io.BytesIO(data))
        assert found == kind
        with pytest.raises(DataLoss, match=f"invalid {kind} data"):
            stream.read(-1)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.lists(st.tuples(
        st.lists(st.sampled_from(["a", "b", "..", ".", "", "l", ".wh.a", ".wh..wh.opq"]), min_size=1, max_size=4).map("/".join),
        st.sampled_from([tarheader.REGULAR, tarheader.FOLDER, tarheader.LINK, tarheader.SYMLINK, tarheader.FIFO, tarheader.REGULAR]),
        st.lists(st.sampled_from(["a", "b", "..", ".", "", "l", "outside"]), min_size=1, max_size=4).map("/".join)), max_size=8),
)
def test_whatever_a_tar_says_it_stays_inside(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    shutil.rmtree(tmp_path)
    (tmp_path / "inside").mkdir(parents=True)
    (tmp_path / "outside").write_text("untouched")
    archive = tar(*((Entry(name=name, kind=kind, link=link, mode=0o755), b"x" if kind == tarheader.REGULAR else b"")
                    for name, kind, link in members))
    try:
        unpack(archive, str(tmp_path / "inside"))
    except (WherryError, OSError):
        pass
    check_outside(tmp_path / "inside")


def test_numbers_that_the_kernel_does_not_have_are_refused_and_times_become_1970(inside: Path) -> None:
    for fields in ({"uid": (1 << 32) - 1}, {"gid": 1 << 40}, {"uid": -1}, {"major": 1 << 12}, {"minor": 1 << 20}):
        with pytest.raises(InvalidTar, match="are possible"):
            unpack(tar(Entry(name="x", kind=tarheader.FIFO)), str(inside), change=lambda entry, by=fields: entry.replace(**by))
    assert os.listdir(inside) == []
    for at in (1 << 90, -(1 << 90)):
        unpack(tar(file("f")), str(inside), change=lambda entry, at=at: entry.replace(mtime_ns=at))
        assert (inside / "f").stat().st_mtime_ns == 0
