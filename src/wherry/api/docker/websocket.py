"""The framing of `attach/ws`, by wsproto: messages in, bytes out, and the other way round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.events import Request as UpgradeRequest
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from wherry.api.docker.http import Request


class WebSocket:
    """One WebSocket, server's side, after HTTP was read by somebody else. Raises InvalidArgument for no handshake."""

    def __init__(self, request: Request, *, text: bool) -> None:
        self._text = text
        self._wire = WSConnection(ConnectionType.SERVER)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        try:
            self._wire.initiate_upgrade_connection(headers, request.path.encode("latin-1", "replace").decode("latin-1"))
        except RemoteProtocolError as error:
            raise InvalidArgument(f"bad WebSocket handshake: {error}") from error
        self._asked = next((event for event in self._wire.events() if isinstance(event, UpgradeRequest)), None)
        if self._asked is None:
            raise InvalidArgument("bad WebSocket handshake: no request")

    def accept(self) -> bytes:
        """The head of the answer."""
        return bytes(self._wire.send(AcceptConnection()))

    def from_client(self, data: bytes) -> tuple[list[bytes], list[bytes], bool]:
        """Frames to bytes; pings and closings are answered."""
        chunks: list[bytes] = []
        replies: list[bytes] = []
        ended = False
        try:
            self._wire.receive_data(data or b"")
            for event in self._wire.events():
                if isinstance(event, TextMessage):
                    chunks.append(event.data.encode())
                elif isinstance(event, BytesMessage):
                    chunks.append(bytes(event.data))
                elif isinstance(event, Ping):
                    replies.append(self._wire.send(event.response()))
                elif isinstance(event, CloseConnection):
                    replies.append(self._wire.send(event.response()))
                    ended = True
        except (RemoteProtocolError, LocalProtocolError):
            ended = True
        return chunks, replies, ended

    def to_client(self, data: bytes) -> bytes:
        """One message for each piece. Text (API before 1.28) cannot carry what is no UTF-8: that is replaced."""
        try:
            if self._text:
                return bytes(self._wire.send(TextMessage(data=data.decode("utf-8", "replace"))))
            return bytes(self._wire.send(BytesMessage(data=data)))
        except LocalProtocolError:
            return b""  # the client has closed the WebSocket already

    def end(self) -> bytes:
        """A normal closing, 1000."""
        try:
            return bytes(self._wire.send(CloseConnection(code=1000)))
        except LocalProtocolError:
            return b""  # both sides have said so already
