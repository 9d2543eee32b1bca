"""What a command prints, as text of the build: standard error in red, as Docker's builder shows it."""

from __future__ import annotations

import codecs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STDERR = 2


class Printed:
    """Takes pieces of output and says them; a character that two pieces share is said once it is whole."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = decoder("replace"), decoder("replace")

    def __call__(self, stream: int, data: bytes) -> None:
        """A piece of output: 1 stdout, 2 stderr."""
        error = stream == STDERR
        text = self._decoders[error].decode(data)
        if text:
            self._say(f"\x1b[91m{text}\x1b[0m" if error else text)
