"""The numbers of the system calls, one module per architecture, loaded when a profile names it.

Each module's `NAMES` lists the names in the order of their numbers; `@N` goes on with number N. Source: the kernel's
`syscall*.tbl` and `asm-generic/unistd.h` up to Linux 6.17.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def entries(text: str) -> Iterator[tuple[str, int]]:
    """The names with their numbers, from a module's `NAMES`."""
    number = 0
    for word in text.split():
        if word[0] == "@":
            number = int(word[1:])
        else:
            yield word, number
            number += 1
