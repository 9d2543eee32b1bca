"""References: which name means which image; `repositories.json`, in Docker's familiar names.

{"Repositories": {"busybox": {"busybox:latest": "sha256:…", "busybox@sha256:…": "sha256:…"}}}
"""

from __future__ import annotations

import json
import threading

from wherry import trace
from wherry.errors import Conflict, DataLoss, InvalidArgument, NotFound
from wherry.linux.file import read, replace_durably
from wherry.oci.digest import hex_of
from wherry.oci.reference import Reference, parse_name
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wherry.store.root import DataRoot


class Association(Record):
    """One name of an image: a tagged reference, or a digested one (from a pull or push)."""

    reference: Reference
    image_id: str


class ReferenceStore:
    """All names of a data root. Safe to use from several threads."""

    def __init__(self, root: DataRoot) -> None:
        """Reads the file. Raises DataLoss when it is damaged: names are not made again from anything else."""
        self._path = root.repositories
        self._lock = threading.RLock()
        self._repositories = _load(self._path)

    def tag(self, reference: Reference, image_id: str, *, force: bool = True) -> str:
        """Makes the reference (a tag or a digest, `latest` if neither) mean the image; the id it meant before, or "".

        Raises InvalidArgument for a digest that is moved (`Cannot overwrite digest …`) or a name that reads as a digest
        (`refusing to create an ambiguous tag …`), Conflict when it means another image and `force` is not given.
        """
        return self.tag_all(((reference, image_id),), force=force)[0]

    def tag_all(self, associations: Iterable[tuple[Reference, str]], *, force: bool = True) -> tuple[str, ...]:
        """As `tag` for several, in one step: all of them or none; the ids they meant before."""
        with self._lock:
            changed = dict(self._repositories)
            before = []
            for reference, image_id in associations:
                reference = _by_one(reference)
                name, key = reference.familiar_name, reference.familiar()
                old = changed.get(name, {}).get(key, "")
                _check(reference, old, image_id, force)
                before.append(old)
                changed[name] = {**changed.get(name, {}), key: image_id}
            if changed != self._repositories:
                self._save(changed)
        return tuple(before)

    def untag(self, reference: Reference) -> str:
        """Forgets the reference; the image id that it meant. Raises NotFound: `reference does not exist`."""
        reference = _by_one(reference)
        name, key = reference.familiar_name, reference.familiar()
        with self._lock:
            image_id = self.lookup(reference)
            left = {one: image for one, image in self._repositories[name].items() if one != key}
            changed = {**self._repositories, name: left}
            if not left:
                del changed[name]
            self._save(changed)
        return image_id

    def lookup(self, reference: Reference) -> str:
        """The image id. A reference with both is looked up by its digest. Raises NotFound: `reference does not exist`."""
        reference = _by_one(reference)
        found = self._repositories.get(reference.familiar_name, {}).get(reference.familiar())
        if found is None:
            raise NotFound("reference does not exist")
        return found

    def of_image(self, image_id: str) -> tuple[Reference, ...]:
        """All references that mean the image: tags first, then digests, each sorted."""
        found = [one.reference for one in self._all() if one.image_id == image_id]
        return tuple(sorted(found, key=lambda reference: (bool(reference.digest), reference.familiar())))

    def of_name(self, name: str) -> tuple[Association, ...]:
        """All associations of a repository (`docker.io/library/busybox`), sorted."""
        return tuple(one for one in self.list() if one.reference.name == name)

    def list(self) -> tuple[Association, ...]:
        """Everything, sorted."""
        return tuple(sorted(self._all(), key=lambda one: one.reference.familiar()))

    def _all(self) -> Iterator[Association]:
        for names in self._repositories.values():
            for key, image_id in names.items():
                try:
                    yield Association(reference=parse_name(key), image_id=image_id)
                except InvalidArgument:
                    continue  # stays in the file; nobody can ask for it

    def _save(self, repositories: dict[str, dict[str, str]]) -> None:
        content = json.dumps({"Repositories": repositories}, separators=(",", ":"), sort_keys=True).encode()
        trace.step("references save", self._path)
        replace_durably(self._path, content)
        self._repositories = repositories


def _check(reference: Reference, old: str, image_id: str, force: bool) -> None:
    if reference.familiar_name == "sha256":
        raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
    if old in ("", image_id):
        return
    if reference.digest:
        raise InvalidArgument(f"Cannot overwrite digest {reference.digest}")
    if not force:
        raise Conflict(
            f"Conflict: Tag {reference.familiar()} is already set to image {hex_of(old)}, if you want to replace it, "
            "please use the force option"
        )


def _by_one(reference: Reference) -> Reference:
    """With a digest the tag says nothing more; without either it is `latest`."""
    return reference.replace(tag="") if reference.digest else reference.with_default_tag()


def _load(path: str) -> dict[str, dict[str, str]]:
    try:
        content = json.loads(read(path))
        repositories = content.get("Repositories") or {}
        if not all(isinstance(names, dict) for names in repositories.values()):
            raise DataLoss(f'"{path}" is damaged: it is not a list of repositories')
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as err:
        raise DataLoss(f'"{path}" is damaged: {err}') from err
    return {name: dict(names) for name, names in repositories.items()}
