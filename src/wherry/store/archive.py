"""The front door to tar archives, for rooms that copy files in and out: `unpack` and `pack`.

What a tar may contain, and what of it is refused, stands in `unpack.py`; how a folder is written, in `pack.py`.
"""

from __future__ import annotations

from wherry.store.compression import decompress
from wherry.store.pack import pack, pack_path
from wherry.store.tarread import TarReader
from wherry.store.unpack import Unpacker

__all__ = ["pack", "pack_path", "unpack"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.store.stream import Readable
    from wherry.store.tarheader import Entry


def unpack(
    stream: Readable,
    folder: str | int,
    *,
    whiteouts: bool = False,
    change: Callable[[Entry], Entry | None] | None = None,
) -> int:
    """Unpacks a tar (plain, gzip, zstd, bzip2 or xz) into a folder that exists; the bytes in its files.

    With `whiteouts`, marks of layers become those of overlayfs; otherwise they are files as any other. `change` may
    alter each entry, or leave it out (None). Raises InvalidTar (InvalidArgument), DataLoss, OSError; what was
    unpacked until then stays: the folder is the caller's.
    """
    _, plain = decompress(stream)
    reader = TarReader(plain)
    unpacker = Unpacker(folder, whiteouts=whiteouts, change=change)
    unpacker.run(reader)
    for _ in reader.rest():
        pass
    return unpacker.size_bytes
