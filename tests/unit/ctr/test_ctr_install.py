"""`install`: programs of a layer in a folder, whichever way the archive names them."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from wherry.ctr.command import CommandFailed
from wherry.ctr.commands.install import _unpack
from wherry.oci.image import OCI_LAYER, Descriptor
from wherry.transfer.content import ChunkFile

LAYER = Descriptor(media_type=OCI_LAYER, digest="sha256:" + "0" * 64, size=0)


class OneBlob:
    """Content with the same bytes under every digest, in pieces that fit nothing."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def chunks(self, digest: str):
        return (self.data[at:at + 700] for at in range(0, len(self.data), 700))


def layer() -> OneBlob:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind, link in (("./bin", tarfile.DIRTYPE, ""), ("./bin/box", tarfile.REGTYPE, ""), ("bin/ls", tarfile.LNKTYPE, "bin/box"),
                                 ("bin/sh", tarfile.SYMTYPE, "box"), ("bin/pipe", tarfile.FIFOTYPE, ""), ("lib/so", tarfile.REGTYPE, ""),
                                 ("etc/passwd", tarfile.REGTYPE, ""), ("bin/../../out", tarfile.REGTYPE, "")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o755
            member.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"box"))
    return OneBlob(file.getvalue())


def test_files_and_both_kinds_of_links(tmp_path):
    _unpack(layer(), LAYER, str(tmp_path), ("bin",), replace=False)
    assert os.listdir(tmp_path) == ["bin"]
    assert sorted(os.listdir(tmp_path / "bin")) == ["box", "ls", "sh"]
    assert (tmp_path / "bin/ls").samefile(tmp_path / "bin/box")
    assert os.readlink(tmp_path / "bin/sh") == "box"
    assert (tmp_path / "bin/box").read_bytes() == b"box"
    assert (tmp_path / "bin/box").stat().st_mode & 0o777 == 0o755


def test_what_is_there_stays_unless_it_may_be_replaced(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/box").write_bytes(b"old")
    with pytest.raises(CommandFailed, match="cannot replace bin/box in "):
        _unpack(layer(), LAYER, str(tmp_path), ("bin", "lib"), replace=False)
    assert (tmp_path / "bin/box").read_bytes() == b"old"
    _unpack(layer(), LAYER, str(tmp_path), ("bin", "lib"), replace=True)
    assert (tmp_path / "bin/box").read_bytes() == b"box"
    assert (tmp_path / "lib/so").exists()


def test_pieces_read_as_a_file():
    file = ChunkFile(iter([b"ab", b"cdef", b"g"]))
    assert [file.read(3) for _ in range(4)] == [b"abc", b"def", b"g", b""]
