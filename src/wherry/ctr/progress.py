"""What a pull or a push prints when it is through: a line for each blob, and how long it took."""

from __future__ import annotations

from wherry.console.table import columns
from wherry.ctr.values import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_BAR = f"|\x1b[32m{'+' * 38}\x1b[0m|"


def summary(done: Sequence[tuple[str, str]], seconds: float, count: int) -> str:
    """`done` has (reference, status); `count` is the bytes that went over the network in so many seconds."""
    rate = size(int(count / seconds)) if seconds else size(0)
    last = (f"elapsed: {seconds:.1f} s", f"total: {size(count)[:6]:>7}", f"({rate}/s)", "")
    return columns([*((f"{reference}:", status, _BAR, "") for reference, status in done), last], 1, 1)
