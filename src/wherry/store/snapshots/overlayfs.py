"""The snapshotter `overlayfs`: a snapshot is the upper folder of an overlay whose lower folders are its parents'.

<base>/<number>/fs      its files
<base>/<number>/work    overlayfs' own; only where the snapshot can be written to
"""

from __future__ import annotations

import os

from wherry.store.snapshots.layout import Layout
from wherry.store.snapshots.model import ACTIVE, VIEW, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.snapshots.model import Node

_INDEX = "/sys/module/overlay/parameters/index"


class OverlayLayout(Layout):
    """Snapshots as overlays."""

    name = "overlayfs"

    def files(self, folder: str) -> str:
        """The upper folder."""
        return f"{folder}/fs"

    def make(self, folder: str, kind: int, parent: int | None) -> None:
        """Makes the empty folders; the root belongs to whom the parent's does."""
        files = self.files(folder)
        os.mkdir(files)
        os.chmod(files, 0o755)
        if parent is not None:
            status = os.stat(self.files(self.folder(parent)))
            os.chown(files, status.st_uid, status.st_gid)
        if kind == ACTIVE:
            os.mkdir(f"{folder}/work", 0o711)

    def mounts(self, node: Node) -> tuple[Mount, ...]:
        """An overlay; a bind mount where there is only one folder to show."""
        own = self.files(self.folder(node.number))
        below = [self.files(self.folder(number)) for number in node.parents]
        if not below:
            return (_bind(own, "ro" if node.kind == VIEW else "rw"),)
        if node.kind == VIEW and len(below) == 1:
            return (_bind(below[0], "ro"),)
        # Upper folders move between kernels: nothing is kept in them that only an index explains.
        options = ["index=off"] if os.path.exists(_INDEX) else []
        if node.kind == ACTIVE:
            options += [f"workdir={self.folder(node.number)}/work", f"upperdir={own}"]
        options.append("lowerdir=" + ":".join(below))
        return (Mount(type="overlay", source="overlay", options=tuple(options)),)


def _bind(source: str, access: str) -> Mount:
    return Mount(type="bind", source=source, options=(access, "rbind"))
