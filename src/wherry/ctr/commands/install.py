"""`install`: the programs of an image put onto this machine."""

from __future__ import annotations

import os

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from wherry.ctr.blobs import Blobs
    from wherry.ctr.command import Invocation
    from wherry.oci.image import Descriptor

PLUGIN = ("io.containerd.internal.v1", "opt")


def install(call: Invocation) -> None:
    """Unpacks bin (and lib) of each layer into containerd's own folder, or another one."""
    from wherry.ctr.blobs import Blobs
    from wherry.transfer import manifests

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
    import tarfile

    from wherry.transfer.content import ChunkFile

    root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file: Any = ChunkFile(blobs.chunks(layer.digest))  # read() is all that a stream of tarfile's needs
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                if not (member.isreg() or member.issym() or member.islnk()) or not _is_below(kinds, member.name):
                    continue
                place, name = _place(root, member.name)
                try:
                    _clear(place, name, "" if replace else f"cannot replace {_inside(member.name)} in {folder}")
                    if member.issym():
                        os.symlink(member.linkname, name, dir_fd=place)
                    elif member.islnk():
                        _link(root, member.linkname, (place, name))
                    else:
                        _write(tar.extractfile(member), member.mode & 0o7777, (place, name))
                finally:
                    os.close(place)
    finally:
        os.close(root)


def _inside(path: str) -> str:
    """A path of an archive, seen from the folder that it is unpacked into."""
    return os.path.normpath(path).lstrip("/")


def _is_below(kinds: tuple[str, ...], path: str) -> bool:
    kind, slash, _ = _inside(path).partition("/")
    return bool(slash) and kind in kinds


def _place(root: int, path: str) -> tuple[int, str]:
    """A descriptor of the folder that a path of an archive is in, made where it is missing, and the name in there."""
    from wherry.linux.path import make_folders

    folder, _, name = _inside(path).rpartition("/")
    return make_folders(root, folder), name


def _clear(place: int, name: str, refusal: str) -> None:
    """Removes what is there; `refusal` is what to say instead ("": it is removed)."""
    try:
        os.lstat(name, dir_fd=place)
    except FileNotFoundError:
        return
    if refusal:
        raise CommandFailed(refusal)
    os.unlink(name, dir_fd=place)


def _link(root: int, path: str, where: tuple[int, str]) -> None:
    """A further name of a file that came earlier in the archive."""
    place, name = where
    source, source_name = _place(root, path)
    try:
        os.link(source_name, name, src_dir_fd=source, dst_dir_fd=place, follow_symlinks=False)
    finally:
        os.close(source)


def _write(content: IO[bytes] | None, mode: int, where: tuple[int, str]) -> None:
    """A new file in an open folder."""
    import shutil

    place, name = where
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=place)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        if content is not None:
            shutil.copyfileobj(content, file)


INSTALL = Command(usage="<ref>", action=install, description="install the programs of an image on this machine", flags=(
    Flag(names=("libs", "l"), help="install libraries too"),
    Flag(names=("replace", "r"), help="replace programs and libraries that are there"),
    Flag(names=("path",), kind="string", help="folder to install into, instead of containerd's own"),
))
