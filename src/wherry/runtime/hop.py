"""What the last hop of a cold start does: waits for `start`, or forks into the pid namespace, then executes the program."""

from __future__ import annotations

import errno
import os

from wherry.linux import process
from wherry.linux.namespace import CLONE_PARENT
from wherry.runtime import channel, lookup
from wherry.runtime.become import filter_is_late
from wherry.runtime.lasthop import Hop, execute_hop, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from wherry.runtime.program import ProgramPlan

_TITLE = ("wherry-runc", "init")
_TIOCSCTTY = 0x540E
_F_SETFD, _FD_CLOEXEC = 2, 1
_SECCOMP_SET_MODE_FILTER = 1
# What execve(2) may answer for a program that was found; the rest is told as «exec <path>: failed».
_EXEC_ERRORS = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOMEM, errno.EPERM, errno.E2BIG, errno.ELOOP, errno.ETXTBSY,
                errno.EINVAL, errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ELIBBAD)


def wait_and_execute(plan: ProgramPlan, executable: str, environment: Mapping[str, str], fifo_fd: int) -> NoReturn:
    """The init of a cold start: one byte on the fifo is the word to go. Never returns."""
    late = filter_is_late(plan)
    hop = Hop(3 + late)
    ended = hop.put_failures([(0, 2, b"", 1)])
    hop.step("read", fifo_fd, hop.put(b"\0" * 8), 1, failures=ended)
    hop.step("close", fifo_fd)
    _finish(hop, plan, executable, environment)
    _go(hop, fifo_fd)


def fork_and_execute(
    plan: ProgramPlan, executable: str, environment: Mapping[str, str], channel_fd: int, fifo_fd: int = -1
) -> NoReturn:
    """The hop forks into the pid namespace, tells the pid («p» and eight bytes), executes there.

    A further process of a cold start; or with `fifo_fd` ≥ 0 the init of a container that joins a pid namespace: it waits on
    the fifo first, and this process for the end of the channel.
    """
    waits = fifo_fd >= 0
    told = 2 + waits  # the steps of the parent
    steps = 4 + filter_is_late(plan) + plan.terminal + 3 * waits + told
    hop = Hop(steps)
    ended = hop.put_failures([(0, 2, b"", 1)])
    message = hop.put(b"\0" * 7 + channel.HOP_PID + b"\0" * 8) + 7
    # Without its descriptor (a script of the container that executes /proc/self/exe) the first step fails.
    hop.step("fcntl", channel_fd, _F_SETFD, _FD_CLOEXEC, failures=ended)
    hop.step("clone", CLONE_PARENT, 0, 0, 0, 0, store=message + 1, positive=hop.address_of_step(steps - told), failures=ended)
    hop.step("setsid")
    if plan.terminal:
        hop.step("ioctl", 0, _TIOCSCTTY, 0)
    if waits:
        hop.step("close", channel_fd)
        hop.step("read", fifo_fd, hop.put(b"\0" * 8), 1, failures=ended)
        hop.step("close", fifo_fd)
    _finish(hop, plan, executable, environment)
    hop.step("write", channel_fd, message, 9)  # the parent goes on here
    if waits:
        hop.step("read", channel_fd, message, 1)
    hop.step("exit_group", 0)
    _go(hop, channel_fd, *((fifo_fd,) if waits else ()))


def _finish(hop: Hop, plan: ProgramPlan, executable: str, environment: Mapping[str, str]) -> None:
    """The late filter and execve: the end of both lists."""
    if filter_is_late(plan):
        assert plan.seccomp is not None
        import struct

        instructions = hop.put(plan.seccomp.filter)
        program = hop.put(struct.pack("HxxxxxxQ", len(plan.seccomp.filter) // 8, instructions))
        refused = hop.put_failures([(0, 2, b"loading the seccomp filter failed\n", 1)])
        hop.step("seccomp", _SECCOMP_SET_MODE_FILTER, plan.seccomp.flags, program, failures=refused)
    lines = [(code, 2, lookup.exec_failed(executable, code), 1) for code in _EXEC_ERRORS]
    lines.append((0, 2, os.fsencode(f"exec {executable}: failed\n"), 1))
    arguments = hop.put_strings([os.fsencode(text) for text in plan.args])
    variables = hop.put_strings([os.fsencode(f"{name}={value}") for name, value in environment.items()])
    hop.step("execve", hop.put(os.fsencode(executable) + b"\0"), arguments, variables, failures=hop.put_failures(lines))


def _go(hop: Hop, *kept: int) -> NoReturn:
    image = seal(hop.image())
    for fd in kept:
        os.set_inheritable(fd, True)
    process.reset_signals()
    execute_hop(image, _TITLE, {})
