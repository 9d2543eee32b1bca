"""The mount table of this mount namespace: what lies where, and whether others see changes. proc_pid_mountinfo(5)."""

from __future__ import annotations

import os

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


class Mounted(Record):
    """A mount. `is_shared`: what is mounted below it goes to its peers; `is_slave`: it gets what is mounted below its master."""

    path: str
    filesystem: str
    is_shared: bool
    is_slave: bool


def read() -> Iterator[Mounted]:
    """All of them, the first mounted first. Raises OSError."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        yield from map(parse, lines)


def parse(line: str) -> Mounted:
    """A line of the table."""
    left, _, right = line.partition(" - ")
    words = left.split(" ")
    fields = {word.partition(":")[0] for word in words[6:]}
    return Mounted(path=_unescape(words[4]), filesystem=right.split(" ")[0],
                   is_shared="shared" in fields, is_slave="master" in fields)


def covering(path: str) -> Mounted:
    """The mount that a path lies on, symbolic links resolved. Raises OSError."""
    path = os.path.realpath(path)
    found = None
    for mounted in read():
        below = mounted.path.rstrip("/") + "/"
        if (path == mounted.path or path.startswith(below)) and (found is None or len(mounted.path) >= len(found.path)):
            found = mounted
    if found is None:
        raise FileNotFoundError(f"{path} lies on no mount of this namespace")
    return found


def is_mounted(path: str) -> bool:
    """Whether something is mounted at just this place. Raises OSError."""
    return any(mounted.path == path for mounted in read())


def _unescape(path: str) -> str:
    for escape, character in _ESCAPES:
        path = path.replace(escape, character)
    return path
