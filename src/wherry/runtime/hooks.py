"""Hooks: programs that run at points of a container's life, with its state on their standard input.

runtime-spec, «POSIX-platform Hooks». Those of the host are children of whoever runs them; a startContainer hook is a program of
the container, and runs as its user, with its rights and in its cgroups: who makes such a process says how (`Launch`).
"""

from __future__ import annotations

import os
import select  # with this module, before a container is entered: in there nothing is imported

from wherry.linux import process
from wherry.oci import jsontext
from wherry.runtime.container import StartFailed
from wherry.runtime.lookup import merge_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from wherry.oci.runtime import Hook, State

    # Starts a hook with these three descriptors; returns its pidfd, whose process is the caller's child. OSError, StartFailed.
    Launch = Callable[[Hook, tuple[int, int, int]], int]

_TOLD = 4096  # bytes of a hook's output in a message


class HookFailed(StartFailed):
    """A hook could not be run, ended with a status other than 0, or took too long."""


def run_hooks(name: str, hooks: tuple[Hook, ...], state: State, launch: Launch | None = None) -> None:
    """Runs the hooks of one point in order. HookFailed from the first that fails; the others are not run then.

    Without `launch` they are programs of the host that begin in the bundle, with the caller's environment where they name none.
    """
    launch = launch or host_launcher(os.environ, state.bundle)
    for number, hook in enumerate(hooks):
        try:
            _run(hook, state, launch)
        except OSError as error:
            reason = f"fork/exec {hook.path}: {(error.strerror or '').lower()}"
            raise HookFailed(_where(name, number) + reason) from error
        except StartFailed as failed:
            raise HookFailed(_where(name, number) + failed.message) from failed


def run_every_hook(name: str, hooks: tuple[Hook, ...], state: State) -> tuple[str, ...]:
    """Runs all hooks of one point, also after one has failed; returns what went wrong."""
    failures = []
    launch = host_launcher(os.environ, state.bundle)
    for number, hook in enumerate(hooks):
        try:
            _run(hook, state, launch)
        except OSError as error:
            failures.append(f"{_where(name, number)}fork/exec {hook.path}: {(error.strerror or '').lower()}")
        except StartFailed as failed:
            failures.append(_where(name, number) + failed.message)
    return tuple(failures)


def host_launcher(environment: Mapping[str, str], folder: str) -> Launch:
    """Runs hooks as children of this process, in `folder` ("": where it is), with `environment` where they name none."""

    def launch(hook: Hook, stdio: tuple[int, int, int]) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
            if pid == 0:
                _become(hook, stdio, environment if hook.env is None else merge_environment(hook.env), folder, writer)
            os.close(writer)
            writer = -1
            pidfd = process.pidfd_open(pid)
            if code := os.read(reader, 4):  # nothing: exec has happened
                process.reap(pidfd)
                os.close(pidfd)
                number = int.from_bytes(code, "little")
                raise OSError(number, os.strerror(number), hook.path)
            return pidfd
        finally:
            for fd in (reader, writer):
                if fd >= 0:
                    os.close(fd)

    return launch


def _where(name: str, number: int) -> str:
    """How a failure begins: as runc 1.2 says it, which names the kind, and as runc 1.1 does; callers look for either."""
    start = "" if name.startswith("post") else "unable to start container process: error during container init: "
    return f"{start}error running {name} hook #{number}: error running hook #{number}: "


def _run(hook: Hook, state: State, launch: Launch) -> None:
    """Runs one hook to its end. StartFailed with how it ended, when that was not well."""
    fds = tuple(os.memfd_create("hook", os.MFD_CLOEXEC) for _ in range(3))
    told, output, errors = fds
    try:
        os.write(told, jsontext.dumps(state.to_json()).encode())
        os.lseek(told, 0, os.SEEK_SET)
        pidfd = launch(hook, (told, output, errors))
        try:
            if not _has_ended(pidfd, hook.timeout):
                process.pidfd_send_signal(pidfd, 9)
                process.reap(pidfd)
                raise StartFailed(f"hook ran past specified timeout of {hook.timeout:.1f}s")
            code = process.reap(pidfd) or 0
        finally:
            os.close(pidfd)
            _keep(state.annotations.get("run.oci.hooks.stdout"), output)
            _keep(state.annotations.get("run.oci.hooks.stderr"), errors)
        if code:
            said = ", ".join(f"{what}: {os.pread(fd, _TOLD, 0).decode(errors='replace')}"
                             for what, fd in (("stdout", output), ("stderr", errors)))
            raise StartFailed(f"{process.describe_end(code)}, {said}")
    finally:
        for fd in fds:
            os.close(fd)


def _keep(path: str | None, fd: int) -> None:
    """Appends what a hook said to the file that an annotation of crun's names, if there is one."""
    if not path:
        return
    kept = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        while part := os.read(fd, 1 << 16):
            os.write(kept, part)
    finally:
        os.close(kept)


def _has_ended(pidfd: int, timeout_s: int | None) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


def _become(hook: Hook, stdio: tuple[int, int, int], environment: Mapping[str, str], folder: str, writer: int) -> NoReturn:
    """In the child: the hook; the number of an error goes to `writer`."""
    try:
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        process.close_on_exec_from(3)
        process.reset_signals()
        try:
            os.chdir(folder or ".")
        except OSError:
            pass  # the bundle may be gone by now, or out of reach for the root of a user namespace
        os.execve(hook.path, list(hook.args) or [hook.path], environment)
    except OSError as error:
        os.write(writer, (error.errno or 0).to_bytes(4, "little"))
    finally:
        os._exit(127)
