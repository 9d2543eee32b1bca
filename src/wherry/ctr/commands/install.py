"""`install`: the programs of an image put onto this machine."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from wherry.ctr.blobs import Blobs
    from wherry.ctr.command import Invocation
    from wherry.oci.image import Descriptor

PLUGIN = ("io.containerd.internal.v1", "opt")


def install(call: Invocation) -> None:
    """Unpacks bin (and lib) of each layer into containerd's own folder, or another one."""
    from wherry.ctr import manifests
    from wherry.ctr.blobs import Blobs

    client, options = call.client, call.options
    image = client.images.Get(name=call.argument(0)).image
    folder = options.text("path") or _managed(call)
    kinds = ("bin", "lib") if options.on("libs") else ("bin",)
    blobs = Blobs(client)
    found = manifests.find(blobs.document, manifests.from_message(image.target))
    for layer in found.manifest.layers:
        _unpack(blobs, layer, folder, kinds, replace=options.on("replace"))


def _managed(call: Invocation) -> str:
    """The folder that containerd tells of."""
    for plugin in call.client.introspection.Plugins(filters=[f"id=={PLUGIN[1]}"]).plugins:
        if plugin.type == PLUGIN[0] and plugin.exports.get("path"):
            return str(plugin.exports["path"])
    raise CommandFailed("opt plugin not enabled, --path must be given")


def _unpack(blobs: Blobs, layer: Descriptor, folder: str, kinds: tuple[str, ...], *, replace: bool) -> None:
    import os
    import posixpath
    import tarfile

    from wherry.linux.path import make_folders

    root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file: Any = _File(blobs.chunks(layer.digest))  # read() is all that a stream of tarfile's needs
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                name = posixpath.normpath(member.name).lstrip("/")
                kind, slash, _ = name.partition("/")
                if kind not in kinds or not slash or member.isdir():
                    continue
                place = make_folders(root, posixpath.dirname(name))
                try:
                    _put(tar.extractfile(member) if member.isreg() else None, member, (place, posixpath.basename(name)),
                         f"cannot replace {name} in {folder}" if not replace else "")
                finally:
                    os.close(place)
    finally:
        os.close(root)


def _put(content: IO[bytes] | None, member: object, where: tuple[int, str], refusal: str) -> None:
    """Writes one file or link into an open folder; `refusal` is what to say where there is one already ("": it is replaced)."""
    import os
    import shutil

    place, name = where
    link = getattr(member, "linkname", "")
    try:
        os.lstat(name, dir_fd=place)
    except FileNotFoundError:
        pass
    else:
        if refusal:
            raise CommandFailed(refusal)
        os.unlink(name, dir_fd=place)
    if content is None:
        os.symlink(link, name, dir_fd=place)
        return
    mode = int(getattr(member, "mode", 0o755)) & 0o7777
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=place)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        shutil.copyfileobj(content, file)


class _File:
    """Pieces as a file that tarfile reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most so many bytes; b"" at the end."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


INSTALL = Command(usage="<ref>", action=install, description="install the programs of an image on this machine", flags=(
    Flag(names=("libs", "l"), help="install libraries too"),
    Flag(names=("replace", "r"), help="replace programs and libraries that are there"),
    Flag(names=("path",), kind="string", help="folder to install into, instead of containerd's own"),
))
