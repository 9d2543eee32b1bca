"""Builds: the room `build/` with this engine as the house around it. RUN is an ordinary container of the engine.

A build runs in a thread of its own; what it asks of the engine goes through the event loop and back. It has a folder below the
data root's `tmp`, with its context, and with a file for each container before that exists: by it the next start removes
what a crash left.

    build-…/context/      the unpacked context
    build-…/steps/<id>    empty
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.build.solve import Build, BuildStores
from wherry.build.tree import Tree
from wherry.engine import gojson, naming, waits
from wherry.engine.attach import AttachOptions
from wherry.engine.container import Ended
from wherry.engine.model import ContainerConfig, HostConfig
from wherry.errors import Cancelled, Conflict, NotFound, WherryError
from wherry.oci.platform import host_platform
from wherry.oci.reference import parse_reference
from wherry.registry.endpoint import Credentials
from wherry.store.compression import decompress
from wherry.store.tarread import TarReader
from wherry.store.unpack import Unpacker

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any, TypeVar

    from wherry.build.host import BuildOptions, RunRequest
    from wherry.engine.attach import Attach
    from wherry.engine.containers import Containers
    from wherry.engine.creation import Creator
    from wherry.engine.image_transfer import ImageTransfer
    from wherry.engine.images import Images
    from wherry.engine.lifecycle import Lifecycle
    from wherry.engine.pool import Pool
    from wherry.engine.removal import Removal
    from wherry.oci.image import Platform
    from wherry.registry.progress import Report
    from wherry.store.images import Image
    from wherry.store.stream import Readable

    T = TypeVar("T")

log = logging.getLogger(__name__)

# The API version whose meanings a step's container has.
VERSION = (1, 50)
CHUNK = 64 << 10
FRAME_HEAD = 8


class Builds:
    """Builds images from contexts."""

    def __init__(self, *, pool: Pool, stores: BuildStores, folder: str, creator: Creator, lifecycle: Lifecycle, removal: Removal,
                 attach: Attach, containers: Containers, images: Images, transfer: ImageTransfer) -> None:
        """`folder` is where each build gets its own; it is made when the first one comes."""
        self._pool = pool
        self._stores = stores
        self._folder = folder
        self.creator = creator
        self.lifecycle = lifecycle
        self.removal = removal
        self.attach = attach
        self.containers = containers
        self.images = images
        self.transfer = transfer
        self.under_way = 0

    async def clear(self) -> None:
        """Removes the containers and contexts of builds that a crash cut off; for the start, before the first build."""
        try:
            for container_id in await self._pool.run(self._noted):
                await self.release(container_id)
        except (WherryError, OSError) as error:  # what is noted is tried again at the next start
            log.warning("a container of a build that was cut off cannot be removed: %s", error)
        else:
            await self._pool.run_long(shutil.rmtree, self._folder, True)

    def _noted(self) -> list[str]:
        """The containers of the builds that have a folder."""
        return [one.name for one in Path(self._folder).glob("*/steps/*")]

    async def release(self, container_id: str) -> None:
        """Removes a step's container, if it is there."""
        container = self.containers.get(container_id)
        if container is not None:
            await self.removal.remove(container, self.lifecycle, force=True, volumes=True)

    async def build(self, context: Readable, options: BuildOptions, credentials: Mapping[str, Credentials], *,
                    say: Callable[[str], None], pulled: Report, cancelled: threading.Event) -> str:
        """Builds a context (a tar, also a compressed one) and gives the image its tags; the image's id.

        `say` gets the text of the build, `pulled` the progress of images that have to come; both from the build's thread. Raises
        what the steps raise (`build/errors.py`), Cancelled, and what unpacking raises; the context is removed in any case.
        """
        self.under_way += 1
        try:
            house = _House(self, asyncio.get_running_loop(), credentials, pulled, cancelled)
            image_id = await self._pool.run_long(self._build, context, options, house, say, cancelled)
            for tag in options.tags:
                reference = await self.images.tag(image_id, tag, "")
                if not options.quiet:
                    say(f"Successfully tagged {reference.familiar()}\n")
            return image_id
        finally:
            self.under_way -= 1

    def _build(self, context: Readable, options: BuildOptions, house: _House, say: Callable[[str], None],
               cancelled: threading.Event) -> str:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="build-", dir=self._folder)
        try:
            unpacked, house.steps = f"{folder}/context", f"{folder}/steps"
            os.mkdir(unpacked, 0o700)
            os.mkdir(house.steps, 0o700)
            _, stream = decompress(context)
            Unpacker(unpacked).run(TarReader(stream))
            while context.read(CHUNK):  # what stands behind the tar's end; the client prints first that it has sent all
                pass
            with Tree(unpacked) as tree:
                return Build(self._stores, house, options, say, cancelled.is_set).run(tree)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _House:
    """What `build/host.py` asks for, answered by the engine; its methods run in the build's thread."""

    def __init__(self, builds: Builds, loop: asyncio.AbstractEventLoop, credentials: Mapping[str, Credentials], pulled: Report,
                 cancelled: threading.Event) -> None:
        self._builds = builds
        self._loop = loop
        self._credentials = credentials
        self._pulled = pulled
        self._cancelled = cancelled
        self.steps = ""  # where each container is noted

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def image(self, name: str, platform: Platform | None, *, pull: bool) -> Image:
        """The image under a name, pulled if it is missing or `pull` says so."""
        return self._ask(self._image(name, platform, pull=pull))

    async def _image(self, name: str, platform: Platform | None, *, pull: bool) -> Image:
        try:
            found: Image | None = self._builds.images.find(name, platform)
        except NotFound:
            found = None
        if found is not None and not pull:
            return found
        reference = parse_reference(name)
        who = self._credentials.get(reference.domain, Credentials())
        await self._builds.transfer.pull(reference, platform or host_platform(), who, self._pulled, self._cancelled)
        return self._builds.images.find(name, platform)

    def create(self, request: RunRequest) -> str:
        """Creates a container for a command."""
        container_id = naming.new_id()
        with open(f"{self.steps}/{container_id}", "x"):
            pass
        return self._ask(self._create(container_id, request))

    async def _create(self, container_id: str, request: RunRequest) -> str:
        config = gojson.convert(dict(request.config), ContainerConfig)
        host = gojson.convert(dict(request.host), HostConfig)
        container, _ = await self._builds.creator.create("", config, host, None, version=VERSION, container_id=container_id)
        return container.id

    def run(self, container_id: str, output: Callable[[int, bytes], None]) -> int:
        """Starts the container, passes on what it prints, and waits for its end."""
        ours, theirs = socket.socketpair()
        with ours:
            self._ask(self._start(container_id, theirs))
            ours.settimeout(0.5)
            waiting = b""
            while True:
                try:
                    data = ours.recv(CHUNK)
                except TimeoutError:
                    if self._cancelled.is_set():
                        self._ask(self._kill(container_id))
                        raise Cancelled("Build cancelled") from None
                    continue
                if not data:
                    break
                waiting = _passed_on(waiting + data, output)
        return self._ask(self._end(container_id))

    async def _start(self, container_id: str, connection: socket.socket) -> None:
        container = self._builds.containers.find(container_id)
        wanted = AttachOptions(stdout=True, stderr=True, stream=True)
        await self._builds.attach.attach(container, wanted, connection.detach(), b"", multiplex=True)
        await self._builds.lifecycle.start(container)

    async def _end(self, container_id: str) -> int:
        ended = waits.begin(self._builds.containers.find(container_id), "not-running")
        return (ended if isinstance(ended, Ended) else await ended).exit_code

    async def _kill(self, container_id: str) -> None:
        try:
            await self._builds.lifecycle.kill(self._builds.containers.find(container_id))
        except (Conflict, NotFound):
            return  # it has ended by itself

    def release(self, container_id: str) -> None:
        """Removes the container."""
        self._ask(self._builds.release(container_id))


def _passed_on(data: bytes, output: Callable[[int, bytes], None]) -> bytes:
    """Passes the whole stdcopy frames on (stream, three zeros, length in 4 bytes, payload); what has come of the next one."""
    while len(data) >= FRAME_HEAD and len(data) >= (end := FRAME_HEAD + int.from_bytes(data[4:FRAME_HEAD], "big")):
        output(data[0], data[FRAME_HEAD:end])
        data = data[end:]
    return data
