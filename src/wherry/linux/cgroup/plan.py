"""The plan's one kind of step, a value for a control file, and the loop that applies such steps."""

from __future__ import annotations

import errno
import os

from wherry import trace
from wherry.errors import InvalidArgument
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Step(Record):
    """Writes `value` into `file` of the controller's folder (on v2 there is one folder; `controller` says who serves the file).

    `otherwise` is tried where the kernel does not have `file`, as (file, value). `if_present`: where neither exists, the step
    is passed over; only for values that say what absence means anyway. `may_wait`: the kernel compares it with a value of
    another step (memory with swap, quota with period), so whether it comes before or after depends on what is there now:
    when it is refused, it is tried once more after the others.
    """

    controller: str
    file: str
    value: str
    otherwise: tuple[str, str] | None = None
    if_present: bool = False
    may_wait: bool = False

    def __str__(self) -> str:
        return f"{self.file} = {self.value}"


def apply(steps: Iterable[Step], folder_of: Callable[[str], str | None]) -> None:
    """Does the steps. `folder_of` names a controller's folder, None where the machine does not have the controller.

    Raises InvalidArgument for a limit without a controller, OSError for one that the kernel refuses; earlier steps stay done.
    """
    waiting = []
    for step in steps:
        folder = folder_of(step.controller)
        if folder is None:
            if step.if_present:
                continue
            raise InvalidArgument(f"cannot set {step.controller} limit: container could not join or create cgroup")
        try:
            _write(folder, step)
        except OSError as error:
            if not step.may_wait or error.errno not in (errno.EINVAL, errno.EBUSY):
                raise
            waiting.append((folder, step))
    for folder, step in waiting:
        _write(folder, step)


def _write(folder: str, step: Step) -> None:
    try:
        write_file(f"{folder}/{step.file}", step.value)
    except FileNotFoundError:
        if step.otherwise is not None:
            write_file(f"{folder}/{step.otherwise[0]}", step.otherwise[1])
        elif not step.if_present or not os.path.isdir(folder):
            raise


def write_file(path: str, value: str) -> None:
    """Writes a control file with one write(2). Raises OSError with the file and the value tried, in runc's words."""
    trace.step("cgroup write", f"{path} = {value}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, f"openat2 {path}: {(error.strerror or '').lower()}", path) from None
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, f'failed to write "{value}": write {path}: {(error.strerror or "").lower()}', path) from None
    finally:
        os.close(fd)


def read_file(path: str) -> str:
    """The text of a control file. Raises OSError with the file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    parts = []
    try:
        while part := os.read(fd, 1 << 16):
            parts.append(part)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)
    return b"".join(parts).decode(errors="surrogateescape")


def read_optional(path: str) -> str:
    """The text of a control file; empty where the kernel does not have it (ENOENT), or it has no value (ENODEV, EOPNOTSUPP)."""
    try:
        return read_file(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise
