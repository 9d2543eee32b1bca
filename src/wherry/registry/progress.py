"""What a pull or a push says while it works, as values; the door that streams them gives them their form."""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Progress(Record):
    """One line of progress in Docker's words.

    `id` is a layer's short digest or a tag, empty for lines about the whole; `current` and `total` are
    bytes, both 0 where the line measures nothing. `aux` is what Docker sends beside the text (the digest of a push).
    """

    status: str
    id: str = ""
    current: int = 0
    total: int = 0
    measured: bool = False
    aux: tuple[tuple[str, str | int], ...] = ()


if TYPE_CHECKING:
    Report = Callable[[Progress], None]


def short(digest: str) -> str:
    """The twelve characters by which people know a layer."""
    return digest.partition(":")[2][:12]
