"""The folder `overlay2`: one folder for each layer, and short links by which many of them fit into one mount.

overlay2/<cache id>/diff        the layer's files
overlay2/<cache id>/link        the name of its link in l/
overlay2/<cache id>/lower       l/<link>:l/<link>…, the layers below it, topmost first; absent for the lowest
overlay2/<cache id>/work        overlayfs' own; absent for the lowest
overlay2/<cache id>/committed   empty: some layer lies on top of this one
overlay2/<cache id>/merged      where a container's tree is mounted
overlay2/l/<26 letters>         a link to ../<cache id>/diff
"""

from __future__ import annotations

import base64
import errno
import os

from wherry.errors import Unsupported
from wherry.linux.file import read
from wherry.linux.filesystem import umount2
from wherry.linux.mount import MNT_DETACH, UMOUNT_NOFOLLOW
from wherry.store.tree import remove_path

MAX_DEPTH = 128


class OverlayFolder:
    """The folder and the layers in it; knows nothing of what they are for."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.links = f"{path}/l"

    def new_id(self) -> str:
        """A random cache id: 64 hexadecimal digits."""
        return os.urandom(32).hex()

    def diff(self, cache_id: str) -> str:
        """The folder with the layer's files."""
        return f"{self.path}/{cache_id}/diff"

    def create(self, cache_id: str) -> str:
        """Makes the folder of a layer that lies on nothing yet; the path of its `diff`."""
        folder = f"{self.path}/{cache_id}"
        os.mkdir(folder, 0o710)
        os.mkdir(f"{folder}/diff", 0o755)
        os.chmod(f"{folder}/diff", 0o755)
        link = base64.b32encode(os.urandom(17)).decode()[:26]
        _write(f"{folder}/link", link)  # first: a crash in between leaves no link that nobody knows
        os.symlink(f"../{cache_id}/diff", f"{self.links}/{link}")
        return f"{folder}/diff"

    def put_on(self, cache_id: str, parent: str) -> None:
        """Says that the layer lies on `parent`, which is committed by that. Raises Unsupported beyond 128 layers."""
        below = self.lower(parent)
        if len(below) + 1 > MAX_DEPTH:
            raise Unsupported("max depth exceeded")
        folder = f"{self.path}/{cache_id}"
        lower = ":".join(f"l/{link}" for link in (self.link(parent), *below))
        os.mkdir(f"{folder}/work", 0o700)
        _write(f"{folder}/lower", lower)
        committed = f"{self.path}/{parent}/committed"
        os.close(os.open(committed, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def link(self, cache_id: str) -> str:
        """The name of the layer's link."""
        return read(f"{self.path}/{cache_id}/link").decode()

    def lower(self, cache_id: str) -> tuple[str, ...]:
        """The names of the links of the layers below, topmost first."""
        try:
            text = read(f"{self.path}/{cache_id}/lower").decode()
        except FileNotFoundError:
            return ()
        return tuple(part.removeprefix("l/") for part in text.split(":") if part)

    def lower_folders(self, cache_id: str) -> tuple[str, ...]:
        """The `diff` folders of the layers below, topmost first."""
        return tuple(
            os.path.normpath(os.path.join(self.links, os.readlink(f"{self.links}/{link}"))) for link in self.lower(cache_id)
        )

    def remove(self, cache_id: str) -> None:
        """Removes the layer's folder and link; harmless for what is missing."""
        try:
            link = self.link(cache_id)
        except FileNotFoundError:
            link = ""
        merged = f"{self.path}/{cache_id}/merged"
        if os.path.isdir(merged):
            unmount(merged)
        if link and "/" not in link:
            try:
                os.unlink(f"{self.links}/{link}")
            except FileNotFoundError:
                pass
        remove_path(f"{self.path}/{cache_id}")


def unmount(path: str) -> None:
    """Takes away what is mounted at the folder; harmless when nothing is."""
    try:
        umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def _write(path: str, content: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content.encode())
    finally:
        os.close(fd)
