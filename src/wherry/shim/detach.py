"""The detach keys: a sequence typed by the user that ends an attachment and never reaches the process.

`parse_keys` reads Docker's way of writing one: keys separated by commas, each a single character or `ctrl-` with a letter or one
of `@`, `[`, backslash, `]`, `^`, `_`.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument


def parse_keys(text: str) -> bytes:
    """The bytes of a key sequence such as `ctrl-p,ctrl-q`; empty text is the empty sequence. Raises InvalidArgument."""
    codes = bytearray()
    for key in text.split(",") if text else ():
        if len(key) == 1 and ord(key) < 128:
            codes.append(ord(key))
            continue
        prefix, _, letter = key.partition("-")
        if prefix != "ctrl" or len(letter) != 1 or not ("a" <= letter <= "z" or letter in "@[\\]^_"):
            raise InvalidArgument(f"Unknown character: '{key}'")
        codes.append(ord(letter.upper()) - 64)
    return bytes(codes)


class DetachScanner:
    """Watches one client's input. What may be the beginning of the sequence is held back until it is known."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0  # so many of the keys were typed

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes for the process, and whether the sequence is complete; what follows it is dropped."""
        keys = self._keys
        if not keys:
            return data, False
        if not self._held and keys[0] not in data:
            return data, False
        passed = bytearray()
        text = keys[: self._held] + data
        self._held = 0
        at = text.find(keys)
        if at >= 0:
            return text[:at], True
        for length in range(min(len(keys) - 1, len(text)), 0, -1):
            if text.endswith(keys[:length]):
                self._held = length
                break
        passed += text[: len(text) - self._held]
        return bytes(passed), False

    def end(self) -> bytes:
        """What was held back when the input ended: it belongs to the process after all."""
        held, self._held = self._keys[: self._held], 0
        return held
