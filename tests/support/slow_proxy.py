"""A TCP proxy on loopback in front of a server: counts what passes, slows it down, cuts connections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class SlowProxy:
    """Counts the bytes `sent` to the server and `received` from it.

    `rate` is bytes a second for each connection and direction (0: no limit); `cut_after` bytes that came back a connection is closed; `dead`: at once.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.sent = 0
        self.received = 0
        self.rate = 0
        self.cut_after = 0
        self.dead = False
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
            threading.Thread(target=self._bring_back, args=(server, client), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                self.sent += len(data)
                sink.sendall(data)
                self._wait(data)
            sink.shutdown(socket.SHUT_WR)

    def _wait(self, data: bytes) -> None:
        if self.rate:
            time.sleep(len(data) / self.rate)

    def _bring_back(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 14):
                if self.dead:
                    break
                self.received += len(data)
                passed += len(data)
                client.sendall(data)
                if self.cut_after and passed >= self.cut_after:
                    self.cuts += 1
                    break
                self._wait(data)
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextlib.contextmanager
def slow_proxy(host: str, port: int) -> Iterator[SlowProxy]:
    """Runs for the length of the block."""
    one = SlowProxy((host, port))
    try:
        yield one
    finally:
        one.listener.close()
