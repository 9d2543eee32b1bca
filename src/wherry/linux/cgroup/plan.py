"""The plan's one kind of step: a value into a control file, and the loop that applies such steps."""

from __future__ import annotations

import os

from wherry import trace
from wherry.record import Record


class Step(Record):
    """Writes `value` into `file` of the controller's folder (v2: the cgroup's folder, `controller` says who serves it).

    `if_present`: a file that the kernel does not have is passed over (used where its absence means «off» anyway).
    `only_when_differs`: the value is read first and left alone when it is that already.
    """

    controller: str
    file: str
    value: str
    if_present: bool = False

    def __str__(self) -> str:
        return f"{self.controller}: {self.file} = {self.value}"


def write_file(path: str, value: str) -> None:
    """Writes a control file with one write(2). Raises OSError with the file and the value tried."""
    trace.step("cgroup write", f"{path} = {value}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, f"failed to write {value!r}: {error.strerror}", path) from None


def read_file(path: str) -> str:
    """The text of a control file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)
    return b"".join(parts).decode(errors="surrogateescape")


def read_number(path: str) -> int:
    """The number in a control file; `max` and a missing file are zero and -1: see `read_limit` for limits."""
    text = read_file(path).strip()
    return (1 << 64) - 1 if text == "max" else int(text)
