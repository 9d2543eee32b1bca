"""HTTP/1.1 for a client of the Engine API: bodies of any length, streamed answers, the take-over of the connection."""

from __future__ import annotations

from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Protocol

    class Socket(Protocol):
        """What is used of a socket; Unix, TCP and TLS sockets and the pipe of a program have it."""

        def sendall(self, data: bytes | memoryview, /) -> None:
            """Sends everything."""

        def send(self, data: bytes, flags: int, /) -> int:
            """Sends what fits (TLS has `send_some` for this)."""

        def recv(self, size: int, /) -> bytes:
            """Receives at most `size` bytes."""

        def fileno(self) -> int:
            """The descriptor."""

        def shutdown(self, how: int, /) -> None:
            """Closes one direction."""

        def close(self) -> None:
            """Closes it."""


SHUT_WR = 1
HEADER_LIMIT = 1 << 20
PIECE = 1 << 16


class ProtocolError(WherryError):
    """The other side does not speak HTTP, or stopped in the middle."""


class Response:
    """An answer whose body is still on the way. Header names are in lower case."""

    def __init__(self, connection: Connection, status: int, reason: str, headers: dict[str, str], *, empty: bool) -> None:
        self.connection = connection
        self.status = status
        self.reason = reason
        self.headers = headers
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self._left = 0 if empty else None if self._chunked or length is None else int(length)
        self.ended = False
        if self._left == 0:
            self._end()

    def _end(self) -> None:
        self.ended = True
        if self.headers.get("connection", "").lower() == "close":
            self.connection.close()
        else:
            self.connection.busy = False

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives, piece by piece. Raises ProtocolError when it is cut off."""
        while not self.ended:
            piece = self._chunk() if self._chunked else self._plain()
            if piece:
                yield piece

    def _plain(self) -> bytes:
        connection = self.connection
        piece = connection.take_some(PIECE if self._left is None else min(PIECE, self._left))
        if not piece:
            if self._left:
                raise ProtocolError("unexpected EOF")
            self.ended = True
            connection.close()
        elif self._left is not None:
            self._left -= len(piece)
            if not self._left:
                self._end()
        return piece

    def _chunk(self) -> bytes:
        connection = self.connection
        if not self._left:
            size = connection.take_line().split(b";")[0].strip()
            try:
                self._left = int(size, 16)
            except ValueError:
                raise ProtocolError("unexpected EOF" if not size else f"invalid chunk size {size!r}") from None
            if not self._left:
                while connection.take_line():
                    pass
                self._end()
                return b""
        piece = connection.take_some(min(PIECE, self._left))
        if not piece:
            raise ProtocolError("unexpected EOF")
        self._left -= len(piece)
        if not self._left:
            connection.take_line()
        return piece

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def values(self) -> Iterator[Any]:
        """The JSON values of a streamed body, one after the other."""
        from wherry.cli.jsontext import loads

        held = b""
        for piece in self.pieces():
            held += piece
            *lines, held = held.split(b"\n")
            for line in lines:
                if line.strip():
                    yield loads(line)
        if held.strip():
            yield loads(held)


class Connection:
    """One socket, one request at a time. `busy` says that an answer is still being read."""

    def __init__(self, socket: Socket, host: str) -> None:
        self.socket = socket
        self.host = host
        self.busy = False
        self.closed = False
        self._held = bytearray()

    def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None = None
    ) -> Response:
        """Sends a request and reads the head of its answer. An iterator as body is sent in chunks."""
        self.busy = True
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
        elif body is not None:
            lines.append("Transfer-Encoding: chunked")
        elif method in ("POST", "PUT"):
            lines.append("Content-Length: 0")
        head = "\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape")
        if isinstance(body, bytes):
            self.socket.sendall(head + body)
        else:
            self.socket.sendall(head)
            if body is not None:
                self._send_chunks(body)
        return self._answer(method)

    def _send_chunks(self, body: Iterator[bytes]) -> None:
        try:
            for piece in body:
                if piece:
                    self.socket.sendall(b"%x\r\n" % len(piece))
                    self.socket.sendall(piece)
                    self.socket.sendall(b"\r\n")
            self.socket.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # the daemon answered early and closed; its answer says why

    def _answer(self, method: str) -> Response:
        while True:
            first = self.take_line()
            parts = first.split(b" ", 2)
            if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
                raise ProtocolError("EOF" if not first else f"malformed HTTP response {first[:40].decode('latin-1')!r}")
            status = int(parts[1])
            headers: dict[str, str] = {}
            while line := self.take_line():
                name, _, value = line.decode("utf-8", "replace").partition(":")
                headers[name.strip().lower()] = value.strip()
            if status == 100:
                continue
            reason = parts[2].decode("latin-1") if len(parts) > 2 else ""
            empty = method == "HEAD" or status in (101, 204, 304)
            return Response(self, status, reason, headers, empty=empty and status != 101)

    def take_line(self) -> bytes:
        """A line without its end; empty at the end of the stream too."""
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > HEADER_LIMIT:
                raise ProtocolError("header line too long")
            piece = self.socket.recv(PIECE)
            if not piece:
                return b""
            self._held += piece
        line = bytes(self._held[:end]).rstrip(b"\r")
        del self._held[: end + 1]
        return line

    def take_some(self, most: int) -> bytes:
        """At least one byte and at most `most`; empty at the end of the stream."""
        if self._held:
            piece = bytes(self._held[:most])
            del self._held[: len(piece)]
            return piece
        return self.socket.recv(most)

    def take_over(self) -> tuple[Socket, bytes]:
        """The socket, and the bytes that came behind the head. The connection is not to be used any more."""
        early, self._held = bytes(self._held), bytearray()
        self.closed = True
        return self.socket, early

    def close(self) -> None:
        """Closes the socket."""
        if not self.closed:
            self.closed = True
            self.socket.close()
