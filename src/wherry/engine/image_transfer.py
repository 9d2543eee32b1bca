"""Images on the move: pulled and pushed, loaded and saved, imported from a tar.

The work is done in worker threads; progress comes from there too, by the callables that are given. What arrives gets its names
through the same lock as every other change of names.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from wherry.engine.records import timestamp
from wherry.errors import Internal, InvalidArgument, NotFound, Unauthorized, Unavailable, WherryError
from wherry.oci.platform import host_platform
from wherry.oci.reference import parse_name, parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from wherry.engine.images import Images
    from wherry.engine.pool import Pool
    from wherry.oci.image import Platform
    from wherry.oci.reference import Reference
    from wherry.registry.endpoint import Credentials
    from wherry.registry.progress import Report
    from wherry.registry.service import Inspected, Registries
    from wherry.store.imageload import Loaded, Progress
    from wherry.store.imagetar import ImageArchive
    from wherry.store.references import ReferenceStore
    from wherry.store.stream import ByteStream, Readable


class ImageTransfer:
    """Brings images in and out of one engine. `registries` is called when first needed: few commands need it."""

    def __init__(self, *, pool: Pool, rooms: Images, references: ReferenceStore, archive: ImageArchive,
                 registries: Callable[[], Registries]) -> None:
        self._pool = pool
        self._rooms = rooms
        self._references = references
        self._archive = archive
        self._make_registries = registries
        self._registries: Registries | None = None
        self._guard = threading.Lock()
        self.under_way = 0
        """Pulls, pushes, loads and imports that are being done."""

    def registries(self) -> Registries:
        """The registries, made on first use; in a worker thread."""
        with self._guard:
            if self._registries is None:
                self._registries = self._make_registries()
            return self._registries

    def reload(self) -> None:
        """The settings of registries have changed: they are made anew when next needed."""
        with self._guard:
            self._registries = None

    # -- registries

    async def pull(self, reference: Reference, platform: Platform | None, credentials: Credentials, report: Report,
                   cancelled: threading.Event) -> None:
        """Pulls a tag or digest, or every tag of a name that has neither. Raises as `Registries.pull`."""
        if reference.familiar_name == "scratch":  # no image: what a Dockerfile begins with that begins with nothing
            raise InvalidArgument("'scratch' is a reserved name")
        wanted = platform or host_platform()
        with _Counted(self):
            if reference.tag or reference.digest:
                tags = [reference]
            else:
                with _Reached(Unavailable, Unauthorized):
                    found = await self._pool.run_long(lambda: self.registries().tags(reference, credentials))
                tags = [reference.with_tag(tag) for tag in found]
            for one in tags:
                await self._pool.run_long(self._pull, one, wanted, credentials, report, cancelled)
                self._rooms.tell("pull", one.familiar(), one.familiar_name)

    def _pull(self, reference: Reference, platform: Platform, credentials: Credentials, report: Report,
              cancelled: threading.Event) -> None:
        with _Reached(Unavailable, Unauthorized):
            self.registries().pull(reference, platform, credentials, report, cancelled)

    async def push(self, reference: Reference, credentials: Credentials, report: Report,
                   cancelled: threading.Event) -> None:
        """Pushes a tag, or every tag of a name that has none. Raises as `Registries.push`."""
        references = [reference]
        if not reference.tag and not reference.digest:
            found = self._references.of_name(reference.name)
            references = [one.reference for one in found if not one.reference.digest] or references  # none: the push says so
        with _Counted(self):
            for one in references:
                await self._pool.run_long(self._push, one, credentials, report, cancelled)
                self._rooms.tell("push", one.familiar(), one.familiar_name)

    def _push(self, reference: Reference, credentials: Credentials, report: Report, cancelled: threading.Event) -> None:
        with _Reached(Unavailable, Unauthorized):
            self.registries().push(reference, credentials, report, cancelled)

    async def inspect_remote(self, name: str, credentials: Credentials) -> Inspected:
        """What a registry has under a name. Raises as a pull."""
        reference = parse_reference(name)
        with _Reached(Unavailable):
            return await self._pool.run_long(lambda: self.registries().inspect(reference, credentials))

    async def check_login(self, credentials: Credentials) -> str:
        """An identity token, or nothing, when a registry takes the credentials. Raises Unauthorized, Unavailable."""
        with _Reached(Unavailable):
            return await self._pool.run_long(lambda: self.registries().check(credentials))

    # -- archives

    async def load(self, stream: Readable, report: Callable[[Progress], None] | None) -> tuple[Loaded, ...]:
        """Takes in an archive. Raises as `ImageArchive.load`."""
        with _Counted(self):
            async with self._rooms.name_lock:
                loaded = await self._pool.run_long(self._archive.load, stream, report)
        for one in loaded:
            self._rooms.tell("load", one.image_id, one.image_id)
        return loaded

    def save(self, names: Iterable[str]) -> ByteStream:
        """An archive of images, each with the names that were given; a name without a tag means all its tags.

        Raises NotFound `No such image`, InvalidArgument.
        """
        wanted: dict[str, list[Reference]] = {}
        for name in names:
            for image_id, reference in self._meant(name):
                kept = wanted.setdefault(image_id, [])
                if reference is not None and reference not in kept:
                    kept.append(reference)
        if not wanted:
            raise InvalidArgument("no images to save")
        for image_id in wanted:
            self._rooms.tell("save", image_id, image_id)
        return self._archive.save(wanted)

    def _meant(self, name: str) -> list[tuple[str, Reference | None]]:
        try:
            given = parse_name(name)
        except InvalidArgument:
            return [(self._found(name), None)]
        if not given.tag and not given.digest:
            tagged = [one for one in self._references.of_name(given.name) if not one.reference.digest]
            if tagged:
                return [(one.image_id, one.reference) for one in tagged]
        image_id = self._found(name)
        try:
            named = self._references.lookup(given.with_default_tag()) == image_id
        except NotFound:
            named = False  # it was found by its id
        return [(image_id, given.with_default_tag() if named and not given.digest else None)]

    def _found(self, name: str) -> str:
        try:
            return self._rooms.find(name).id
        except NotFound as error:
            raise NotFound(f"No such image: {name}") from error

    async def import_(self, stream: Readable, reference: Reference | None, *, config: Mapping[str, Any] | None,
                      platform: Platform | None, message: str) -> str:
        """Makes an image of one layer from a tar, names it, and returns its id. Raises as `ImageArchive.import_`."""
        with _Counted(self):
            image_id = await self._pool.run_long(
                lambda: self._archive.import_(stream, config=config, platform=platform or host_platform(), message=message,
                                              created=timestamp(time.time_ns())))
        if reference is not None:
            async with self._rooms.name_lock:
                await self._pool.run(self._rooms.set_name, reference, image_id)
        self._rooms.tell("import", image_id, reference.familiar() if reference else image_id)
        return image_id


class _Counted:
    """Counts what is under way, for a daemon that ends when nothing is."""

    def __init__(self, transfer: ImageTransfer) -> None:
        self._transfer = transfer

    def __enter__(self) -> None:
        self._transfer.under_way += 1

    def __exit__(self, *_: object) -> None:
        self._transfer.under_way -= 1


class _Reached:
    """What a registry says is not what this engine says: one that cannot be reached, or wants a password.

    Clients would try the first again and again, and ask a person for a password in the middle of the second.
    """

    def __init__(self, *kinds: type[WherryError]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._kinds):
            raise Internal(error.message, hint=error.hint) from error
