"""Docker's multiplexed stream: stdout and stderr in frames on one connection.

     0        1   2   3   4           8
     ┌────────┬───────────┬───────────┬───────────────
     │ stream │  0  0  0  │  length   │ payload
     └────────┴───────────┴───────────┴───────────────     length: 32 bits, big endian

Streams: 0 stdin, 1 stdout, 2 stderr, 3 an error of the daemon. Source: Engine API, «Attach to a container», «Stream format».
"""

from __future__ import annotations

from wherry.errors import DataLoss

STDIN, STDOUT, STDERR, SYSTEM = 0, 1, 2, 3
NAMES = {STDOUT: "stdout", STDERR: "stderr"}
MAX_FRAME = 1 << 26


def header(stream: int, length: int) -> bytes:
    """The eight bytes before a payload."""
    return bytes((stream, 0, 0, 0)) + length.to_bytes(4, "big")


class Demultiplexer:
    """Takes the stream apart again: `feed` gives (stream, bytes) pairs; a frame's payload comes in pieces as it arrives."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The pieces in `data`. Raises DataLoss for a frame that no Docker sends."""
        pieces = []
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                pieces.append((self._stream, piece))
                continue
            missing = 8 - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) == 8:
                self._stream, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
                if self._stream > SYSTEM or self._head[1:4] != b"\0\0\0" or self._left > MAX_FRAME:
                    raise DataLoss(f"unrecognized stream: {self._head!r}")
                self._head = b""
        return pieces

    @property
    def is_whole(self) -> bool:
        """Whether the stream may end here."""
        return not self._left and not self._head
