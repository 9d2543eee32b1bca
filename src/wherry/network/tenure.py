"""Who is the one wherryd of a bridge and of a firewall table, as long as it lives.

The claim is an abstract Unix socket: such names belong to a network namespace, as bridges and tables do, and the kernel
drops them with their process, however that ends (unix(7), «Abstract sockets»).
"""

from __future__ import annotations

import _socket
import errno

from wherry.errors import Conflict


class Tenure:
    """The claims of one daemon. Close it when the daemon ends."""

    def __init__(self) -> None:
        """Claims nothing yet."""
        self._sockets: list[_socket.socket] = []

    def claim(self, what: str, name: str) -> None:
        """Raises Conflict when another living daemon in this network namespace has it."""
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            sock.bind(f"\0wherryd/{what}/{name}".encode())
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise Conflict(f"the {what} {name} belongs to another wherryd that runs in this network namespace",
                           hint="give this one its own --bridge and table name") from error
        self._sockets.append(sock)

    def close(self) -> None:
        """Gives everything back. Idempotent."""
        while self._sockets:
            self._sockets.pop().close()
