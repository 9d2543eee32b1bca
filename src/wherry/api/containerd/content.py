"""The service Content: blobs, and the writes that lead to them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from wherry.api.containerd.moments import timestamp
from wherry.api.containerd.status import OutOfRange
from wherry.api.containerd.threadwork import to_its_end
from wherry.errors import AlreadyExists, Internal, InvalidArgument, NotFound, Unavailable
from wherry.oci.digest import InvalidDigest, parse_digest
from wherry.oci.gotext import quote
from wherry.proto import events_pb2 as events
from wherry.proto.services import content_pb2 as api
from wherry.store.metadata.filters import parse_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.api.containerd.call import Call
    from wherry.api.containerd.collecting import Collector
    from wherry.api.containerd.exchange import Exchange
    from wherry.engine.pool import Pool
    from wherry.store.content.blobs import Blobs, Info
    from wherry.store.content.ingests import Ingests, Status
    from wherry.store.content.writer import Writer

    Requests = AsyncIterator[api.WriteContentRequest]

_PIECE = 1 << 20
_SMALL = 64 << 10  # hashed and copied into the page cache in less time than it takes to ask a thread for it
_LISTED_AT_ONCE = 100
_RETRIES_S = tuple(0.002 * 2**number for number in range(9))  # one second in all, while another writer has the ref


class Content:
    """`ctr content`."""

    def __init__(self, pool: Pool, blobs: Blobs, ingests: Ingests, exchange: Exchange, collector: Collector) -> None:
        self._pool = pool
        self._blobs = blobs
        self._ingests = ingests
        self._exchange = exchange
        self._collector = collector

    async def info(self, request: api.InfoRequest, call: Call) -> api.InfoResponse:
        """What the namespace knows of a blob."""
        digest = _valid(request.digest)
        return api.InfoResponse(info=_info(await self._pool.run(self._blobs.info, call.namespace, digest)))

    async def update(self, request: api.UpdateRequest, call: Call) -> api.UpdateResponse:
        """Changes a blob's labels."""
        digest = _valid(request.info.digest)
        updated = await self._pool.run(self._blobs.update, call.namespace, digest, dict(request.info.labels),
                                       request.update_mask.paths)
        return api.UpdateResponse(info=_info(updated))

    async def list(self, request: api.ListContentRequest, call: Call) -> AsyncIterator[api.ListContentResponse]:
        """Those that one of the filters fits, a hundred at once."""
        found = await self._pool.run(self._blobs.all, call.namespace, parse_all(request.filters))
        for at in range(0, len(found), _LISTED_AT_ONCE):
            yield api.ListContentResponse(info=[_info(one) for one in found[at : at + _LISTED_AT_ONCE]])

    async def delete(self, request: api.DeleteContentRequest, call: Call) -> Empty:
        """Has the namespace forget a blob."""
        try:
            digest = parse_digest(request.digest)
        except InvalidDigest as error:
            raise InvalidArgument(error.message) from None
        namespace = call.namespace
        await self._pool.run(self._blobs.delete, namespace, digest)
        self._exchange.publish(namespace, "/content/delete", events.ContentDelete(digest=digest))
        self._collector.deleted()
        return Empty()

    async def read(self, request: api.ReadContentRequest, call: Call) -> AsyncIterator[api.ReadContentResponse]:
        """A blob's bytes, from an offset on, as many as asked for or all."""
        try:
            digest = parse_digest(request.digest)
        except InvalidDigest as error:
            raise InvalidArgument(f"{request.digest}: {error.message}") from None
        path = await self._pool.run(self._blobs.path, call.namespace, digest)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            length, offset = os.fstat(fd).st_size, max(request.offset, 0)
            if offset > length:
                raise OutOfRange(f"read past object length {length} bytes")
            end = min(length, offset + request.size) if request.size > 0 else length
            while offset < end:
                data = await self._pool.run(os.pread, fd, min(_PIECE, end - offset), offset)
                yield api.ReadContentResponse(offset=offset, data=data)
                offset += len(data)
        finally:
            os.close(fd)

    async def status(self, request: api.StatusRequest, call: Call) -> api.StatusResponse:
        """Where a write stands."""
        try:
            found = await self._pool.run(self._ingests.status, call.namespace, request.ref)
        except NotFound as error:
            raise NotFound(f"could not get status for ref {quote(request.ref)}: {error.message}") from None
        return api.StatusResponse(status=_status(found))

    async def list_statuses(self, request: api.ListStatusesRequest, call: Call) -> api.ListStatusesResponse:
        """The writes under way."""
        found = await self._pool.run(self._ingests.statuses, call.namespace, parse_all(request.filters))
        return api.ListStatusesResponse(statuses=[_status(one) for one in found])

    async def abort(self, request: api.AbortRequest, call: Call) -> Empty:
        """Gives a write up."""
        await self._pool.run(self._ingests.abort, call.namespace, request.ref)
        return Empty()

    async def write(self, requests: Requests, call: Call) -> AsyncIterator[api.WriteContentResponse]:
        """Writes a blob; each message is answered, and the last answer comes once more at the end, as containerd's does.

        One message is filled anew for each answer: what was said of moments and the total in one is repeated in the next.
        """
        first = await anext(aiter(requests), None)
        if first is None:
            raise Internal("EOF")
        if not first.ref:
            raise InvalidArgument("first message must have a reference")
        writer = await self._writer(first, call)
        answer = api.WriteContentResponse(started_at=timestamp(0), updated_at=timestamp(0))
        total, expected = first.total, first.expected
        try:
            async for request in _with(first, requests):
                if request.expected:
                    expected = request.expected
                    await self._refuse_known(request.expected, writer, call)
                total = request.total or total
                answer.action, answer.offset = request.action, writer.offset
                if request.action == api.STAT:
                    _tell(answer, writer, total)
                elif request.action in (api.WRITE, api.COMMIT):
                    await self._take(request, writer)
                    if request.action == api.COMMIT:
                        await to_its_end(self._pool.run_long(writer.commit, total, expected, dict(request.labels), call.lease))
                    answer.offset, answer.digest = writer.offset, writer.digest
                yield answer
                if request.action == api.COMMIT:
                    break
            yield answer
        finally:
            writer.close()

    async def _writer(self, first: api.WriteContentRequest, call: Call) -> Writer:
        namespace = call.namespace
        for pause in (*_RETRIES_S, None):
            opening = asyncio.ensure_future(self._pool.run_long(
                self._ingests.writer, namespace, first.ref, total=first.total, expected=first.expected, lease=call.lease))
            try:
                return await to_its_end(opening)
            except asyncio.CancelledError:
                if opening.exception() is None:
                    opening.result().close()
                raise
            except Unavailable:
                if pause is None:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _refuse_known(self, expected: str, writer: Writer, call: Call) -> None:
        """Ends a write whose blob somebody else has committed meanwhile."""
        try:
            await self._pool.run(self._blobs.info, call.namespace, expected)
        except NotFound:
            return
        writer.close()
        try:
            await self._pool.run(self._ingests.abort, call.namespace, writer.status.ref)
        except NotFound:
            pass  # another one was faster
        raise AlreadyExists(f"blob with expected digest {expected} exists")

    async def _take(self, request: api.WriteContentRequest, writer: Writer) -> None:
        """The bytes of one message. Offset 0 means from the beginning."""
        if request.offset > 0 and request.offset != writer.offset:
            raise OutOfRange(f"write @{request.offset} must occur at current offset {writer.offset}")
        if request.offset == 0 and writer.offset > 0:
            await to_its_end(self._pool.run(writer.truncate))
        if len(request.data) <= _SMALL:
            writer.write(request.data)
        else:
            await to_its_end(self._pool.run(writer.write, request.data))


def _tell(answer: api.WriteContentResponse, writer: Writer, total: int) -> None:
    """Where the write stands."""
    answer.started_at.CopyFrom(timestamp(writer.status.started_ns))
    answer.updated_at.CopyFrom(timestamp(writer.status.updated_ns))
    answer.digest, answer.total = writer.digest, total


async def _with(first: api.WriteContentRequest, rest: Requests) -> Requests:
    yield first
    async for one in rest:
        yield one


def _valid(digest: str) -> str:
    try:
        return parse_digest(digest)
    except InvalidDigest:
        raise InvalidArgument(f"{quote(digest)} failed validation") from None


def _info(one: Info) -> api.Info:
    return api.Info(digest=one.digest, size=one.size, created_at=timestamp(one.created_ns), updated_at=timestamp(one.updated_ns),
                    labels=one.labels)


def _status(one: Status) -> api.Status:
    return api.Status(started_at=timestamp(one.started_ns), updated_at=timestamp(one.updated_ns), ref=one.ref, offset=one.offset,
                      total=one.total, expected=one.expected)
