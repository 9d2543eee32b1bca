"""Whiteouts: marks in a layer's tar for what lower layers have and this one has not, and carrying them out on a merged tree.

    a/.wh.x           `a/x` is hidden
    a/.wh..wh..opq    everything in `a` is hidden
    .wh..wh.*         what aufs kept for itself

Where a layer is unpacked over a whole copy of what lies below it, a whiteout removes what it hides; what its own layer has
stays, in whatever order they come (image-spec layer.md, «Whiteouts»).
"""

from __future__ import annotations

import os
import posixpath

from wherry.store.tarheader import InvalidTar
from wherry.store.tree import Walk, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.tree import Root

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
AUFS = ".wh..wh."
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def hidden_name(mark: str) -> str | None:
    """What a whiteout that is not OPAQUE hides in its folder; None for aufs' own. Raises InvalidTar."""
    if mark.startswith(AUFS):
        return None
    name = mark[len(WHITEOUT) :]
    if name in ("", ".", ".."):
        raise InvalidTar(f'invalid whiteout "{mark}"')
    return name


class Removals:
    """Carries whiteouts out in a tree, and remembers what the layer itself has made there."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._own: set[str] = set()

    def keep(self, path: str) -> None:
        """The layer has this path, and so all folders on the way to it."""
        while path and path not in self._own:
            self._own.add(path)
            path = posixpath.dirname(path)

    def obey(self, parent: str, mark: str) -> None:
        """Does what the whiteout `mark` in the folder `parent` says. Raises InvalidTar, OSError."""
        if mark == OPAQUE:
            self._empty(parent)
            return
        hidden = hidden_name(mark)
        if hidden is None:
            return
        path = posixpath.join(parent, hidden)
        if path in self._own:
            self._empty(path)
        else:
            self._remove(path)

    def _empty(self, path: str) -> None:
        """Removes what is in a folder and not of this layer; nothing when it is no folder."""
        parent, name = posixpath.split(path)
        try:
            fd = os.open(name or ".", _FOLDER, dir_fd=self._root.folder(parent))
        except NotADirectoryError:
            return
        try:
            going = []
            walk = Walk(fd)
            for node in walk:
                below = posixpath.join(path, node.path)
                if below not in self._own:
                    going.append(below)
                    walk.skip()
        finally:
            os.close(fd)
        for one in going:
            self._remove(one)

    def _remove(self, path: str) -> None:
        parent, name = posixpath.split(path)
        remove_tree(name, self._root.folder(parent))
        self._root.forget()
