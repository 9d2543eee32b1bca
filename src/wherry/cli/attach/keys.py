"""The keys that leave a container running: their grammar, and the filter that notices them in what is typed."""

from __future__ import annotations

from wherry.errors import InvalidArgument

TYPE_CHECKING = False

DEFAULT = "ctrl-p,ctrl-q"
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q`, `a,b`. Raises InvalidArgument."""
    keys = []
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
            continue
        key = word.removeprefix("ctrl-")
        if word.startswith("ctrl-") and len(key) == 1 and "a" <= key <= "z":
            keys.append(ord(key) - ord("a") + 1)
        elif word.startswith("ctrl-") and key in _SPECIAL:
            keys.append(_SPECIAL[key])
        else:
            raise InvalidArgument(f"Unknown character: '{key}'")
    return bytes(keys)


class DetachFilter:
    """Takes what is typed, holds back the beginning of the sequence, and notices the whole of it."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """What is to be passed on; nothing of the sequence when it is complete."""
        if not self._keys:
            return data
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detached = True
                    return bytes(out)
                continue
            if self._matched:
                out += self._keys[: self._matched]
                self._matched = 1 if byte == self._keys[0] else 0
                if self._matched:
                    continue
            out.append(byte)
        return bytes(out)
