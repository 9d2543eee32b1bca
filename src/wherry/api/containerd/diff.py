"""The service Diff: layers into snapshots, and out of them."""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from wherry.errors import AlreadyExists, NotFound, Unsupported, WherryError
from wherry.proto import types_pb2 as types
from wherry.proto.services import diff_pb2 as api
from wherry.store.compression import gzip_writer
from wherry.store.snapshots.apply import apply_layer
from wherry.store.snapshots.compare import compare
from wherry.store.snapshots.model import Mount
from wherry.store.snapshots.mounting import Mounted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wherry.api.containerd.call import Call
    from wherry.engine.pool import Pool
    from wherry.store.content.blobs import Blobs
    from wherry.store.content.ingests import Ingests
    from wherry.store.content.writer import Writer
    from wherry.store.snapshots.apply import Applied

_OCI = "application/vnd.oci.image.layer.v1.tar"
_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_LAYERS = frozenset(
    base + end for base, ends in ((_OCI, ("", "+gzip", "+zstd")), (_NONDISTRIBUTABLE, ("", "+gzip", "+zstd")),
                                  (_DOCKER, ("", ".gzip", ".zstd")), (_FOREIGN, ("", ".gzip")))
    for end in ends)
_GZIPPED = _OCI + "+gzip"
_UNCOMPRESSED = "containerd.io/uncompressed"


class Diff:
    """What `ctr images import` unpacks with, and `ctr snapshots diff`."""

    def __init__(self, pool: Pool, blobs: Blobs, ingests: Ingests) -> None:
        self._pool = pool
        self._blobs = blobs
        self._ingests = ingests

    async def apply(self, request: api.ApplyRequest, call: Call) -> api.ApplyResponse:
        """Unpacks a blob of the content store; answers with the descriptor of the tar in it."""
        layer = request.diff
        applied = await self._pool.run_long(apply_blob, self._blobs, call.namespace, layer.media_type, layer.digest,
                                            mounts_of(request.mounts))
        return api.ApplyResponse(applied=types.Descriptor(media_type=_OCI, digest=applied.digest, size=applied.size_bytes))

    async def diff(self, request: api.DiffRequest, call: Call) -> api.DiffResponse:
        """Compares two trees; the layer that leads from the one to the other becomes a blob."""
        kind = request.media_type or _GZIPPED
        if kind not in (_OCI, _GZIPPED):
            raise Unsupported(f"unsupported diff media type: {kind}: not implemented")
        layer = await self._pool.run_long(self._written, request, call.namespace, call.lease, kind)
        return api.DiffResponse(diff=layer)

    def _written(self, request: api.DiffRequest, namespace: str, lease: str, kind: str) -> types.Descriptor:
        ref = request.ref or _new_ref()
        with Mounted(mounts_of(request.left)) as lower, Mounted(mounts_of(request.right)) as upper:
            writer = self._ingests.writer(namespace, ref, lease=lease)
            try:
                writer.truncate()
                labels = _compared(lower, upper, writer, dict(request.labels), compressed=kind == _GZIPPED)
            except BaseException:
                writer.close()
                if not request.ref:
                    self._ingests.abort(namespace, ref)
                raise
            digest, size = writer.digest, writer.offset
            try:
                writer.commit(0, digest, labels, lease)
            except AlreadyExists:
                pass  # the same layer as one that is known
        return types.Descriptor(media_type=kind, digest=digest, size=size)


def mounts_of(messages: Iterable[types.Mount]) -> tuple[Mount, ...]:
    """Mounts out of messages."""
    return tuple(Mount(type=one.type, source=one.source, target=one.target, options=tuple(one.options)) for one in messages)


def apply_blob(blobs: Blobs, namespace: str, kind: str, digest: str, mounts: Sequence[Mount]) -> Applied:
    """Unpacks a blob of this media type where the mounts say. Raises NotFound, and what `apply_layer` does."""
    if kind not in _LAYERS:
        raise WherryError(f"failed to get stream processor for {kind}: no processor for media-type")
    try:
        path = blobs.path(namespace, digest)
    except NotFound as error:
        raise NotFound(f"failed to get reader from content store: {error.message}") from None
    with open(path, "rb") as blob:
        return apply_layer(blob, mounts, digest=digest)


def _compared(lower: int, upper: int, writer: Writer, labels: dict[str, str], *, compressed: bool) -> Mapping[str, str]:
    """Writes the difference; the labels of the blob, which say what is in a compressed one."""
    digester = sha256()
    with compare(lower, upper) as stream:
        if not compressed:
            for piece in stream:
                writer.write(piece)
            return labels
        with gzip_writer(writer) as into:  # type: ignore[arg-type]  # all that is asked of a file is `write`
            for piece in stream:
                digester.update(piece)
                into.write(piece)
    return {**labels, _UNCOMPRESSED: f"sha256:{digester.hexdigest()}"}


def _new_ref() -> str:
    return f"{time.time_ns()}-{urlsafe_b64encode(os.urandom(3)).decode()}"
