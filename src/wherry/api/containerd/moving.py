"""The transfers that there are, step by step, in a thread of the pool: from where, to where, in containerd's order and words."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, cast

from wherry.api.containerd import imagenames
from wherry.errors import InvalidArgument, NotFound, Unsupported
from wherry.oci.image import Descriptor, Index, Platform
from wherry.oci.platform import host_platform, matches
from wherry.record import Record
from wherry.registry.transport import Transport
from wherry.transfer.exporting import Choice as Exported
from wherry.transfer.exporting import write_archive
from wherry.transfer.fetching import Fetch, Wanted, reference
from wherry.transfer.holding import hold
from wherry.transfer.hosts import Access, Remote, reachable, repositories, resolve
from wherry.transfer.importing import read_archive
from wherry.transfer.pushing import Choice as Pushed
from wherry.transfer.pushing import Push
from wherry.transfer.unpacking import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO, Any, Protocol

    from wherry.api.containerd.stored import StoredContent, Stores, View
    from wherry.api.containerd.streamfile import Received, Sent
    from wherry.proto.transfer_pb2 import ImageExportStream, ImageImportStream, ImageStore, OCIRegistry
    from wherry.proto.types_pb2 import Platform as PlatformMessage
    from wherry.registry.client import Repository
    from wherry.registry.endpoint import Credentials, Endpoint

    class Tell(Protocol):
        """Tells the client how far it is."""

        def __call__(self, event: str, name: str = "", one: Descriptor | None = None, done: int = 0) -> None:
            """Of something, by name and descriptor, as far as it is about one; `done` are bytes."""


class Errand(Record):
    """What each transfer is done with: our stores as the call sees them, and how its client is told of it."""

    stores: Stores
    view: View
    tell: Tell

    @property
    def content(self) -> StoredContent:
        """The content store."""
        return self.stores.content(self.view)

    def find(self, name: str) -> Descriptor:
        """What an image's name points to. Raises NotFound."""
        return self.stores.find(self.view, name)

    def watch(self, event: str, one: Descriptor, done: int) -> None:
        """Tells of a blob on its way."""
        self.tell(event, reference(one), one, done)


def pull(source: OCIRegistry, target: ImageStore, errand: Errand, credentials: Credentials) -> None:
    """A registry's image, fetched, unpacked where that is asked for, and named."""
    spoken = f"OCI Registry ({source.reference})"
    errand.tell(f"Resolving from {spoken}")
    remote = Remote.parse(source.reference)
    repository, fetched = resolve(_repositories(source, remote, "pull", credentials), remote, source.reference)
    wanted = Wanted(platform=_one_platform(target), all_metadata=target.all_metadata)
    errand.tell(f"Pulling from {spoken}")
    found = Descriptor(media_type=fetched.media_type, digest=fetched.digest, size=len(fetched.data))
    errand.tell("fetching image content", source.reference, found)
    image = Fetch(errand.content, repository, remote, wanted, errand.watch).run(fetched)
    _unpack(target, [image], errand)
    _save_all(target, image, errand)
    errand.tell(f"Completed pull from {spoken}")


def push(source: ImageStore, target: OCIRegistry, errand: Errand, credentials: Credentials) -> None:
    """An image under its name here, sent to a registry."""
    spoken = f"OCI Registry ({target.reference})"
    image = errand.find(source.name)
    remote = Remote.parse(target.reference)
    repository = reachable(_repositories(target, remote, "push", credentials))
    errand.tell(f"Pushing to {spoken}")
    errand.tell("pushing content", source.name, image)
    Push(errand.content, repository, remote, Pushed(platform=_one_platform(source)), errand.watch).run(image)
    errand.tell("pushed content", source.name, image)
    errand.tell(f"Completed push to {spoken}")


def tag(source: ImageStore, target: ImageStore, errand: Errand) -> None:
    """A further name for what has one."""
    image = errand.find(source.name)
    _save_all(target, image, errand)


def import_(source: ImageImportStream, target: ImageStore, errand: Errand, received: Received) -> None:
    """An archive's images, unpacked where that is asked for, and named by what the archive says."""
    errand.tell("Importing")
    with closing(received):
        index = read_archive(errand.content, cast("IO[bytes]", received), compress=source.force_compress)
    platform = _one_platform(target)
    hold(errand.content, index, platform)
    entries = [one for one in Index.from_json(errand.content.document(index)).manifests
               if platform is None or one.platform is None or matches(platform, one.platform)]
    if not entries:
        raise NotFound("image might be filtered out: not found")
    _unpack(target, entries, errand)
    for name in imagenames.of_target(target, index):
        _save(target, name, index, errand)
    for one in entries:
        for name in imagenames.of_entry(target, one):
            _save(target, name, one, errand)
    errand.tell("Completed import")


def export(source: ImageStore, target: ImageExportStream, errand: Errand, sent: Sent) -> None:
    """Images under their names here, as an archive."""
    if any(one.is_prefix for one in source.extra_references):
        raise Unsupported("prefix lookup on export not implemented: not implemented")
    found = [(name, errand.find(name)) for name in (source.name, *(one.name for one in source.extra_references)) if name]
    errand.tell("Exporting")
    choice = Exported(platform=_only(target.platforms) or host_platform(), all_platforms=target.all_platforms,
                      docker_manifest=not target.skip_compatibility_manifest, non_distributable=not target.skip_non_distributable)
    with closing(sent):
        write_archive(errand.content, cast("IO[bytes]", sent), found, choice)
    errand.tell("Completed export")


def _repositories(registry: OCIRegistry, remote: Remote, action: str, credentials: Credentials) -> list[Repository]:
    resolver = registry.resolver
    access = Access(plain_http=resolver.default_scheme == "http", hosts_folder=resolver.host_dir)
    return repositories(remote, action, access, credentials, _Headed(dict(resolver.headers)))


class _Headed(Transport):
    """A transport whose requests carry headers of the client's."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("containerd", certificates_folder="")
        self._headers = headers

    def send(self, endpoint: Endpoint, method: str, url: str, **given: Any) -> Any:
        """As the plain one's; what the request itself needs comes before the client's."""
        headers = {**self._headers, **(given.pop("headers", None) or {})}
        return super().send(endpoint, method, url, headers=headers, **given)


def _save_all(target: ImageStore, image: Descriptor, errand: Errand) -> None:
    found = imagenames.of_target(target, image)
    if not found:
        raise NotFound("no image name found: not found")
    for name in found:
        _save(target, name, image, errand)


def _save(target: ImageStore, name: str, image: Descriptor, errand: Errand) -> None:
    errand.stores.save(errand.view, name, target.labels, image)
    errand.tell("saved", name, image)


def _unpack(target: ImageStore, images: Iterable[Descriptor], errand: Errand) -> None:
    """Into each snapshotter that is named, for its platform; the default ones where none is."""
    for wanted in target.unpacks:
        snapshots = errand.stores.snapshots(errand.view, wanted.snapshotter or "overlayfs")
        platform = _platform(wanted.platform) if wanted.HasField("platform") else host_platform()
        for image in images:
            unpack(errand.content, snapshots, image, platform)


def _one_platform(store: ImageStore) -> Platform | None:
    """The platform that content is for; None for all."""
    if store.manifest_limit:
        raise Unsupported("a limit of manifests is not supported: not implemented")
    return _only(store.platforms)


def _only(platforms: Iterable[PlatformMessage]) -> Platform | None:
    found = [_platform(one) for one in platforms]
    if len(found) > 1:
        raise Unsupported("several platforms, but not all, are not supported: not implemented")
    return found[0] if found else None


def _platform(message: PlatformMessage) -> Platform:
    if not message.os or not message.architecture:
        raise InvalidArgument("a platform needs an operating system and an architecture: invalid argument")
    return Platform(os=message.os, architecture=message.architecture, variant=message.variant)
