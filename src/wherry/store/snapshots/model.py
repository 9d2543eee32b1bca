"""The values of this room: what a snapshot is, what it occupies, and how its tree is mounted."""

from __future__ import annotations

from wherry.record import Record
from wherry.store.metadata.filters import of_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

# Numbers as in containerd's interface.
VIEW: Final = 1
ACTIVE: Final = 2
COMMITTED: Final = 3
KIND_NAMES: Final = {VIEW: "view", ACTIVE: "active", COMMITTED: "committed"}

NO_LABELS: Mapping[str, str] = type(type.__dict__)({})


class Mount(Record):
    """One mount, as mount(8) takes it: words and `key=value` in `options`. `target` is below the root, mostly empty."""

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()


class Info(Record):
    """What is known of a snapshot. `name` is the key of one that is not committed yet; `parent` is "" for the lowest."""

    name: str
    parent: str
    kind: int
    created_ns: int
    updated_ns: int
    labels: Mapping[str, str] = NO_LABELS

    def field(self, path: Sequence[str]) -> str | None:
        """What a filter finds."""
        match path:
            case ["kind"]:
                return KIND_NAMES[self.kind]
            case ["name"]:
                return self.name or None
            case ["parent"]:
                return self.parent or None
            case ["labels", *rest]:
                return of_map(self.labels, rest)
            case _:
                return None


class Usage(Record):
    """What a snapshot occupies without its parents: bytes of disk blocks, and inodes."""

    size_bytes: int = 0
    inodes: int = 0


class Node(Record):
    """A snapshot's folder by its number, and those it lies on, the nearest first."""

    number: int
    kind: int
    parents: tuple[int, ...] = ()
