"""Mounting an overlay: by the mount API where the kernel takes layers one by one, else by mount(2).

`lowerdir+` (Linux 6.7) takes one layer at a time; each string of fsconfig(2) ends at 255 bytes, so layers are named
by their short links. mount(2) takes one page of options: 128 layers fit only as `l/<26 letters>`, relative to the
folder `overlay2`. The current folder belongs to the process, so this is done by a thread that has one of its own
(CLONE_FS).
"""

from __future__ import annotations

import errno
import os
import threading

from wherry.linux import mount as mounts
from wherry.linux.namespace import unshare
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_FS = 0x200

# As dockerd: upper folders move between hosts and kernels, so nothing is kept in them that only an index or redirects explain.
OPTIONS = (("index", "off"), ("redirect_dir", "off"), ("metacopy", "off"))
_MAX_STRING = 255
_NOT_KNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})


class Overlay(Record):
    """One overlay mount: absolute folders, and where `mount` attaches it.

    `links` are the layers below, topmost first, by their short names (`l/…`) in the folder `base`, that all lie in.
    """

    base: str
    links: tuple[str, ...]
    upper: str
    work: str
    target: str

    @property
    def lower(self) -> tuple[str, ...]:
        """The layers below by their own names, topmost first. Raises OSError when one is missing."""
        return tuple(os.path.normpath(f"{self.base}/l/{os.readlink(f'{self.base}/{link}')}") for link in self.links)


def mount(overlay: Overlay) -> None:
    """Attaches the overlay to its target, which exists. Raises OSError."""
    try:
        fd = detached(overlay)
    except OSError as err:
        if err.errno not in _NOT_KNOWN:
            raise
        mount_by_name(overlay)
        return
    attach(fd, overlay.target)


def attach(fd: int, target: str) -> None:
    """Attaches a detached mount to a folder, and closes its descriptor. Raises OSError."""
    try:
        folder = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mounts.move_mount(fd, folder)
        finally:
            os.close(folder)
    finally:
        os.close(fd)


def detached(overlay: Overlay) -> int:
    """A descriptor of the mount, attached nowhere yet; the caller closes it. Raises OSError, EINVAL before Linux 6.7."""
    options: list[tuple[str, str | None]] = [("source", "overlay")]
    options += [("lowerdir+", f"{overlay.base}/{one}") for one in overlay.links]
    options += [("upperdir", overlay.upper), ("workdir", overlay.work)]
    if any(len(os.fsencode(value or "")) > _MAX_STRING for _, value in options):
        raise OSError(errno.EINVAL, "path too long for fsconfig", overlay.base)
    return mounts.filesystem("overlay", (*options, *OPTIONS))


def mount_by_name(overlay: Overlay) -> None:
    """As `mount`, by mount(2) from inside the folder. Raises OSError."""

    def within(path: str) -> str:
        return path.removeprefix(overlay.base + "/")

    data = ",".join((
        f"lowerdir={':'.join(overlay.links)}", f"upperdir={within(overlay.upper)}", f"workdir={within(overlay.work)}",
        *(f"{key}={value}" for key, value in OPTIONS)))  # fmt: skip

    def work() -> None:
        unshare(CLONE_FS)
        os.chdir(overlay.base)
        mounts.mount("overlay", within(overlay.target), "overlay", 0, data)

    _in_thread(work)


def _in_thread(work: Callable[[], None]) -> None:
    failure: list[OSError] = []

    def run() -> None:
        try:
            work()
        except OSError as err:
            failure.append(err)

    thread = threading.Thread(target=run, name="overlay-mount")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
