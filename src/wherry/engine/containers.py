"""The containers there are: look-up by id, name and short id, and who has which name.

What a container does while it lives is the business of `lifecycle`; what is on disk of `records`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.engine.links import links_of
from wherry.errors import Conflict, InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.engine.container import Container


class Containers:
    """All containers of one engine, by id and by name. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._by_id: dict[str, Container] = {}
        self._names: dict[str, str] = {}  # with slash → id, also of containers that are being made

    def __iter__(self) -> Iterator[Container]:
        """All containers, oldest first."""
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, reference: str) -> Container:
        """A container by full id, name (with or without leading slash), link (`web/store`) or unique id prefix, as Docker does.

        Raises NotFound («No such container: X»), and InvalidArgument for nothing and for a prefix that several ids share.
        """
        if not reference:
            raise InvalidArgument('invalid name or ID supplied: ""')
        if found := self._by_id.get(reference):
            return found
        if found := self._by_id.get(self._names.get("/" + reference.removeprefix("/"), "")):
            return found
        parent, _, alias = reference.removeprefix("/").partition("/")
        if alias and (holder := self._by_id.get(self._names.get("/" + parent, ""))):
            for link in links_of(holder.host):
                if link.alias == alias and "/" not in link.target:
                    return self.find(link.target)
        matching = [one for id_, one in self._by_id.items() if id_.startswith(reference)]
        if len(matching) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {reference}")
        if not matching:
            raise NotFound(f"No such container: {reference}")
        return matching[0]

    def get(self, container_id: str) -> Container | None:
        """A container by its full id."""
        return self._by_id.get(container_id)

    def using_image(self, image_id: str) -> list[Container]:
        """The containers made from an image (`sha256:…`), oldest first."""
        return [one for one in self if one.record.image == image_id]

    def has_name(self, name: str) -> bool:
        """Whether a name (with slash) is taken."""
        return name in self._names

    def reserve(self, name: str, container_id: str) -> None:
        """Takes a name (with slash) for an id, before the container exists. Raises Conflict in Docker's words."""
        holder = self._names.get(name)
        if holder is not None:
            raise Conflict(f'Conflict. The container name "{name}" is already in use by container "{holder}". You have to '
                           "remove (or rename) that container to be able to reuse that name.")
        self._names[name] = container_id

    def release(self, name: str) -> None:
        """Gives a name back."""
        self._names.pop(name, None)

    def add(self, container: Container) -> None:
        """Makes a container known; its name is reserved for it."""
        self._by_id[container.id] = container
        self._names[container.record.name] = container.id

    def remove(self, container: Container) -> None:
        """Forgets a container and its name."""
        self._by_id.pop(container.id, None)
        if self._names.get(container.record.name) == container.id:
            del self._names[container.record.name]
