"""An attached container or exec: connection, terminal, signals and window size together."""

from __future__ import annotations

from wherry.cli.attach.keys import DEFAULT, DetachFilter, parse_keys
from wherry.cli.attach.relay import Relay
from wherry.cli.command import CommandFailed
from wherry.console.signals import ENDING, PROXIED, WINCH, SignalWatch
from wherry.console.terminal import RawTerminal
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.client import Client
    from wherry.cli.command import Invocation
    from wherry.cli.http import Socket


class Detached(Exception):
    """The detach keys were typed."""


class Session:
    """What runs at the other end: `place` is `/containers/<id>` or `/exec/<id>`."""

    def __init__(
        self,
        call: Invocation,
        place: str,
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        proxy: bool = False,
    ) -> None:
        self._call = call
        self._client: Client = call.client
        self._place = place
        self._tty = tty
        self._stdin = call.streams.stdin if stdin else None
        self._outputs = (stdout, stderr)
        self._proxy = proxy and not tty
        self._raw = RawTerminal(call.streams.stdin) if tty and stdin and call.streams.stdin_is_terminal else None
        keys = detach_keys(call)
        self._keys = DetachFilter(parse_keys(keys or DEFAULT)) if tty and stdin else None
        self._resizing = False

    def _signal(self, number: int) -> None:
        if number == WINCH:
            self.resize()
        elif self._proxy:
            try:
                self._client.call("POST", f"{self._place}/kill", {"signal": number})
            except WherryError:  # the container was faster; docker does not say so either
                return
        else:
            raise CommandFailed("", 128 + number)

    def redraw(self) -> None:
        """Makes a program that runs already draw its screen again: a size that is one off, which the right one then follows."""
        self.resize(1)

    def resize(self, off: int = 0) -> bool:
        """Tells the other end how large this terminal is; false when it could not be told yet."""
        rows, columns = self._call.streams.size()
        if not rows and not columns:
            return True
        try:
            self._client.call("POST", f"{self._place}/resize", {"h": rows + off, "w": columns + off})
        except WherryError:
            return False
        return True

    def run(self, socket: Socket, early: bytes, start: Callable[[], Any] | None = None) -> None:
        """Relays until the other end is done. `start` is called when everything is in place; what it raises comes out.

        Raises Detached; CommandFailed for a signal that ends this program.
        """
        numbers = PROXIED if self._proxy else ENDING
        relay = Relay(
            self._call.streams,
            socket,
            early,
            framed=not self._tty,
            stdin=self._stdin,
            keys=self._keys,
            stdout=self._outputs[0],
            stderr=self._outputs[1],
        )
        watched = (*numbers, WINCH) if self._tty else numbers
        with SignalWatch(watched) as signals:
            if self._raw is not None:
                self._raw.__enter__()
            try:
                if start is not None:
                    start()
                if self._tty:
                    self._first_size()
                if not relay.run(signals, self._signal):
                    raise Detached
            finally:
                if self._raw is not None:
                    self._raw.restore()
                socket.close()

    def _first_size(self) -> None:
        """The size as soon as the process is there to be told; docker tries ten times as well."""
        import time

        for attempt in range(10):
            if self.resize():
                return
            time.sleep(0.01 * (attempt + 1))


def detach_keys(call: Invocation) -> str:
    """The keys of the option or of config.json; empty for docker's own. Raises CommandFailed."""
    keys = call.options.text("detach-keys") or call.config.text("detachKeys")
    if keys:
        try:
            parse_keys(keys)
        except WherryError as wrong:
            raise CommandFailed(f"invalid detach keys ({keys}): {wrong.message}") from None
    return keys
