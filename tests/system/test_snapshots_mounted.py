"""Snapshots as the kernel mounts them: what is written in one is seen by those on top of it, and by nobody else."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from snapshot_lab import Lab

from wherry.linux import mount as kernel
from wherry.store import tarheader
from wherry.store.snapshots.apply import apply_layer
from wherry.store.snapshots.compare import compare
from wherry.store.snapshots.mounting import Mounted
from wherry.store.snapshots.native import NativeLayout
from wherry.store.snapshots.overlayfs import OverlayLayout
from wherry.store.tarheader import Entry, write_header
from wherry.store.tarread import TarReader

pytestmark = pytest.mark.root


@pytest.fixture(params=[OverlayLayout, NativeLayout], ids=["overlayfs", "native"])
def lab(request):
    folder = tempfile.mkdtemp(prefix="wherry-snapshots-", dir="/var/tmp")  # an overlay's upper folder cannot lie on one
    yield Lab(folder, request.param)
    shutil.rmtree(folder)


def write(root: int, **files: str | None) -> None:
    """Writes files (None: removes them) into a mounted tree."""
    for name, content in files.items():
        if content is None:
            os.unlink(name, dir_fd=root)
            continue
        with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=root), "w") as file:
            file.write(content)


def seen(root: int) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(f"/proc/self/fd/{root}").iterdir()}


def layer(lab: Lab, name: str, parent: str, **files: str | None) -> None:
    with Mounted(lab.snapshots.prepare("ns", f"{name}-active", parent)) as root:
        write(root, **files)
    lab.snapshots.commit("ns", name, f"{name}-active")


def view(lab: Lab, name: str) -> dict[str, str]:
    with Mounted(lab.snapshots.view("ns", f"look-{name}-{os.urandom(4).hex()}", name)) as root:
        return seen(root)


def test_layers_show_what_lies_below_them(lab) -> None:
    layer(lab, "one", "", a="1", b="1")
    layer(lab, "two", "one", b="2", c="2")
    layer(lab, "three", "two", a=None, c="3")
    assert view(lab, "one") == {"a": "1", "b": "1"}
    assert view(lab, "two") == {"a": "1", "b": "2", "c": "2"}
    assert view(lab, "three") == {"b": "2", "c": "3"}


def test_siblings_do_not_see_each_other(lab) -> None:
    layer(lab, "base", "", a="0")
    for name in ("left", "right"):
        layer(lab, name, "base", a=name, **{name: "x"})
    assert view(lab, "left") == {"a": "left", "left": "x"}
    assert view(lab, "right") == {"a": "right", "right": "x"}
    assert view(lab, "base") == {"a": "0"}


def test_a_view_is_read_only(lab) -> None:
    layer(lab, "base", "", a="0")
    layer(lab, "more", "base", b="0")
    for number, parent in enumerate(("", "base", "more")):
        with Mounted(lab.snapshots.view("ns", f"v{number}", parent)) as root, pytest.raises(OSError, match="Read-only"):
            write(root, x="x")


def test_a_hundred_layers(lab) -> None:
    """More than one page of options holds, by their paths."""
    parent = ""
    for number in range(100):
        with Mounted(lab.snapshots.prepare("ns", "active", parent)) as root:
            write(root, **{f"f{number % 7}": str(number)})
        lab.snapshots._sync = lambda: None  # not what is tested here, and slow
        lab.snapshots.commit("ns", parent := f"layer{number}", "active")
    assert view(lab, parent) == {f"f{number % 7}": str(number) for number in range(93, 100)}


def test_a_tree_is_mounted_where_the_kernel_takes_layers_in_one_string_alone(lab, monkeypatch) -> None:
    layer(lab, "one", "", a="1")
    layer(lab, "two", "one", b="2")

    def refuse(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(kernel, "filesystem", refuse)
    assert view(lab, "two") == {"a": "1", "b": "2"}
    assert "wherry-mount-" not in Path("/proc/self/mountinfo").read_text()


def tar(*entries: Entry | tuple[str, bytes]) -> io.BytesIO:
    out = b""
    for one in entries:
        entry, data = (one, b"") if isinstance(one, Entry) else (Entry(name=one[0], size=len(one[1]), mode=0o644), one[1])
        out += write_header(entry) + data + bytes(tarheader.padding(len(data)))
    return io.BytesIO(out + bytes(1024))


def test_a_layer_with_whiteouts_is_applied(lab) -> None:
    folder = Entry(name="d/", kind=tarheader.FOLDER, mode=0o750, uid=7, gid=8)
    for name, parent, content in (
        ("one", "", tar(folder, ("d/old", b"1"), ("gone", b"1"), ("kept", b"1"))),
        ("two", "one", tar(folder, ("d/.wh..wh..opq", b""), ("d/new", b"2"), (".wh.gone", b""))),
    ):
        apply_layer(content, lab.snapshots.prepare("ns", "active", parent))
        lab.snapshots.commit("ns", name, "active")
    with Mounted(lab.snapshots.view("ns", "look", "two")) as root:
        assert sorted(os.listdir(f"/proc/self/fd/{root}")) == ["d", "kept"]
        assert os.listdir(f"/proc/self/fd/{root}/d") == ["new"]
        status = os.stat("d", dir_fd=root)
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o750, 7, 8)


def test_what_changed_in_a_snapshot_is_a_layer(lab) -> None:
    folder = Entry(name="d/", kind=tarheader.FOLDER, mode=0o755)
    apply_layer(tar(folder, ("d/a", b"1"), ("d/b", b"1"), ("c", b"1")), lab.snapshots.prepare("ns", "active"))
    lab.snapshots.commit("ns", "base", "active")
    upper = lab.snapshots.prepare("ns", "work", "base")
    with Mounted(upper) as root:
        write(root, new="2", c=None)
        Path(f"/proc/self/fd/{root}/d/a").write_text("2")
        Path(f"/proc/self/fd/{root}/d/b").unlink()
    with Mounted(lab.snapshots.view("ns", "look", "base")) as below, Mounted(upper) as above, compare(below, above) as stream:
        data = stream.read()
    reader, names = TarReader(io.BytesIO(data)), []
    while (entry := reader.next()) is not None:
        names.append(entry.name)
    assert names == [".wh.c", "d/", "d/.wh.b", "d/a", "new"]
    apply_layer(io.BytesIO(data), lab.snapshots.prepare("ns", "again", "base"))
    lab.snapshots.commit("ns", "same", "again")
    with Mounted(lab.snapshots.view("ns", "result", "same")) as root, Mounted(upper) as work, compare(work, root) as stream:
        assert TarReader(io.BytesIO(stream.read())).next() is None
