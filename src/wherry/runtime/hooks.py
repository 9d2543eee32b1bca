"""Hooks: programs of the host that run at points of a container's life, with its state on their standard input.

runtime-spec, «POSIX-platform Hooks».
"""

from __future__ import annotations

import os

from wherry.errors import WherryError
from wherry.linux import process
from wherry.oci import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Hook, State


class HookFailed(WherryError):
    """A hook ended with a status other than 0, or took too long."""


def run_hooks(name: str, hooks: tuple[Hook, ...], state: State) -> None:
    """Runs the hooks of one point in order. HookFailed from the first that fails; the others are not run then."""
    if not hooks:
        return
    document = jsontext.dumps(state.to_json()).encode()
    for number, hook in enumerate(hooks):
        _run(f"error running {name} hook #{number}", hook, document, state.bundle)


def _run(place: str, hook: Hook, document: bytes, folder: str) -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    errors_fd = os.memfd_create("hook", os.MFD_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            _become(hook, reader, null, errors_fd, folder)
        pidfd = process.pidfd_open(pid)
        try:
            os.close(reader)
            reader = -1
            try:
                os.write(writer, document)
            except BrokenPipeError:
                pass  # it does not want to know
            os.close(writer)
            writer = -1
            if not _wait(pidfd, hook.timeout):
                process.pidfd_send_signal(pidfd, 9)
                process.reap(pidfd)
                raise HookFailed(f"{place}: hook timed out after {hook.timeout} seconds")
            code = process.reap(pidfd)
        finally:
            os.close(pidfd)
        if code:
            told = os.pread(errors_fd, 4096, 0).decode(errors="replace")
            status = f"exit status {code}" if code < 128 else f"signal {code - 128}"
            raise HookFailed(f"{place}: {status}, stdout: , stderr: {told}")
    finally:
        for fd in (reader, writer, errors_fd, null):
            if fd >= 0:
                os.close(fd)


def _become(hook: Hook, reader: int, null: int, errors_fd: int, folder: str) -> None:
    try:
        os.dup2(reader, 0)
        os.dup2(null, 1)
        os.dup2(errors_fd, 2)
        process.close_on_exec_from(3)
        process.reset_signals()
        try:
            os.chdir(folder)
        except OSError:
            pass  # a createContainer hook still sees the bundle, a startContainer hook does not
        environment = dict(entry.partition("=")[::2] for entry in hook.env)
        os.execve(hook.path, list(hook.args) or [hook.path], environment)
    except OSError as error:
        os.write(2, f"exec {hook.path}: {(error.strerror or '').lower()}".encode())
    finally:
        os._exit(127)


def _wait(pidfd: int, timeout_s: int | None) -> bool:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
