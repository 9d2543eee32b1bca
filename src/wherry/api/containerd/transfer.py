"""The service Transfer: images between registries, archives on streams and our own stores; the steps are `moving.py`'s."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from wherry.api.containerd import moving
from wherry.api.containerd.exchange import packed_any
from wherry.api.containerd.leases import new_id
from wherry.api.containerd.stored import View
from wherry.api.containerd.streamfile import Received, Sent
from wherry.api.containerd.threadwork import Work
from wherry.errors import InvalidArgument, Unsupported
from wherry.proto.transfer_pb2 import (
    CREDENTIALS,
    REFRESH,
    AuthRequest,
    AuthResponse,
    ImageExportStream,
    ImageImportStream,
    ImageStore,
    OCIRegistry,
    Progress,
)
from wherry.proto.types_pb2 import Descriptor as DescriptorMessage
from wherry.registry.endpoint import Credentials
from wherry.store.metadata.reachable import EXPIRE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.protobuf.any_pb2 import Any

    from wherry.api.containerd.call import Call
    from wherry.api.containerd.collecting import Collector
    from wherry.api.containerd.moving import Errand, Tell
    from wherry.api.containerd.stored import Stores
    from wherry.api.containerd.streaming import Stream, Streams
    from wherry.engine.pool import Pool
    from wherry.oci.image import Descriptor
    from wherry.proto.services import transfer_pb2 as api
    from wherry.store.metadata.leases import Leases

    Place = ImageStore | OCIRegistry | ImageImportStream | ImageExportStream

_PLACES = {kind.DESCRIPTOR.full_name: kind for kind in (ImageStore, OCIRegistry, ImageImportStream, ImageExportStream)}
_LEASE_S = 24 * 3600


class Transfer:
    """What ctr of containerd 2 has the server do for it."""

    def __init__(self, pool: Pool, stores: Stores, leases: Leases, streams: Streams, collector: Collector) -> None:
        self._pool, self._stores, self._leases = pool, stores, leases
        self._streams, self._collector = streams, collector

    async def transfer(self, request: api.TransferRequest, call: Call) -> Empty:
        """Answers when it is done. The stream for its progress ends with it."""
        namespace, work = call.namespace, Work()
        source, target = _place(request.source), _place(request.destination)
        progress = self._streams.get(namespace, request.options.progress_stream) if request.options.progress_stream else None
        try:
            steps = self._steps(namespace, work, source, target)
            if steps is None:
                raise Unsupported(f"method Transfer not implemented for {request.source.type_url} to "
                                  f"{request.destination.type_url}")
            async with self._leased(namespace, call.lease) as lease:
                view = View(namespace=namespace, lease=lease, work=work)
                errand = moving.Errand(stores=self._stores, view=view, tell=_teller(work, progress))
                await work.run(self._pool, lambda: steps(errand))
        finally:
            if progress is not None:
                await progress.close()
        return Empty()

    def _steps(self, namespace: str, work: Work, source: Place | None, target: Place | None) -> Callable[[Errand], None] | None:
        """What is to be done, in a thread; None where there is no way from the one to the other."""
        streams = self._streams
        match source, target:
            case OCIRegistry(), ImageStore():
                ask = _Asking(streams, namespace, work, source)
                return lambda errand: moving.pull(source, target, errand, ask.credentials())
            case ImageStore(), OCIRegistry():
                ask = _Asking(streams, namespace, work, target)
                return lambda errand: moving.push(source, target, errand, ask.credentials())
            case ImageStore(), ImageStore():
                return lambda errand: moving.tag(source, target, errand)
            case ImageImportStream(), ImageStore():
                received = Received(streams.get(namespace, source.stream), work)
                return lambda errand: moving.import_(source, target, errand, received)
            case ImageStore(), ImageExportStream():
                sent = Sent(streams.get(namespace, target.stream), work)
                return lambda errand: moving.export(source, target, errand, sent)
            case _:
                return None

    @asynccontextmanager
    async def _leased(self, namespace: str, lease: str) -> AsyncIterator[str]:
        """The call's own lease, else one for the time of the transfer, which a crash lets expire after a day."""
        if lease:
            yield lease
            return
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + _LEASE_S))
        made = await self._pool.run(self._leases.create, namespace, new_id(), {EXPIRE: expires})
        try:
            yield made.id
        finally:
            await self._pool.run(self._leases.delete, namespace, made.id)
            self._collector.deleted()


class _Asking:
    """Who the client is to a registry: asked on the stream that it named for that."""

    def __init__(self, streams: Streams, namespace: str, work: Work, registry: OCIRegistry) -> None:
        name = registry.resolver.auth_stream
        self._stream = streams.get(namespace, name) if name else None
        self._work, self._reference = work, registry.reference

    def credentials(self) -> Credentials:
        """For a thread. Raises Unsupported for a header of the client's."""
        if self._stream is None:
            return Credentials()
        question = AuthRequest(host=self._reference.partition("/")[0], reference=self._reference)
        self._work.ask(self._stream.send(packed_any(question)))
        answered = self._work.ask(self._stream.receive())
        if answered is None:
            return Credentials()
        answer = AuthResponse.FromString(answered.value)
        if answer.authType == CREDENTIALS:
            return Credentials(username=answer.username, password=answer.secret)
        if answer.authType == REFRESH:
            return Credentials(identity_token=answer.secret)
        if answer.secret:
            raise Unsupported("a header as the answer to who asks a registry is not supported: not implemented")
        return Credentials()


def _place(packed: Any) -> Place | None:
    """Where from or where to; None for what is not known. Raises InvalidArgument for what makes no sense."""
    kind = _PLACES.get(packed.type_url.rpartition("/")[2])
    try:
        return None if kind is None else kind.FromString(packed.value)
    except DecodeError as error:
        raise InvalidArgument(f"{packed.type_url}: {error}: invalid argument") from error


def _teller(work: Work, progress: Stream | None) -> Tell:
    """Tells the client on its stream; nobody where it has named none."""

    def tell(event: str, name: str = "", one: Descriptor | None = None, done: int = 0) -> None:
        if progress is not None:
            described = None if one is None else DescriptorMessage(media_type=one.media_type, digest=one.digest, size=one.size)
            message = Progress(event=event, name=name, progress=done, total=0 if one is None else one.size, desc=described)
            work.ask(progress.send(packed_any(message)))

    return tell
