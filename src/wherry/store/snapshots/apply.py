"""A layer into a snapshot: its tar is unpacked where the snapshot's mounts say, by the same unpacker as Docker's layers are.

an overlay      straight into its upper folder, whiteouts as overlayfs has them
a bind mount    into its source, where whiteouts remove what they hide
another one     mounted, then as a bind mount
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from hashlib import sha256

from wherry.errors import DataLoss
from wherry.record import Record
from wherry.store.compression import decompress
from wherry.store.snapshots.mounting import Mounted, option
from wherry.store.tarread import TarReader
from wherry.store.unpack import Unpacker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.store.snapshots.model import Mount
    from wherry.store.stream import Readable


class Applied(Record):
    """The tar that was unpacked, without its compression."""

    digest: str
    size_bytes: int


def apply_layer(stream: Readable, mounts: Sequence[Mount], *, digest: str = "") -> Applied:
    """Unpacks a layer (plain, or compressed by gzip, zstd, bzip2 or xz), and reads the stream to its end.

    `digest` is what the stream itself, as it is, has to be. Raises InvalidTar (InvalidArgument), DataLoss, OSError; what was
    unpacked until then stays in the snapshot, which the caller removes.
    """
    with _target(mounts) as (folder, is_upper):
        hashed = _Hashed(stream)
        _, plain = decompress(hashed)
        reader = TarReader(plain, hashed=True)
        Unpacker(folder, whiteouts=is_upper, removes=not is_upper).run(reader)
        for _ in reader.rest():
            pass
        if digest not in ("", hashed.digest):
            raise DataLoss(f"the layer {digest} has the digest {hashed.digest}")
        return Applied(digest=reader.source.digest, size_bytes=reader.source.taken)


class _Hashed:
    """A stream that is hashed while it is read."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._digester = sha256()

    def read(self, size: int = -1, /) -> bytes:
        """As the stream's own."""
        data = self._stream.read(size)
        self._digester.update(data)
        return data

    @property
    def digest(self) -> str:
        """Of what was read so far."""
        return f"sha256:{self._digester.hexdigest()}"


@contextmanager
def _target(mounts: Sequence[Mount]) -> Iterator[tuple[str | int, bool]]:
    """The folder to unpack into, and whether it is an overlay's upper one."""
    if len(mounts) == 1:
        (one,) = mounts
        upper = option(one, "upperdir") if one.type == "overlay" else ""
        if "ro" in one.options or (one.type == "overlay" and not upper):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), one.source)
        if upper or one.type == "bind":
            yield upper or one.source, bool(upper)
            return
    with Mounted(mounts) as fd:
        yield fd, False
