"""--chown: a user and a group, by number or by the names in the image's own /etc/passwd and /etc/group."""

from __future__ import annotations

from wherry.build.tree import Owner
from wherry.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.tree import Tree

# A passwd file larger than this is not read.
MOST_BYTES = 8 << 20
_UNKNOWN = "unable to convert uid/gid chown string to host mapping"


def resolve_owner(text: str, rootfs: Tree) -> Owner:
    """`user`, `user:group`, `0:0`, "" for root. Raises InvalidArgument for a name that the image does not have."""
    user, colon, group = text.partition(":")
    if not user and colon:
        raise InvalidArgument(f"invalid chown string: {text}")
    uid, primary = _user(user, rootfs) if user else (0, 0)
    return Owner(uid, _group(group, rootfs) if group else primary)


def _user(name: str, rootfs: Tree) -> tuple[int, int]:
    """User id and group: a name's primary group, the same number for a number."""
    if name.isdigit():
        return int(name), int(name)
    for fields in _lines(rootfs, "/etc/passwd"):
        if len(fields) >= 4 and name == fields[0] and fields[2].isdigit() and fields[3].isdigit():
            return int(fields[2]), int(fields[3])
    raise InvalidArgument(f"{_UNKNOWN}: can't find uid for user {name}: no such user: {name}")


def _group(name: str, rootfs: Tree) -> int:
    if name.isdigit():
        return int(name)
    for fields in _lines(rootfs, "/etc/group"):
        if len(fields) >= 3 and fields[0] == name and fields[2].isdigit():
            return int(fields[2])
    raise InvalidArgument(f"{_UNKNOWN}: can't find gid for group {name}: no such group: {name}")


def _lines(rootfs: Tree, path: str) -> list[list[str]]:
    try:
        text = rootfs.read(path, MOST_BYTES).decode("utf-8", "replace")
    except NotFound:
        return []
    return [line.split(":") for line in text.splitlines()]
