"""The PID file: who is the daemon."""

from __future__ import annotations

import os

from wherry.daemon.dropin import running_pid
from wherry.errors import Conflict
from wherry.linux.file import replace


def write(path: str) -> None:
    """Raises Conflict when the file names a process that runs and is another."""
    pid = running_pid(path)
    if pid is not None and pid != os.getpid():
        raise Conflict(f"pid file found, ensure wherryd is not running or delete {path}: process with PID {pid} is still running")
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    replace(path, b"%d" % os.getpid(), 0o644)


def remove(path: str) -> None:
    """Removes our own; another daemon's stays."""
    try:
        with open(path) as file:
            if file.read().strip() == str(os.getpid()):
                os.unlink(path)
    except OSError:
        pass  # it is gone already
