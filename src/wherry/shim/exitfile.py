"""The exit file: how a container ended, on disk before anybody is told.

    <run_folder>/exit.json      {"code": 137, "at_ns": 1732500000000000000, "exec_id": "", "signalled": true, "oom": true}

It has to survive a crash of ours, not a power cut: written beside and renamed, without syncing.
"""

from __future__ import annotations

import os

from wherry.oci.jsontext import dumps, loads
from wherry.shim.protocol import EXIT_NAME, plain, read_exited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.shim.protocol import Exited


def write_exit(run_folder_fd: int, exited: Exited) -> None:
    """Writes the file into the folder. Raises OSError (disk full); then an old file, if any, is as it was."""
    temporary = f".{EXIT_NAME}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=run_folder_fd)
    try:
        os.write(fd, dumps(plain(exited)).encode())
    finally:
        os.close(fd)
    os.rename(temporary, EXIT_NAME, src_dir_fd=run_folder_fd, dst_dir_fd=run_folder_fd)


def read_exit(run_folder: str) -> Exited | None:
    """How the container ended, or None when that is not known. Raises DataLoss for a file that is none of ours."""
    try:
        with open(f"{run_folder}/{EXIT_NAME}", "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    try:
        return read_exited(loads(text.decode()))
    except (ValueError, KeyError, TypeError) as error:
        from wherry.errors import DataLoss

        raise DataLoss(f"{run_folder}/{EXIT_NAME} is not an exit file: {error}") from error
