"""Detach keys as people write them: `ctrl-p,ctrl-q`, `a`, `ctrl-[`."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.shim.protocol import DETACH_KEYS

_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str, called: str = "detach") -> bytes:
    """The bytes of the keys; an empty text is the default. Raises InvalidArgument in Docker's words.

    They are `called` detach keys, and escape keys by exec.
    """
    if not text:
        return DETACH_KEYS
    keys = bytearray()
    for key in text.split(","):
        name = key.removeprefix("ctrl-")
        if len(key) == 1 and key.isascii():
            keys.append(ord(key))
        elif key.startswith("ctrl-") and len(name) == 1 and name.lower() in _CONTROL:
            keys.append(_CONTROL.index(name.lower()))
        else:
            raise InvalidArgument(f"Invalid {called} keys ({text}) provided")
    return bytes(keys)
