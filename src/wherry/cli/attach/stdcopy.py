"""The framing of stdout and stderr in one stream: `[kind, 0, 0, 0, length as four bytes]` and the payload."""

from __future__ import annotations

from wherry.errors import DataLoss

TYPE_CHECKING = False

STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
HEAD = 8


class Demultiplexer:
    """Bytes in, (kind, payload) out; neighbours of one kind are joined, so that a stream of lines costs few writes."""

    def __init__(self) -> None:
        self._held = b""
        self._kind = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The payloads in `data`. Raises DataLoss for a stream that is none."""
        found: list[tuple[int, bytes]] = []
        parts: list[bytes] = []
        current = self._kind
        at = 0
        if self._held:
            data = self._held + data
            self._held = b""
        end = len(data)
        left = self._left
        while at < end:
            if left:
                piece = data[at : at + left]
                parts.append(piece)
                at += len(piece)
                left -= len(piece)
                continue
            if end - at < HEAD:
                self._held = data[at:]
                break
            kind = data[at]
            if kind > SYSTEM_ERROR:
                raise DataLoss(f"Unrecognized input header: {kind}")
            if kind != current:
                if parts:
                    found.append((current, b"".join(parts)))
                    parts = []
                current = kind
            left = int.from_bytes(data[at + 4 : at + 8], "big")
            at += HEAD
        if parts:
            found.append((current, b"".join(parts)))
        self._kind, self._left = current, left
        return found
