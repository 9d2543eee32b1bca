"""Layers as root: whiteouts, owners, devices, capabilities, and what of overlayfs a tar may not say."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from wherry.errors import InvalidArgument
from wherry.store import tarheader
from wherry.store.archive import pack
from wherry.store.layers import LayerStore
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, padding, write_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.store.layers import Layer, Lease

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep


def tar(*members: tuple[Entry, bytes] | Entry) -> bytes:
    out = b""
    for member in members:
        entry, data = member if isinstance(member, tuple) else (member, b"")
        out += write_header(entry.replace(size=len(data))) + data + bytes(padding(len(data)))
    return out + bytes(1024)


def folder(name: str, **fields: int) -> Entry:
    return Entry(name=name, kind=tarheader.FOLDER, **{"mode": 0o755, **fields})


@pytest.fixture(scope="module")
def root() -> Iterator[DataRoot]:
    path = tempfile.mkdtemp(prefix="wherry-layers-", dir="/var/tmp")
    with DataRoot.open(path) as opened:
        yield opened
    shutil.rmtree(path)


@pytest.fixture
def lease(root: DataRoot) -> Iterator[Lease]:
    with LayerStore(root).lease() as held:
        yield held


def register(root: DataRoot, lease: Lease, data: bytes) -> tuple[Layer, str]:
    layer = lease.register(io.BytesIO(data))
    assert lease._store.open_tar(layer.chain_id).read() == data
    return layer, root.overlay.diff(layer.cache_id)


def is_whiteout(path: str) -> bool:
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: str) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path) and os.getxattr(path, "trusted.overlay.opaque") == b"y"


def test_whiteouts_become_overlayfs_marks_and_back(root: DataRoot, lease: Lease) -> None:
    data = tar(folder("etc"), Entry(name="etc/.wh.passwd", mode=0o600), folder("usr"), Entry(name="usr/.wh..wh..opq"),
               (Entry(name="usr/new"), b"1"), Entry(name=".wh.gone"), Entry(name="made/by/.wh.itself"))
    layer, diff = register(root, lease, data)
    assert is_whiteout(f"{diff}/etc/passwd")
    assert is_whiteout(f"{diff}/gone")
    assert is_whiteout(f"{diff}/made/by/itself")
    assert is_opaque(f"{diff}/usr")
    assert not is_opaque(f"{diff}/etc")
    assert layer.size_bytes == 1
    packed = pack(diff, whiteouts=True).read()
    _, again = register(root, lease, packed)
    assert is_whiteout(f"{again}/etc/passwd")
    assert is_opaque(f"{again}/usr")
    assert sorted(os.listdir(f"{again}/usr")) == ["new"]


@pytest.mark.parametrize("order", [0, 1])
def test_a_whiteout_hides_lower_layers_and_never_its_own(root: DataRoot, lease: Lease, order: int) -> None:
    things = (Entry(name=".wh.f"), Entry(name=".wh.d"), Entry(name=".wh.l"))
    own = ((Entry(name="f"), b"1"), folder("d", mode=0o700), (Entry(name="d/x"), b"2"),
           Entry(name="l", kind=tarheader.SYMLINK, link="f"))
    _, diff = register(root, lease, tar(*(things + own if order else own + things)))
    assert os.listdir(f"{diff}/d") == ["x"]
    assert is_opaque(f"{diff}/d")
    assert stat.S_IMODE(os.lstat(f"{diff}/d").st_mode) == 0o700
    assert os.path.isfile(f"{diff}/f")
    assert os.path.islink(f"{diff}/l")


def test_whiteouts_with_content_and_marks_of_aufs(root: DataRoot, lease: Lease) -> None:
    data = tar((Entry(name=".wh.x"), b"odd"), (Entry(name=".wh..wh.aufs"), b"aufs"), folder(".wh..wh.plnk"),
               (Entry(name=".wh..wh.plnk/1.2"), b"link"))
    _, diff = register(root, lease, data)
    assert is_whiteout(f"{diff}/x")
    assert sorted(os.listdir(diff)) == [".wh..wh.plnk", "x"]


@pytest.mark.parametrize("name", [".wh.", ".wh...", ".wh.."])
def test_whiteouts_of_nothing_are_refused(root: DataRoot, lease: Lease, name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid whiteout"):
        lease.register(io.BytesIO(tar(Entry(name=name))))
    assert os.listdir(root.half_made) == []


def test_owners_devices_setuid_and_capabilities(root: DataRoot, lease: Lease) -> None:
    data = tar(
        folder("d", mode=0o2775, uid=1000, gid=1001), folder("d/inner", uid=7),
        (Entry(name="d/su", mode=0o6755, uid=3, gid=4, xattrs={"security.capability": CAPABILITY, "user.note": b"x"}), b"#!"),
        Entry(name="d/null", kind=tarheader.CHARACTER, mode=0o666, major=1, minor=3, uid=5),
        Entry(name="d/disk", kind=tarheader.BLOCK_DEVICE, mode=0o660, major=8, minor=1),
        Entry(name="d/l", kind=tarheader.SYMLINK, link="/etc/passwd", uid=9, gid=9, mtime_ns=10**9),
        Entry(name="d/trick", xattrs={"trusted.overlay.redirect": b"/etc", "trusted.overlay.opaque": b"y"}),
    )
    before = os.stat("/etc/passwd")
    _, diff = register(root, lease, data)
    status = os.lstat(f"{diff}/d/su")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (3, 4, 0o6755)
    assert os.getxattr(f"{diff}/d/su", "security.capability") == CAPABILITY
    assert os.getxattr(f"{diff}/d/su", "user.note") == b"x"
    assert os.lstat(f"{diff}/d/inner").st_gid == 0
    status = os.lstat(f"{diff}/d/null")
    assert (status.st_rdev, status.st_uid, stat.S_IMODE(status.st_mode)) == (os.makedev(1, 3), 5, 0o666)
    assert os.lstat(f"{diff}/d/disk").st_rdev == os.makedev(8, 1)
    status = os.lstat(f"{diff}/d/l")
    assert (status.st_uid, status.st_mtime_ns) == (9, 10**9)
    assert os.listxattr(f"{diff}/d/trick") == []
    assert os.stat("/etc/passwd") == before
    status = os.lstat(f"{diff}/d")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 1001, 0o2775)
    _, again = register(root, lease, pack(diff, whiteouts=True).read())
    assert os.getxattr(f"{again}/d/su", "security.capability") == CAPABILITY
    assert os.lstat(f"{again}/d/null").st_rdev == os.makedev(1, 3)


@pytest.mark.parametrize("options", [
    ("--format=gnu",), ("--format=gnu", "--sparse"), ("--format=pax",), ("--format=pax", "--sparse"),
    ("--format=pax", "--sparse", "--sparse-version=0.0"), ("--format=pax", "--sparse", "--sparse-version=0.1"),
    ("--format=pax", "--xattrs", "--xattrs-include=*"), ("--format=oldgnu",), ("--format=ustar",), ("--format=v7",)])
def test_what_gnu_tar_writes(root: DataRoot, lease: Lease, options: tuple[str, ...]) -> None:
    old = options[0] in ("--format=ustar", "--format=v7")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as top:
        os.makedirs(f"{top}/d/e")
        with open(f"{top}/d/sparse", "wb") as file:
            for at in range(0, 3_000_000, 100_000):
                file.seek(at)
                file.write(b"data%d" % at)
            file.truncate(4_000_000)
        name = "x" if old else "long" * 40
        with open(f"{top}/{name}", "w") as file:
            file.write("content")
        os.link(f"{top}/{name}", f"{top}/d/hard")
        os.symlink("t" * (90 if old else 200), f"{top}/link")
        os.setxattr(f"{top}/{name}", "user.a", b"value")
        os.chown(f"{top}/d/e", 1000, 1000)
        os.chmod(f"{top}/d/sparse", 0o4711)
        os.utime(f"{top}/d/sparse", ns=(10**18, 10**18 + 123_456_789))
        data = subprocess.run(["tar", "-C", top, *options, "-cf", "-", "."], check=True, capture_output=True).stdout
        _, diff = register(root, lease, data)
        compared = subprocess.run(["diff", "-r", "--no-dereference", top, diff], capture_output=True, text=True)
        assert compared.stdout == ""
        fraction = 123_456_789 if "--format=pax" in options else 0
        assert os.stat(f"{diff}/d/sparse").st_mtime_ns == 10**18 + fraction
        assert stat.S_IMODE(os.stat(f"{diff}/d/sparse").st_mode) == 0o4711
        assert os.stat(f"{diff}/d/e").st_uid == 1000
        assert os.stat(f"{diff}/d/hard").st_nlink == 2
        if "--xattrs" in options:
            assert os.getxattr(f"{diff}/{name}", "user.a") == b"value"
        if "--sparse" in options:
            assert os.stat(f"{diff}/d/sparse").st_blocks * 512 < 1_000_000
