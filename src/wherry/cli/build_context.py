"""The context of a build: a folder, a tar archive or a Dockerfile on stdin, or a URL that the daemon fetches."""

from __future__ import annotations

import os

from wherry.build.ignore import Ignore, read_patterns
from wherry.cli.archive.pack import END, Packer
from wherry.cli.command import CommandFailed
from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.console.streams import Streams

PIECE = 1 << 18
ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class Context:
    """What is sent: the pieces of a tar archive (None for a URL), the Dockerfile's name in it, the URL."""

    def __init__(self, pieces: Iterator[bytes] | None, dockerfile: str = "", remote: str = "") -> None:
        self.pieces = pieces
        self.dockerfile = dockerfile
        self.remote = remote


def is_archive(head: bytes) -> bool:
    """Whether bytes begin a tar archive, compressed or not."""
    return head.startswith(ARCHIVES) or head[257:262] == b"ustar"


def _stream(fd: int, first: bytes) -> Iterator[bytes]:
    yield first
    while piece := os.read(fd, PIECE):
        yield piece


def _everything(fd: int, first: bytes = b"") -> bytes:
    return first + b"".join(iter(lambda: os.read(fd, PIECE), b""))


def _file(name: str, data: bytes) -> bytes:
    """One regular file as a member of an archive."""
    import tarfile

    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    return member.tobuf(tarfile.PAX_FORMAT) + data + b"\0" * (-len(data) % 512)


def _random_name() -> str:
    return ".dockerfile." + os.urandom(10).hex()


def open_context(place: str, dockerfile: str, streams: Streams, *, compress: bool = False) -> Context:
    """The context of `build`'s argument. Raises CommandFailed."""
    if place == "-":
        return _from_stdin(dockerfile, streams)
    if place.startswith(("git://", "git@", "github.com/")) or (
        place.startswith(("http://", "https://")) and place.partition("#")[0].endswith(".git")
    ):
        raise CommandFailed(f"a Git repository as the build context is not supported by wherry yet: {place}")
    if place.startswith(("http://", "https://")):
        return Context(None, dockerfile, place)
    context = _from_folder(place, dockerfile, streams)
    if compress and context.pieces is not None:
        context.pieces = _compressed(context.pieces)
    return context


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import zlib

    packer = zlib.compressobj(wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _from_stdin(dockerfile: str, streams: Streams) -> Context:
    first = b""
    while len(first) < 512 and (piece := os.read(streams.stdin, PIECE)):
        first += piece
    if is_archive(first):
        return Context(_stream(streams.stdin, first), dockerfile)
    if dockerfile:
        raise CommandFailed(
            "unable to prepare context: ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"
        )
    data = _everything(streams.stdin, first)
    return Context(iter((_file("Dockerfile", data), END)), "Dockerfile")


def _from_folder(place: str, dockerfile: str, streams: Streams) -> Context:
    if not os.path.lexists(place):
        raise CommandFailed(f'unable to prepare context: path "{place}" not found')
    root = os.path.realpath(place)
    if not os.path.isdir(root):
        raise CommandFailed(f"unable to prepare context: context must be a directory: {root}")
    added: bytes | None = None
    name = "Dockerfile"
    if dockerfile == "-":
        added, name = _everything(streams.stdin), _random_name()
    else:
        path = os.path.join(root, "Dockerfile") if not dockerfile else os.path.abspath(dockerfile)
        if not dockerfile and not os.path.lexists(path) and os.path.lexists(os.path.join(root, "dockerfile")):
            path = os.path.join(root, "dockerfile")
        if not os.path.lexists(path):
            raise CommandFailed(
                "unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
                f"lstat {path}: no such file or directory"
            )
        real = os.path.realpath(path)
        relative = os.path.relpath(real, root)
        if relative.startswith("../"):
            with open(real, "rb") as file:
                added, name = file.read(), _random_name()
        else:
            name = relative
    return Context(_folder_pieces(root, name, added), name)


def _folder_pieces(root: str, name: str, added: bytes | None) -> Iterator[bytes]:
    patterns: list[str] = []
    try:
        with open(os.path.join(root, ".dockerignore"), encoding="utf-8", errors="surrogateescape") as file:
            patterns = read_patterns(file.read())
    except FileNotFoundError:
        patterns = []
    except OSError as wrong:
        raise CommandFailed(f"error reading .dockerignore: {wrong.strerror}") from None
    try:
        ignore = Ignore(patterns)
    except InvalidArgument as wrong:
        raise CommandFailed(f"error checking context: {wrong.message}") from None
    # The daemon reads these two itself, so they are sent even when they are left out of what COPY sees.
    kept = {".dockerignore", *(() if added is not None else (name,))}
    below = {"/".join(one.split("/")[:count]) for one in kept for count in range(1, one.count("/") + 1)}

    def wanted(path: str, is_folder: bool) -> bool:
        return path in kept or (is_folder and path in below) or not ignore.leaves_out(path)

    packer = Packer(owned=False)
    for one in sorted(os.listdir(root)):
        yield from packer.tree(f"{root}/{one}", one, wanted, one)
    if added is not None:
        yield _file(name, added)
    yield END
