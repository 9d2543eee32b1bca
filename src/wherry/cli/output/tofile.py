"""A stream into a file that is whole or not there."""

from __future__ import annotations

import os

from wherry.cli.command import CommandFailed
from wherry.console.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.console.streams import Streams


def check_target(path: str, prefix: str = "") -> None:
    """Raises CommandFailed when a file cannot be put at the path; nothing to check for stdout (an empty path)."""
    if not path:
        return
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CommandFailed(f'{prefix}invalid output path: directory "{folder}" does not exist')
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    import stat

    if stat.S_ISDIR(mode):
        raise CommandFailed(
            f'{prefix}invalid output path: "{path}" must be a regular file'
            if prefix
            else f'invalid output path: "{path}" is a directory'
        )
    if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and path != "/dev/null"):
        raise CommandFailed(f"{prefix}invalid output path: got a device")


def write_to(streams: Streams, path: str, pieces: Iterable[bytes]) -> None:
    """Writes everything to stdout (an empty path), or to a temporary file beside the target that takes its place at the end."""
    if not path:
        for piece in pieces:
            write_all(streams.stdout, piece)
        return
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb", buffering=0) as file:
            for piece in pieces:
                write_all(file.fileno(), piece)
        return
    temporary = os.path.join(os.path.dirname(path) or ".", f".tmp-{os.path.basename(path)}-{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for piece in pieces:
            write_all(fd, piece)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
