"""Watching files for changes: inotify(7), as far as a descriptor that becomes readable is wanted."""

from __future__ import annotations

import os

from wherry.linux import syscall

IN_MODIFY = 0x02


def watch(path: str, mask: int = IN_MODIFY) -> int:
    """A non-blocking, close-on-exec descriptor, the caller's to close, that is readable after `path` changed.

    Reading it takes the notices away. Raises OSError (ENOENT: no such file; EMFILE, ENOSPC: the user's limits).
    """
    descriptor = syscall.call("inotify_init1", path, os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        syscall.call("inotify_add_watch", path, descriptor, os.fsencode(path) + b"\0", mask)
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, error.strerror, path) from error
    return descriptor
