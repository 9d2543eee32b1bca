"""`.dockerignore`: Go's patterns with `**`, anchored at the context's root; the last that matches decides, `!` takes back."""

from __future__ import annotations

import posixpath
import re

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def read_patterns(text: str) -> list[str]:
    """The patterns of a file: comments and empty lines left out, paths cleaned, a leading slash taken away."""
    found = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#"):
            continue
        pattern = line.strip()
        if not pattern:
            continue
        inverted = pattern.startswith("!")
        if inverted:
            pattern = pattern[1:].strip()
        if pattern:
            pattern = posixpath.normpath(pattern)
            if len(pattern) > 1:
                pattern = pattern.lstrip("/")
        found.append("!" + pattern if inverted else pattern)
    return found


def translate(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for whole paths. Raises InvalidArgument."""
    out, at = "", 0
    while at < len(pattern):
        one = pattern[at]
        if one == "*":
            if pattern[at + 1 : at + 2] == "*":
                at += 2
                if pattern[at : at + 1] == "/":
                    at += 1
                out += ".*" if at >= len(pattern) else "(.*/)?"
                continue
            out += "[^/]*"
        elif one == "?":
            out += "[^/]"
        elif one == "\\":
            at += 1
            if at >= len(pattern):
                raise InvalidArgument(f"syntax error in pattern: {pattern}")
            out += re.escape(pattern[at])
        elif one == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise InvalidArgument(f"syntax error in pattern: {pattern}")
            out += "[" + pattern[at + 1 : end].replace("[", "\\[") + "]"
            at = end
        else:
            out += re.escape(one)
        at += 1
    return re.compile(out + r"\Z", re.DOTALL)


class Ignore:
    """Decides for one context. Raises InvalidArgument for a pattern that is none."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for pattern in patterns:
            inverted = pattern.startswith("!")
            body = pattern[1:] if inverted else pattern
            if inverted and not body:
                raise InvalidArgument('illegal exclusion pattern: "!"')
            self._rules.append((inverted, translate(body)))

    def leaves_out(self, path: str) -> bool:
        """Whether a path (relative, with slashes) is left out; a pattern that matches a folder above it counts as well."""
        parts = path.split("/")
        heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        found = False
        for inverted, rule in self._rules:
            if inverted == found and any(rule.match(head) for head in heads):
                found = not inverted
        return found
