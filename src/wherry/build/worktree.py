"""A mounted tree for one step: an image's layers with a writable folder on top, gone when the step ends."""

from __future__ import annotations

import os
import secrets

from wherry.build.copying import as_stream, looks_like_archive
from wherry.errors import DataLoss
from wherry.oci.digest import EMPTY_LAYER
from wherry.store.compression import decompress
from wherry.store.tarread import TarReader
from wherry.store.unpack import Unpacker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from wherry.store.layers import Lease
    from wherry.store.mounts import ContainerLayers
    from wherry.store.stream import Readable


class WorkTree:
    """`path` is where the tree is mounted. Use it with `with`; a crash leaves what start-up removes, as for any container."""

    def __init__(self, mounts: ContainerLayers, chain: str) -> None:
        self._mounts = mounts
        self._chain = chain
        self._id = secrets.token_hex(32)
        self.path = ""

    def __enter__(self) -> Self:
        self._mounts.create(self._id, self._chain)
        try:
            self.path = self._mounts.mount(self._id)
        except BaseException:
            self._mounts.remove(self._id)
            raise
        return self

    def register(self, lease: Lease) -> str:
        """Makes a layer of what was written; its diff id. The tree stays as it is."""
        with self._mounts.open_diff(self._id) as stream:
            return registered(lease, stream, self._chain)

    def __exit__(self, *_: object) -> None:
        try:
            self._mounts.unmount(self._id)
        finally:
            self._mounts.remove(self._id)


def registered(lease: Lease, stream: Readable, chain: str) -> str:
    """Makes a layer of a diff; its diff id, or "" where nothing changed: no image needs such a layer."""
    diff_id = lease.register(stream, chain).diff_id
    return "" if diff_id == EMPTY_LAYER else diff_id


def unpack_archive(source: int, folder: Callable[[], int]) -> bool:
    """Unpacks a local tar archive, plain or compressed, into the folder that `folder` opens; False where the file is no archive.

    A compressed file that holds no tar is an ordinary file as well. Raises as the store's unpacker.
    """
    with as_stream(source) as head:
        if not looks_like_archive(head.read(512)):
            return False
    with as_stream(source) as file:
        _, probe = decompress(file)
        try:
            if probe.read(512)[257:262] != b"ustar":
                return False
        except DataLoss:  # begins like a compressed file, and is none
            return False
    descriptor = folder()
    try:
        with as_stream(source) as file:
            _, stream = decompress(file)
            Unpacker(descriptor).run(TarReader(stream))
    finally:
        os.close(descriptor)
    return True
