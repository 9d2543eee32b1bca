"""TLS between a socket and a `Connection`, with half-close.

asyncio's own TLS transport closes altogether when the peer says close_notify. Attach needs more: a client that ends
its input (`echo x | docker run -i … cat`) still wants the output (RFC 8446 section 6.1 allows it).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HANDSHAKE_SECONDS = 10.0
READ_BYTES = 256 << 10

log = logging.getLogger("wherry.api")


class Tls(asyncio.Protocol):
    """A protocol for the socket below, a transport for the protocol above, which is made after the handshake."""

    def __init__(self, context: ssl.SSLContext, above: Callable[[], asyncio.Protocol]) -> None:
        self._make_above = above
        self._above: asyncio.Protocol | None = None
        self._raw: asyncio.Transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_paused = False
        self._is_ended = False
        self._has_said_eof = False
        self._timer: asyncio.TimerHandle | None = None

    # -- a protocol for the socket

    def connection_made(self, transport: Any) -> None:
        """A client has connected; the handshake begins."""
        self._raw = transport
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Cipher text."""
        self._incoming.write(data)
        self._step()

    def eof_received(self) -> bool:
        """The peer's socket is closed or half-closed; without a close_notify it is the former."""
        if self._above is None or self._is_ended:
            return self._is_ended
        self._is_ended = True
        return bool(self._above.eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._stop_timer()
        if self._above is not None:
            self._above.connection_lost(error)

    def pause_writing(self) -> None:
        """Passed on."""
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Passed on."""
        if self._above is not None:
            self._above.resume_writing()

    def _step(self) -> None:
        try:
            if self._above is None:
                self._tls.do_handshake()
                self._flush()
                self._stop_timer()
                self._above = self._make_above()
                self._above.connection_made(self)  # type: ignore[arg-type]
            while not self._is_paused and not self._is_ended and not self._raw.is_closing():
                data = self._tls.read(READ_BYTES)
                if not data:
                    raise ssl.SSLZeroReturnError
                self._above.data_received(data)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLZeroReturnError:
            self._end()
        except ssl.SSLError as error:
            self._flush()  # the alert that says why
            log.info("TLS handshake error from %s: %s", self._raw.get_extra_info("peername"), error.reason or error)
            self._raw.close()

    def _end(self) -> None:
        self._is_ended = True
        if self._above is not None and not self._above.eof_received():
            self.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- a transport for the protocol above

    def write(self, data: bytes) -> None:
        """Encrypts and sends. After `write_eof` there is nobody to send to."""
        if data and not self._has_said_eof and not self._raw.is_closing():
            self._tls.write(data)
            self._flush()

    def write_eof(self) -> None:
        """Says close_notify."""
        if not self._has_said_eof and not self._raw.is_closing():
            self._has_said_eof = True
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # the peer has not said it yet, or is gone
            self._flush()

    def close(self) -> None:
        """Says close_notify and closes once all is sent."""
        self.write_eof()
        self._raw.close()

    def abort(self) -> None:
        """Closes now."""
        self._raw.abort()

    def is_closing(self) -> bool:
        """Whether the socket is closing."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """Stops at the next record."""
        if not self._is_paused:
            self._is_paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Goes on, first with what is decrypted already."""
        if self._is_paused:
            self._is_paused = False
            if not self._raw.is_closing():
                self._raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._step)

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """Who is told from now on."""
        self._above = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of the cipher text."""
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object` is this connection's; the rest is the socket's."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)
