"""The service Images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from wherry.api.containerd.moments import nanoseconds, timestamp
from wherry.api.containerd.wanted import wanted
from wherry.errors import InvalidArgument
from wherry.proto.services import images_pb2 as api
from wherry.proto.types_pb2 import Descriptor
from wherry.store.metadata.images import Image, Target

if TYPE_CHECKING:
    from wherry.api.containerd.call import Call
    from wherry.api.containerd.collecting import Collector
    from wherry.api.containerd.exchange import Exchange
    from wherry.engine.pool import Pool
    from wherry.store.metadata import images as store


class Images:
    """`ctr images`, as far as names go."""

    def __init__(self, pool: Pool, images: store.Images, exchange: Exchange, collector: Collector) -> None:
        self._pool = pool
        self._images = images
        self._exchange = exchange
        self._collector = collector

    async def get(self, request: api.GetImageRequest, call: Call) -> api.GetImageResponse:
        """One by its name."""
        found = await self._pool.run(self._images.get, call.namespace, request.name)
        return api.GetImageResponse(image=_message(found))

    async def list(self, request: api.ListImagesRequest, call: Call) -> api.ListImagesResponse:
        """Those that one of the filters fits."""
        found = await self._pool.run(self._images.all, call.namespace, wanted(request.filters))
        return api.ListImagesResponse(images=[_message(one) for one in found])

    async def create(self, request: api.CreateImageRequest, call: Call) -> api.CreateImageResponse:
        """Makes one."""
        image, namespace = _named(request.image), call.namespace
        made = await self._pool.run(self._images.create, namespace, image, nanoseconds(request.source_date_epoch))
        self._exchange.publish(namespace, "/images/create", api.ImageCreate(name=made.name, labels=made.labels))
        return api.CreateImageResponse(image=_message(made))

    async def update(self, request: api.UpdateImageRequest, call: Call) -> api.UpdateImageResponse:
        """Replaces what the mask names."""
        image, namespace = _named(request.image), call.namespace
        updated = await self._pool.run(self._images.update, namespace, image, request.update_mask.paths,
                                       nanoseconds(request.source_date_epoch))
        self._exchange.publish(namespace, "/images/update", api.ImageUpdate(name=updated.name, labels=updated.labels))
        self._collector.deleted()
        return api.UpdateImageResponse(image=_message(updated))

    async def delete(self, request: api.DeleteImageRequest, call: Call) -> Empty:
        """Removes one; with `sync` also what it alone held, before the answer."""
        namespace = call.namespace
        await self._pool.run(self._images.delete, namespace, request.name, request.target.digest)
        self._exchange.publish(namespace, "/images/delete", api.ImageDelete(name=request.name))
        if request.sync:
            await self._collector.now()
        else:
            self._collector.deleted()
        return Empty()


def _named(image: api.Image) -> Image:
    if not image.name:
        raise InvalidArgument("Image.Name required")
    target = image.target
    return Image(name=image.name, labels=dict(image.labels),
                 target=Target(media_type=target.media_type, digest=target.digest, size=target.size,
                               annotations=dict(target.annotations)))


def _message(one: Image) -> api.Image:
    target = one.target
    return api.Image(name=one.name, labels=one.labels, created_at=timestamp(one.created_ns), updated_at=timestamp(one.updated_ns),
                     target=Descriptor(media_type=target.media_type, digest=target.digest, size=target.size,
                                       annotations=target.annotations))
