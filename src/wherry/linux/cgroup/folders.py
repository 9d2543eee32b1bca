"""Folders of a cgroup hierarchy: making, listing and removing them, the same for both versions."""

from __future__ import annotations

import errno
import os
import time

from wherry import trace
from wherry.linux.cgroup.plan import read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def make(folder: str) -> bool:
    """Makes one folder; whether it was not there before. Raises FileNotFoundError without its parent."""
    trace.step("cgroup mkdir", folder)
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError:
        return False
    except PermissionError as error:
        raise OSError(error.errno, f"mkdir {folder}: {(error.strerror or '').lower()}", folder) from error
    return True


def may_make(folder: str) -> bool:
    """Whether the caller may make this folder, or use it where it is there: by the rights to the nearest that exists."""
    while not os.path.isdir(folder) and len(folder) > 1:
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK, effective_ids=True)


def below(folder: str) -> Iterator[str]:
    """The cgroup's folder and those below it, children before their parents; none if it is gone."""
    try:
        with os.scandir(folder) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for child in children:
        yield from below(child)
    yield folder


def processes(folder: str, recursive: bool) -> list[int]:
    """The pids in `cgroup.procs`, without those that the caller's pid namespace does not show (0)."""
    found = []
    for place in below(folder) if recursive else (folder,):
        try:
            text = read_file(f"{place}/cgroup.procs")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                continue
            if error.errno != errno.EOPNOTSUPP:  # a threaded cgroup: its processes are listed at the domain above
                raise
            text = read_file(f"{place}/cgroup.threads")
        found += [int(pid) for pid in text.split()]
    return [pid for pid in dict.fromkeys(found) if pid > 0]


def enter(folder: str, pid: int) -> None:
    """Moves a process in. A process that is just being made (EINVAL) is tried again for a short time."""
    path = f"{folder}/cgroup.procs"
    for attempt in range(6):
        try:
            write_file(path, str(pid))
            return
        except OSError as error:
            # The kernel refuses TASK_NEW; that passes within microseconds. A cgroup without processors stays refused.
            if error.errno != errno.EINVAL or attempt == 5:
                raise
            time.sleep(0.001 * 2**attempt)


def remove(folders: list[str], deadline_s: float) -> None:
    """Removes the folders with everything below, waiting until the monotonic time `deadline_s` for the dying to leave.

    Raises OSError EBUSY, with the folder, when it is still in use then.
    """
    for folder in folders:
        pause_s = 0.0005
        while True:
            try:
                trace.step("cgroup rmdir", folder)
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                    raise
                busy = error
            for child in below(folder):
                if child != folder:
                    try:
                        os.rmdir(child)
                    except OSError as error:
                        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT):
                            raise
            if time.monotonic() >= deadline_s:
                raise OSError(errno.EBUSY, f"still in use: {busy.strerror}", folder)
            # v1 tells nobody when a cgroup becomes empty, so this is the one place that has to look again and again.
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)


def send_signal(pids: list[int], signal: int) -> None:
    """A signal to each; those that ended meanwhile are fine."""
    for pid in pids:
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            pass
