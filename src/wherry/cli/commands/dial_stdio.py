"""`system dial-stdio`: our stdin and stdout as the daemon's socket, for `ssh://` endpoints."""

from __future__ import annotations

import os
import select

from wherry.cli.command import Command, Invocation
from wherry.cli.http import SHUT_WR
from wherry.cli.transport import connect
from wherry.console.streams import write_all

TYPE_CHECKING = False


def dial(call: Invocation) -> int:
    """Copies both ways until the daemon closes, or our reader has gone."""
    socket = connect(call.client.endpoint)
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    poll.register(call.streams.stdin, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == call.streams.stdin:
                data = os.read(fd, 1 << 16)
                if data:
                    socket.sendall(data)
                else:
                    poll.unregister(fd)
                    socket.shutdown(SHUT_WR)
                continue
            data = socket.recv(1 << 16)
            if not data:
                return 0
            write_all(call.streams.stdout, data)


DIAL = Command(usage="", action=dial)
