"""Headers of tar archives: 512 bytes in, an entry out, and back; the extensions are read by `tarread.py`.

      0 name 100 · 100 mode 8 · 108 uid 8 · 116 gid 8 · 124 size 12 · 136 mtime 12 · 148 checksum 8 · 156 type 1
    157 linkname 100 · 257 magic 6, version 2 · 265 uname 32 · 297 gname 32 · 329 devmajor 8 · 337 devminor 8 · 345 prefix 155

Numbers are octal text, or (GNU) big-endian two's complement with the top bit of the first byte set. Names are bytes on
Linux; here they are text with surrogate escapes, as Python's `os` has them. Sources: POSIX.1-2017 «pax», the GNU tar
manual «Basic Tar Format».
"""

from __future__ import annotations

import os
import stat

from wherry.errors import InvalidArgument
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK = 512
REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
CONTIGUOUS, OLD_REGULAR = b"7", b"\0"
GNU_SPARSE, GNU_LONG_NAME, GNU_LONG_LINK = b"S", b"L", b"K"
PAX, PAX_GLOBAL = b"x", b"g"
XATTR = "SCHILY.xattr."

_KINDS = {
    stat.S_IFREG: REGULAR, stat.S_IFDIR: FOLDER, stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO,
}  # fmt: skip
_NOTHING: Mapping[str, bytes] = type(type.__dict__)({})


class InvalidTar(InvalidArgument):
    """Bytes that are not a tar archive, or not one that can be unpacked."""


class Entry(Record):
    """One member of an archive. `size` counts the bytes that follow in the archive; `mtime_ns` is since 1970.

    `sparse` lists (offset, length) of the data of a sparse file and `real_size` its size; both None for others.
    """

    name: str
    kind: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = _NOTHING
    sparse: tuple[tuple[int, int], ...] | None = None
    real_size: int | None = None


def parse_header(block: bytes) -> Entry | None:
    """The entry of one header block, None for a block of zeros. Raises InvalidTar: `archive/tar: invalid tar header`."""
    if not block.strip(b"\0"):
        return None
    expected = number(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if total != expected:
        signed = total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        if signed != expected:
            raise InvalidTar("archive/tar: invalid tar header")
    kind = block[156:157]
    name = text(block[:100])
    posix = block[257:263] == b"ustar\0"
    if posix and block[345] and block[508:512] != b"tar\0":
        name = text(block[345:500]) + "/" + name
    elif posix and block[345]:  # star's variant: a shorter prefix, then times
        name = text(block[345:476]) + "/" + name
    if kind in (OLD_REGULAR, CONTIGUOUS, REGULAR):
        kind = FOLDER if name.endswith("/") else REGULAR
    device = kind in (CHARACTER, BLOCK_DEVICE)
    size = number(block[124:136])
    if size < 0:
        raise InvalidTar("archive/tar: invalid tar header")
    return Entry(
        name=name, kind=kind, mode=number(block[100:108]) & 0o7777, uid=number(block[108:116]), gid=number(block[116:124]),
        size=size, mtime_ns=number(block[136:148]) * 1_000_000_000, link=text(block[157:257]),
        major=number(block[329:337]) if device else 0, minor=number(block[337:345]) if device else 0,
    )  # fmt: skip


def text(field: bytes) -> str:
    """A name out of a field: up to the first zero byte."""
    return os.fsdecode(field.partition(b"\0")[0])


def number(field: bytes) -> int:
    """A number out of a field. Raises InvalidTar."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        return value
    digits = field.partition(b"\0")[0].strip()
    if not digits:
        return 0
    try:
        value = int(digits, 8)
    except ValueError:
        raise InvalidTar("archive/tar: invalid tar header") from None
    if digits[:1] in b"+-":
        raise InvalidTar("archive/tar: invalid tar header")
    return value


def kind_of(mode: int) -> bytes | None:
    """The type of an entry for a file of this `st_mode`; None for what a tar cannot hold (sockets)."""
    return _KINDS.get(stat.S_IFMT(mode))


def padding(size: int) -> int:
    """How many bytes follow `size` bytes of data up to the next block."""
    return -size % BLOCK


def write_header(entry: Entry) -> bytes:
    """The entry's header: one block of ustar, with a PAX header before it for what does not fit.

    Times are whole seconds, as Docker writes layers: a fraction would cost each file a kibibyte.
    """
    records: list[bytes] = []
    seconds = entry.mtime_ns // 1_000_000_000
    name, link = os.fsencode(entry.name), os.fsencode(entry.link)
    prefix = b""
    if len(name) > 100 or not name.isascii():
        prefix, short = _split(name)
        if short:
            name = short
        else:
            records.append(_record(b"path", name))
            name, prefix = name[:100], b""
    if len(link) > 100 or not link.isascii():
        records.append(_record(b"linkpath", link))
        link = link[:100]
    for key, value, limit in ((b"uid", entry.uid, 1 << 21), (b"gid", entry.gid, 1 << 21), (b"size", entry.size, 1 << 33),
                              (b"mtime", seconds, 1 << 33)):  # fmt: skip
        if not 0 <= value < limit:
            records.append(_record(key, str(value).encode()))
    records += [_record((XATTR + key).encode(errors="surrogateescape"), value) for key, value in sorted(entry.xattrs.items())]
    block = _block(
        name, entry.kind, entry.mode, entry.uid, entry.gid, entry.size, seconds, link, entry.major, entry.minor, prefix
    )
    if not records:
        return block
    body = b"".join(records)
    # Another name than the entry's own, for readers that take the extension for a file.
    head = _block(b"PaxHeaders.0/" + os.path.basename(name.rstrip(b"/"))[:80], PAX, 0o644, 0, 0, len(body), 0, b"", 0, 0, b"")
    return head + body + bytes(padding(len(body))) + block


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    major: int,
    minor: int,
    prefix: bytes,
) -> bytes:
    fields = (
        name.ljust(100, b"\0"), b"%07o\0" % (mode & 0o7777), _octal(uid, 7), _octal(gid, 7), _octal(size, 11), _octal(mtime, 11),
        b"        ", kind, link.ljust(100, b"\0"), b"ustar\00000", bytes(64), b"%07o\0" % major, b"%07o\0" % minor,
        prefix.ljust(155, b"\0"), bytes(12),
    )  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _octal(value: int, digits: int) -> bytes:
    """The number, or 0 where it does not fit: its PAX record counts then."""
    return b"%0*o\0" % (digits, value if 0 <= value < 8**digits else 0)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """(prefix, name) for ustar's two fields; empty when it does not fit there."""
    if not name.isascii() or len(name) > 256:
        return b"", b""
    cut = name.rfind(b"/", 0, min(len(name) - 1, 156))
    short = name[cut + 1 :]
    return (name[:cut], short) if cut > 0 and len(short) <= 100 else (b"", b"")


def _record(key: bytes, value: bytes) -> bytes:
    """A PAX record: its own length, a space, `key=value`, a newline."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
