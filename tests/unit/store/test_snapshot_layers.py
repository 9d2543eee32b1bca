"""Layers into and out of snapshots: applied to a folder, compared, and both together."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wherry.errors import DataLoss, InvalidArgument, Unsupported
from wherry.store import tarheader
from wherry.store.compression import gzip_writer
from wherry.store.snapshots.apply import apply_layer
from wherry.store.snapshots.compare import compare
from wherry.store.snapshots.model import Mount
from wherry.store.snapshots.mounting import Mounted, split_layers
from wherry.store.tarheader import Entry, write_header
from wherry.store.tarread import TarReader

if TYPE_CHECKING:
    from pathlib import Path


def tar(*members: tuple[str, bytes | None]) -> bytes:
    """`None` is a folder."""
    out = b""
    for name, data in members:
        if data is None:
            out += write_header(Entry(name=name, kind=tarheader.FOLDER, mode=0o755, mtime_ns=10**18, uid=os.getuid(), gid=os.getgid()))
        else:
            out += write_header(Entry(name=name, size=len(data), mode=0o644, mtime_ns=10**18, uid=os.getuid(), gid=os.getgid()))
            out += data + bytes(tarheader.padding(len(data)))
    return out + bytes(1024)


def bind(folder: Path | str, access: str = "rw") -> tuple[Mount]:
    return (Mount(type="bind", source=str(folder), options=(access, "rbind")),)


def tree(folder: Path) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for parent, folders, files in os.walk(folder):
        where = os.path.relpath(parent, folder)
        found.update({os.path.normpath(f"{where}/{name}"): None for name in folders})
        for name in files:
            with open(f"{parent}/{name}", "rb") as file:
                found[os.path.normpath(f"{where}/{name}")] = file.read()
    return found


def members(data: bytes) -> list[str]:
    reader, names = TarReader(io.BytesIO(data)), []
    while (entry := reader.next()) is not None:
        names.append(entry.name)
    return names


def gzipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with gzip_writer(out) as writer:
        writer.write(data)
    return out.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzipped, zstd.compress], ids=["plain", "gzip", "zstd"])
def test_a_layer_is_applied_whatever_its_compression(tmp_path: Path, pack: object) -> None:
    data = tar(("a/", None), ("a/f", b"content"))
    packed = pack(data)  # type: ignore[operator]
    applied = apply_layer(io.BytesIO(packed), bind(tmp_path), digest="sha256:" + hashlib.sha256(packed).hexdigest())
    assert tree(tmp_path) == {"a": None, "a/f": b"content"}
    assert applied.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert applied.size_bytes == len(data)


def test_whiteouts_remove_what_lower_layers_have_and_nothing_else(tmp_path: Path) -> None:
    apply_layer(io.BytesIO(tar(("a/", None), ("a/old", b"1"), ("a/sub/", None), ("a/sub/x", b"1"), ("b/", None), ("b/y", b"1"),
                               ("c", b"1"), ("d/", None), ("d/old", b"1"))), bind(tmp_path))
    apply_layer(io.BytesIO(tar(
        ("a/", None), ("a/new", b"2"), ("a/.wh..wh..opq", b""), ("b/", None), ("b/y", b"2"), ("b/.wh.y", b""), (".wh.c", b""),
        ("d/", None), ("d/new", b"2"), (".wh.d", b""), (".wh..wh.plnk", b""), (".wh.never", b""))), bind(tmp_path))
    assert tree(tmp_path) == {"a": None, "a/new": b"2", "b": None, "b/y": b"2", "d": None, "d/new": b"2"}


def test_what_cannot_be_applied(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        apply_layer(io.BytesIO(tar(("../x", b""))), bind(tmp_path))
    with pytest.raises(InvalidArgument, match=r"invalid whiteout"):
        apply_layer(io.BytesIO(tar((".wh.", b""))), bind(tmp_path))
    with pytest.raises(DataLoss):
        apply_layer(io.BytesIO(gzipped(tar(("f", b"x" * 10_000)))[:-20]), bind(tmp_path))
    with pytest.raises(DataLoss, match=r"^the layer sha256:0+ has the digest sha256:[0-9a-f]+$"):
        apply_layer(io.BytesIO(tar()), bind(tmp_path), digest="sha256:" + "0" * 64)
    with pytest.raises(OSError, match="Read-only file system"):
        apply_layer(io.BytesIO(tar()), bind(tmp_path, "ro"))
    with pytest.raises(Unsupported, match="2 mounts"), Mounted([*bind(tmp_path), *bind(tmp_path)]):
        pass


def compared(lower: Path, upper: Path) -> bytes:
    one, other = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (lower, upper))
    try:
        with compare(one, other) as stream:
            return stream.read()
    finally:
        os.close(one)
        os.close(other)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal trees."""
    apply_layer(io.BytesIO(tar(("a/", None), ("a/sub/", None), ("a/sub/f", b"1"), ("a/g", b"1"), ("h", b"1"))),
                bind(_made(tmp_path / "lower")))
    shutil.copytree(tmp_path / "lower", tmp_path / "upper", symlinks=True)
    return tmp_path / "lower", tmp_path / "upper"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_equal_trees_have_no_difference(pair: tuple[Path, Path]) -> None:
    assert members(compared(*pair)) == []


def test_changes_come_with_the_way_to_them(pair: tuple[Path, Path]) -> None:
    lower, upper = pair
    (upper / "a/sub/f").write_bytes(b"2")
    (upper / "a/g").unlink()
    (upper / "new").mkdir()
    os.symlink("a", upper / "new/link")
    assert members(compared(lower, upper)) == ["a/", "a/.wh.g", "a/sub/", "a/sub/f", "new/", "new/link"]


def test_mode_and_kind_are_changes(pair: tuple[Path, Path]) -> None:
    lower, upper = pair
    os.chmod(upper / "a", 0o700)
    (upper / "h").unlink()
    (upper / "h").mkdir()
    assert members(compared(lower, upper)) == ["a/", "h/"]
    shutil.rmtree(upper / "a")
    (upper / "a").write_bytes(b"file")
    assert members(compared(lower, upper)) == ["a", "h/"]


def test_a_folder_that_was_a_link_is_all_new(pair: tuple[Path, Path]) -> None:
    lower, upper = pair
    os.symlink("a", lower / "z")
    shutil.copytree(upper / "a", upper / "z")
    assert members(compared(lower, upper)) == ["z/", "z/g", "z/sub/", "z/sub/f"]


def test_same_size_and_second_but_another_content_is_a_change(pair: tuple[Path, Path]) -> None:
    lower, upper = pair
    (upper / "h").write_bytes(b"2")
    os.utime(upper / "h", ns=(10**18, 10**18))
    assert members(compared(lower, upper)) == ["h"]


NAMES = st.sampled_from(["a", "b", "a/x", "a/y", "b/x", "a/x/deep", "c"])
TREES = st.dictionaries(NAMES, st.one_of(st.none(), st.binary(max_size=3)), max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TREES, after=TREES)
def test_what_was_compared_leads_from_one_to_the_other(tmp_path: Path, before: dict[str, bytes | None],
                                                       after: dict[str, bytes | None]) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, wanted in zip(folders, (before, after), strict=True):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in sorted(wanted.items()):
            path = folder / name
            if any(parent.is_file() for parent in path.parents):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None or path.is_dir():
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(content)
    apply_layer(io.BytesIO(compared(*folders)), bind(folders[0]))
    assert tree(folders[0]) == tree(folders[1])


def test_colons_in_the_names_of_layers() -> None:
    assert split_layers("/a:/b") == ["/a", "/b"]
    assert split_layers("/a\\:b:/c") == ["/a:b", "/c"]
    assert split_layers("/a") == ["/a"]
