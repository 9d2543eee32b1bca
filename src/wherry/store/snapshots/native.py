"""The snapshotter `native`: a snapshot is a whole copy of its parent, for filesystems that cannot carry an overlay.

<base>/<number>     its files; empty for a view, which shows its parent's
"""

from __future__ import annotations

import os

from wherry.store.snapshots.copytree import copy_tree
from wherry.store.snapshots.layout import Layout
from wherry.store.snapshots.model import ACTIVE, VIEW, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.snapshots.model import Node


class NativeLayout(Layout):
    """Snapshots as copies."""

    name = "native"

    def files(self, folder: str) -> str:
        """The folder itself."""
        return folder

    def make(self, folder: str, kind: int, parent: int | None) -> None:
        """Copies the parent into the folder."""
        os.chmod(folder, 0o755)
        if parent is not None and kind == ACTIVE:
            copy_tree(self.folder(parent), folder)

    def mounts(self, node: Node) -> tuple[Mount, ...]:
        """A bind mount."""
        shown = node.parents[0] if node.kind == VIEW and node.parents else node.number
        access = "ro" if node.kind == VIEW else "rw"
        return (Mount(type="bind", source=self.folder(shown), options=("rbind", access)),)
