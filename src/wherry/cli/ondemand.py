"""Starts wherryd where nobody answers on our own socket and nobody chose another."""

from __future__ import annotations

import os

from wherry.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.console.streams import Streams

WAIT_S = 30.0
STEP_S = 0.01


def find_daemon(program: str) -> str:
    """The path of wherryd: beside our own script, otherwise on the PATH; empty when it is nowhere."""
    beside = os.path.join(os.path.dirname(os.path.realpath(program)), "wherryd")
    if os.access(beside, os.X_OK):
        return beside
    for folder in os.get_exec_path():
        if os.access(f"{folder}/wherryd", os.X_OK):
            return f"{folder}/wherryd"
    return ""


def start(socket_path: str, program: str, streams: Streams) -> bool:
    """Starts the daemon in a session of its own and waits until its socket answers.

    False when this is not for us (not root). Raises Unavailable with what wherryd said when it ended or did not answer in time.
    """
    if os.geteuid():
        return False
    daemon = find_daemon(program)
    if not daemon:
        raise Unavailable("no daemon answers, and wherryd is neither beside this program nor on the PATH")
    turn = _take_turn(socket_path)
    try:
        if not answers(socket_path):
            _start(daemon, socket_path, streams)
    finally:
        os.close(turn)
    return True


def _start(daemon: str, socket_path: str, streams: Streams) -> None:
    streams.error_line("wherry: starting wherryd")
    said = os.memfd_create("wherryd-stderr", os.MFD_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            daemon,
            [daemon, "--on-demand"],
            os.environ,
            setsid=True,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, said, 2)],
        )
        _wait(pid, socket_path, said)
    finally:
        os.close(null)
        os.close(said)


def _take_turn(socket_path: str) -> int:
    """A lock until the descriptor is closed: of two commands at the same moment one starts the daemon, the other finds it."""
    import fcntl

    lock = os.open(f"{socket_path}.starting", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _wait(pid: int, socket_path: str, said: int) -> None:
    import time

    deadline = time.monotonic() + WAIT_S
    while not answers(socket_path):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended and answers(socket_path):  # another one was faster
            return
        if ended or time.monotonic() > deadline:
            text = os.pread(said, 1 << 16, 0).decode("utf-8", "replace").strip()
            reason = (
                f"ended with exit code {os.waitstatus_to_exitcode(status)}" if ended else f"does not answer after {WAIT_S:.0f} s"
            )
            raise Unavailable(f"wherryd {reason}{': ' + text if text else ''}")
        time.sleep(STEP_S)


def answers(path: str) -> bool:
    """Whether somebody serves requests on the socket; one that only listens (a daemon that is still starting) does not count."""
    from _socket import socket

    one = socket(1, 1 | 0o2000000, 0)
    one.settimeout(STEP_S * 100)
    try:
        one.connect(path)
        one.sendall(b"HEAD /_ping HTTP/1.1\r\nHost: wherry\r\nConnection: close\r\n\r\n")
        return bool(one.recv(1))
    except OSError:
        return False
    finally:
        one.close()
