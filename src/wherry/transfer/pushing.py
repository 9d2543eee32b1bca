"""Content from the content store to a registry: blobs side by side, then what points to them, from below."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from wherry.oci import image as oci
from wherry.record import Record
from wherry.transfer import manifests
from wherry.transfer.fetching import reference, unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.image import Descriptor, Platform
    from wherry.registry.client import Repository
    from wherry.transfer.content import Content
    from wherry.transfer.fetching import Watch
    from wherry.transfer.hosts import Remote

PARALLEL = 4


class Choice(Record):
    """What of an image is sent."""

    platform: Platform | None = None
    non_distributable: bool = False
    parallel: int = PARALLEL


class Push:
    """One image on its way. `done` has each blob's reference once it is there, `sent` counts the bytes that went out.

    `watch` is told of each blob when it is there, by threads of this one: «complete» or «already exists».
    """

    def __init__(self, blobs: Content, repository: Repository, remote: Remote, choice: Choice, watch: Watch = unwatched) -> None:
        self._blobs = blobs
        self._repository = repository
        self._remote = remote
        self._choice = choice
        self._watch = watch
        self.done: list[str] = []
        self.sent = 0

    def run(self, target: Descriptor) -> None:
        """Sends it all; the name points to it only when everything is there."""
        parts = list(manifests.walk(self._blobs.document, target, wanted=self._choice.platform))
        documents = [one for one in parts if one.media_type in oci.INDEXES | oci.MANIFESTS]
        rest = [one for one in parts
                if one not in documents and (self._choice.non_distributable or manifests.is_distributable(one))]
        with ThreadPoolExecutor(max_workers=max(self._choice.parallel, 1)) as pool:
            for _ in pool.map(self.blob, rest):
                pass
        for one in reversed(documents):
            name = self._remote.object if one.digest == target.digest else one.digest
            self._repository.put_manifest(name, one.media_type, self._blobs.document(one))
            self._note("complete", one)

    def blob(self, one: Descriptor) -> None:
        """Sends one blob unless the registry has it, here or in another repository that it came from."""
        if self._repository.has_blob(one.digest):
            self._note("already exists", one)
            return
        known = self._blobs.info(one.digest).labels.get(self._remote.source_label, "")
        for source in filter(None, known.split(",")):
            if source != self._remote.path and self._repository.mount_blob(one.digest, source):
                self._note("already exists", one)
                return
        upload = self._repository.send_blob(self._repository.start_upload(), self._blobs.chunks(one.digest))
        self._repository.finish_upload(upload, one.digest)
        self.sent += one.size
        self._note("complete", one)

    def _note(self, event: str, one: Descriptor) -> None:
        self.done.append(reference(one))
        self._watch(event, one, one.size)
