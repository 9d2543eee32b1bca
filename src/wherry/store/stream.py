"""The one kind of stream that this room hands out: chunks to iterate over, or bytes to read, whichever suits the caller.

A generator does the work, so nothing happens before the first byte is asked for, and closing the stream runs the
generator's clean-up (files closed, mounts undone).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from types import TracebackType
    from typing import Protocol, Self

    class Readable(Protocol):
        """What this room reads from: anything with `read(n)` that answers b"" at the end."""

        def read(self, size: int = -1, /) -> bytes:
            """At most `size` bytes; everything that is left when negative."""


CHUNK = 1 << 20


class ByteStream:
    """Bytes that are made while they are read. Close it, or use it with `with`."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._rest = b""

    def __iter__(self) -> Iterator[bytes]:
        if self._rest:
            rest, self._rest = self._rest, b""
            yield rest
        yield from self._chunks

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, b"" at the end; everything when negative."""
        if size < 0:
            return b"".join(self)
        if size == 0:
            return b""
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return b""
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        """Ends the work early; harmless when it has ended."""
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def gathered(chunks: Iterable[bytes], size: int = CHUNK // 4) -> Generator[bytes, None, None]:
    """The same bytes in chunks of about `size` where they came in smaller ones; large ones pass as they are.

    A tar comes in a header and a content for each of its files; whoever hands chunks from thread to thread pays for each.
    """
    parts: list[bytes] = []
    held = 0
    for chunk in chunks:
        if held and held + len(chunk) > size:
            yield b"".join(parts)
            parts, held = [], 0
        if len(chunk) >= size:
            yield chunk
        else:
            parts.append(chunk)
            held += len(chunk)
    if held:
        yield b"".join(parts)
