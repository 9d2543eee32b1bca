"""Seccomp's notify: the descriptor of a filter with SCMP_ACT_NOTIFY goes to the agent that «listenerPath» names.

Once the filter is loaded, any call of the process may have to wait for the agent, also one that would send the descriptor. So the
process says beforehand which number the descriptor will have, loads, and waits; who made it takes it from outside and sends it:

    the process                                     who made it                              the agent
      LISTENER, number ────────────────────────────▶
      seccomp(2)                       pidfd_getfd(2), again and again until it is there
      ◀──────────────────────────────────── TAKEN
      goes on; calls that notify wait                the pid is known: state, descriptor ───▶ answers

Sources: runtime-spec, «The Container Process State»; seccomp_unotify(2).
"""

from __future__ import annotations

import errno
import os
import select

from wherry.linux import process, unixsocket
from wherry.oci import jsontext
from wherry.runtime import channel
from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.seccomp import Program
    from wherry.oci.runtime import State
    from wherry.runtime.container import Init

_START = "unable to start container process: "
_AGAIN_MS = 1


def agent_of(section: Mapping[str, Any]) -> tuple[str, str]:
    """(path of the agent's socket, what it is told besides) of a profile that notifies. StartFailed when it names no agent."""
    path = section.get("listenerPath") or ""
    if not path:
        raise StartFailed(f"{_START}listenerPath is not set")
    return path, section.get("listenerMetadata") or ""


def load_and_wait(program: Program, connection: _socket.socket) -> None:
    """In the process: loads the filter and returns when its descriptor was taken; it is closed by exec."""
    from wherry.linux.seccomp.loader import load

    number = os.open("/", os.O_PATH | os.O_CLOEXEC)  # the lowest that is free: the next one opened has it again
    os.close(number)
    channel.tell(connection, channel.LISTENER + str(number).encode())
    load(program)
    channel.expect(connection, channel.TAKEN, "the creator is gone")


def pass_on(init: Init, agent: tuple[str, str], told: State) -> None:
    """In the creator: the init loads its filter, and the agent gets the descriptor. StartFailed when one of them does not."""
    assert init.channel is not None
    handover = Handover(agent, told.replace(status="creating"))
    try:
        word, _ = channel.hear(init.channel, channel.LISTENER, "the init ended before its filter was loaded")
        handover.take(init.channel, word, init.pid, init.pidfd)
        handover.send(init.pid)
    finally:
        handover.close()


class Handover:
    """A descriptor on its way to the agent, which is connected to at once.

    StartFailed when the agent cannot be reached.
    """

    def __init__(self, agent: tuple[str, str], state: State) -> None:
        self._path, self._metadata = agent
        self._state = state
        self._taken: tuple[int, int] | None = None  # the descriptor, the pid of who had it
        self._done = False
        try:
            self._agent = unixsocket.connect(self._path, unixsocket.SOCK_STREAM)
        except OSError as error:
            reason = f"profile: dial unix {self._path}: connect: {(error.strerror or '').lower()}"
            raise StartFailed(f"{_START}failed to connect with seccomp agent specified in the seccomp {reason}") from error

    def take(self, connection: _socket.socket, word: bytes, pid: int, pidfd: int) -> None:
        """After the word LISTENER: takes the descriptor from the process, and tells it to go on. Nothing when it has ended."""
        self._done = True
        number = int(word[1:])
        gone = select.poll()
        gone.register(pidfd, select.POLLIN)
        while self._taken is None:
            try:
                self._taken = process.pidfd_getfd(pidfd, number), pid
            except ProcessLookupError:
                return
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise StartFailed(f"{_START}cannot take the seccomp listener: {(error.strerror or '').lower()}") from error
                if gone.poll(_AGAIN_MS):
                    return  # it will have said why
        channel.tell(connection, channel.TAKEN)

    def serve(
        self, connection: _socket.socket, word: bytes, holder: tuple[int, int], pid: int
    ) -> StartFailed | None:
        """What is to be done before the next word of a further process is heard; what went wrong, after which calls do not wait.

        `word` is LISTENER once it was said, `holder` (pid, pidfd) who said it, `pid` the process once it is known (else 0).
        """
        try:
            if word and holder[1] >= 0 and not self._done:
                self.take(connection, word, *holder)
            if pid:
                self.send(pid)
            self._wait(connection)
        except StartFailed as error:
            self.close()
            return error
        return None

    def _wait(self, connection: _socket.socket) -> None:
        """Returns when the process has said something. Should it have to wait for the agent before it can, the agent is asked."""
        if self._taken is None:
            return
        poll = select.poll()
        for fd in (connection.fileno(), self._taken[0]):
            poll.register(fd, select.POLLIN)
        if connection.fileno() not in dict(poll.poll()):
            self.send(self._taken[1])

    def send(self, pid: int) -> None:
        """Sends what was taken, once, as that of the process `pid`. StartFailed when the agent does not listen."""
        if self._taken is None:
            return
        told = {"ociVersion": self._state.oci_version, "fds": ["seccompFd"], "pid": pid, "metadata": self._metadata,
                "state": self._state.to_json()}
        try:
            unixsocket.send(self._agent, jsontext.dumps(told).encode(), (self._taken[0],))
        except OSError as error:
            raise StartFailed(f"{_START}cannot send seccomp fd to {self._path}: {(error.strerror or '').lower()}") from error
        finally:
            self.close()  # the end is how an agent knows that it has read all

    def close(self) -> None:
        """Lets go of the agent, and of a descriptor that was not sent: calls that wait for it fail then."""
        self._agent.close()
        if self._taken is not None:
            os.close(self._taken[0])
        self._taken = None
