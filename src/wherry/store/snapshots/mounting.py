"""Mounts as snapshotters answer them, made so that nobody sees them: a descriptor of a tree that is attached nowhere.

What a crash leaves of such a tree is nothing: it ends with its descriptor. An overlay takes its layers one by one where the
kernel can (`lowerdir+`, Linux 6.7). Otherwise, and for other filesystems, mount(2) needs a place for a moment.
"""

from __future__ import annotations

import errno
import os

from wherry.errors import InvalidArgument, Unsupported
from wherry.linux import mount as kernel
from wherry.linux import mountwords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.store.snapshots.model import Mount

_MAX_STRING = 255  # bytes of a string in fsconfig(2)
_NOT_KNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})


class Mounted:
    """The tree that mounts make, for the length of a `with` block, which gets a descriptor of it."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        """Raises Unsupported for anything but one mount."""
        if len(mounts) != 1:
            raise Unsupported(f"{len(mounts)} mounts for one tree are not supported")
        self._one = mounts[0]
        self._fd = -1

    def __enter__(self) -> int:
        """Mounts it. Raises OSError, InvalidArgument."""
        self._fd = detached(self._one)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def detached(one: Mount) -> int:
    """A descriptor of one mount; the caller closes it, or moves it to where it belongs."""
    if one.target.strip("/"):
        raise InvalidArgument(f"mount target {one.target!r}: only the root itself can be mounted")
    attributes, data, is_recursive = [0, 0], [], None
    for word in one.options:
        if word in mountwords.ATTRIBUTES:
            mountwords.merge(attributes, mountwords.ATTRIBUTES[word])
        elif word in ("bind", "rbind"):
            is_recursive = word == "rbind"
        elif word in mountwords.SUPERBLOCK:
            data.append(mountwords.SUPERBLOCK[word])
        elif word and word not in mountwords.NOTHING:
            data.append(word)
    if one.type == "bind" or is_recursive is not None:
        fd = kernel.open_tree(one.source, recursive=bool(is_recursive))
    elif one.type == "overlay":
        fd = _overlay(one.source, data)
    else:
        fd = _by_name(one.source, one.type, data)
    try:
        if any(attributes):
            kernel.mount_setattr(fd, attributes[0], attributes[1])
    except OSError:
        os.close(fd)
        raise
    return fd


def option(one: Mount, name: str) -> str:
    """The value of an option `name=value`, "" without it."""
    return next((word[len(name) + 1 :] for word in one.options if word.startswith(name + "=")), "")


def split_layers(lowerdir: str) -> list[str]:
    """The folders in overlayfs' option «lowerdir», topmost first; a colon in a name has a backslash before it."""
    folders, current, escaped = [], "", False
    for letter in lowerdir:
        if letter == ":" and not escaped:
            folders.append(current)
            current = ""
        elif letter == "\\" and not escaped:
            escaped = True
            continue
        else:
            current += letter
        escaped = False
    return [*folders, current]


def _overlay(source: str, data: Sequence[str]) -> int:
    options: list[tuple[str, str | None]] = [("source", source or "overlay")]
    for word in data:
        key, equals, value = word.partition("=")
        if key == "lowerdir":
            options += [("lowerdir+", folder) for folder in split_layers(value)]
        else:
            options.append((key, value if equals else None))
    if all(len(os.fsencode(value or "")) <= _MAX_STRING for _, value in options):
        try:
            return kernel.filesystem("overlay", tuple(options))
        except OSError as error:
            if error.errno not in _NOT_KNOWN:
                raise
    return _by_name(source or "overlay", "overlay", data)


def _by_name(source: str, kind: str, data: Sequence[str]) -> int:
    import tempfile

    place = tempfile.mkdtemp(prefix="wherry-mount-")
    try:
        kernel.mount(source or None, place, kind, 0, ",".join(data))
        try:
            return kernel.open_tree(place)
        finally:
            kernel.umount2(place, kernel.MNT_DETACH)
    finally:
        os.rmdir(place)
