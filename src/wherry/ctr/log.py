"""Lines of the log on stderr, in the form of logrus: what ctr says beside its output."""

from __future__ import annotations

import os
import time

from wherry.ctr.values import quoted

_COLOURS = {"error": 31, "warning": 33, "info": 36, "debug": 37}
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")


def write(level: str, message: str, **fields: object) -> None:
    """One line; `fields` follow as key=value. On a terminal it is set for people, with colours."""
    pairs = [f"{key}={_value(str(value))}" for key, value in fields.items()]
    if os.isatty(2):
        colour = _COLOURS[level]
        tail = "".join(f" \x1b[{colour}m{pair.partition('=')[0]}\x1b[0m={pair.partition('=')[2]}" for pair in pairs)
        line = f"\x1b[{colour}m{level.upper()[:4]}\x1b[0m[0000] {message:<44}{tail}"
    else:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        zone = "Z" if now.endswith("+0000") else f"{now[-5:-2]}:{now[-2:]}"
        line = " ".join((f'time="{now[:-5]}{zone}" level={level} msg={_value(message)}', *pairs))
    os.write(2, line.encode("utf-8", "surrogateescape") + b"\n")


def _value(text: str) -> str:
    return text if text and not set(text) - _BARE else quoted(text)
