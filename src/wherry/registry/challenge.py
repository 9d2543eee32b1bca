"""`WWW-Authenticate` as values (RFC 9110, section 11.6.1): text in, challenges out."""

from __future__ import annotations

from wherry.record import Record

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Challenge(Record):
    """One way in that a server offers. `scheme` is in lower case; so are the parameters' names."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """A parameter's value, or an empty text."""
        return dict(self.parameters).get(name, "")


def _token(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] in _TOKEN:
        end += 1
    return text[at:end], end


def _skip(text: str, at: int, what: str) -> int:
    while at < len(text) and text[at] in what:
        at += 1
    return at


def _quoted(text: str, at: int) -> tuple[str, int]:
    """The value behind an opening quote at `at`, and where it ends; an unclosed one ends with the text."""
    value, at = [], at + 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        value.append(text[at])
        at += 1
    return "".join(value), at + 1


def parse(header: str) -> tuple[Challenge, ...]:
    """The challenges of one header value. What cannot be read is passed over, as the server may offer a newer scheme."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    at = 0
    while (at := _skip(header, at, " \t,")) < len(header):
        word, at = _token(header, at)
        if not word:
            at += 1
            continue
        behind = _skip(header, at, " \t")
        if behind < len(header) and header[behind] == "=" and found:
            behind = _skip(header, behind + 1, " \t")
            if behind < len(header) and header[behind] == '"':
                value, at = _quoted(header, behind)
            else:
                value, at = _token(header, behind)
            found[-1][1].append((word.lower(), value))
        else:
            found.append((word.lower(), []))
    return tuple(Challenge(scheme=scheme, parameters=tuple(parameters)) for scheme, parameters in found)
