"""Go's `path.Match`: shell patterns whose `*` and `?` stop at a slash, as the filters of images take them."""

from __future__ import annotations

import re

from wherry.errors import InvalidArgument


def path_match(pattern: str, text: str) -> bool:
    """Whether the whole text matches. Raises InvalidArgument `syntax error in pattern`."""
    return re.fullmatch(_translate(pattern), text, re.DOTALL) is not None


def _translate(pattern: str) -> str:
    pieces = []
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 1
        if letter == "*":
            pieces.append("[^/]*")
        elif letter == "?":
            pieces.append("[^/]")
        elif letter == "[":
            piece, position = _class(pattern, position)
            pieces.append(piece)
        elif letter == "\\":
            if position == len(pattern):
                raise InvalidArgument("syntax error in pattern")
            pieces.append(re.escape(pattern[position]))
            position += 1
        else:
            pieces.append(re.escape(letter))
    return "".join(pieces)


def _class(pattern: str, position: int) -> tuple[str, int]:
    """A class `[^a-z…]` from behind its bracket; a class never matches a slash unless it names it."""
    negated = pattern[position:position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while pattern[position:position + 1] != "]" or not ranges:
        low, position = _letter(pattern, position)
        high = low
        if pattern[position:position + 1] == "-":
            high, position = _letter(pattern, position + 1)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(ranges)
    if not inside:  # only ranges that run backwards: nothing is in it
        return ("." if negated else "(?!)"), position + 1
    return f"[{'^' if negated else ''}{inside}]", position + 1


def _letter(pattern: str, position: int) -> tuple[str, int]:
    letter = pattern[position:position + 1]
    if letter == "\\":
        position += 1
        letter = pattern[position:position + 1]
    elif letter in ("-", "]"):
        raise InvalidArgument("syntax error in pattern")
    if not letter:
        raise InvalidArgument("syntax error in pattern")
    return letter, position + 1
