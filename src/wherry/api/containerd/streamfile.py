"""An archive on a client's stream, as a file to read and as one to write, for threads.

A stream carries pieces (Data) one way and grants (WindowUpdate) the other way: whoever sends may send as many bytes as it was
granted. Numbers as containerd's clients have them: pieces of at most 32 KiB, granted 64 KiB at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.api.containerd.exchange import packed_any
from wherry.errors import Cancelled, InvalidArgument
from wherry.proto.transfer_pb2 import Data, WindowUpdate

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any

    from wherry.api.containerd.streaming import Stream
    from wherry.api.containerd.threadwork import Work

_PIECE = 32 << 10
_WINDOW = 2 * _PIECE


class Received:
    """What the client sends, until it says that there is no more."""

    def __init__(self, stream: Stream, work: Work) -> None:
        self._stream, self._work = stream, work
        self._granted = 0
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """So many bytes (-1: all), fewer at the end. Raises Cancelled."""
        found, length = [self._rest], len(self._rest)
        while (size < 0 or length < size) and (piece := self._next()):
            found.append(piece)
            length += len(piece)
        whole = b"".join(found)
        end = len(whole) if size < 0 else size
        self._rest = whole[end:]
        return whole[:end]

    def close(self) -> None:
        """The client's call ends."""
        self._work.ask(self._stream.close())

    def _next(self) -> bytes:
        """The next piece; b"" at the end."""
        while True:
            if self._granted < _WINDOW:
                self._work.ask(self._stream.send(packed_any(WindowUpdate(update=_WINDOW))))
                self._granted += _WINDOW
            message = self._work.ask(self._stream.receive())
            if message is None:
                return b""
            if _is(message, Data):
                data = Data.FromString(message.value).data
                self._granted -= len(data)
                if data:
                    return data


class Sent:
    """What the client is to receive."""

    def __init__(self, stream: Stream, work: Work) -> None:
        self._stream, self._work = stream, work
        self._granted = 0

    def write(self, data: bytes) -> int:
        """Sends it, as fast as the client grants. Raises Cancelled when it has gone."""
        at = 0
        while at < len(data):
            while self._granted <= 0:
                self._granted += self._grant()
            piece = data[at:at + min(_PIECE, self._granted)]
            self._work.ask(self._stream.send(packed_any(Data(data=piece))))
            self._granted -= len(piece)
            at += len(piece)
        return len(data)

    def close(self) -> None:
        """Nothing more comes."""
        self._work.ask(self._stream.close())

    def _grant(self) -> int:
        message = self._work.ask(self._stream.receive())
        if message is None:
            raise Cancelled("the client receives no more of the stream")
        if not _is(message, WindowUpdate):
            raise InvalidArgument(f"unexpected stream object of type {message.type_url}: invalid argument")
        return WindowUpdate.FromString(message.value).update


def _is(message: Any, kind: type[Data | WindowUpdate]) -> bool:
    return message.type_url.rpartition("/")[2] == kind.DESCRIPTOR.full_name
