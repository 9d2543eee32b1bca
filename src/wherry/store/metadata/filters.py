"""The filter language of containerd's lists and subscriptions. Pure.

    filter    = selector *("," selector)            all of them must hold; of several filters one is enough
    selector  = field *("." field) [operator value] without an operator: the field is there
    operator  = "==" / "!=" / "~="                  equal, not equal (or not there), matches a regular expression
    field     = 1*(letter / digit / "_") / quoted
    value     = characters other than a comma and white space / quoted
    quoted    = a Go string literal; after "~=" also /…/ and |…|

Mistakes are told in containerd's words: the filter, the place in it, what is wrong.
"""

from __future__ import annotations

import re

from wherry.errors import InvalidArgument
from wherry.oci.gotext import QUOTES, quote, unquote
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Final

    Fields = Callable[[Sequence[str]], str | None]
    """What an object has at a path of fields, None where it has nothing."""
    Filter = Callable[[Fields], bool]

_FIELD: Final = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_OPERATOR: Final = re.compile(r"[=!~]+")
_VALUE: Final = re.compile(r"[^,\s]+")
_SPACE: Final = re.compile(r"\s*")
_PRESENT: Final = ""


class Selector(Record):
    """One condition. `operator` "": the field is there."""

    path: tuple[str, ...]
    operator: str = _PRESENT
    value: str = ""

    def holds(self, fields: Fields) -> bool:
        """Whether an object satisfies it."""
        found = fields(self.path)
        if self.operator == _PRESENT:
            return found is not None
        if self.operator == "==":
            return found == self.value
        if self.operator == "!=":
            return (found or "") != self.value
        try:
            return re.search(self.value, found or "") is not None
        except re.error:
            return False  # as containerd, which logs it


def parse_all(texts: Iterable[str]) -> Filter:
    """A filter that lets an object through when one of the texts does; all of them without texts. Raises InvalidArgument."""
    try:
        filters = [parse(text) for text in texts]
    except _Mistake as mistake:
        raise InvalidArgument(f"filters: parse error: {mistake}: invalid argument") from None

    def lets_through(fields: Fields) -> bool:
        return not filters or any(all(one.holds(fields) for one in selectors) for selectors in filters)

    return lets_through


def of_map(values: Mapping[str, str], path: Sequence[str]) -> str | None:
    """What a map (labels, annotations) has at the rest of a path: its keys may have points in them."""
    return values.get(".".join(path))


def parse(text: str) -> tuple[Selector, ...]:
    """The conditions of one filter; none of an empty one."""
    return _Parser(text).selectors() if text else ()


class _Mistake(Exception):
    """The filter, the place in it, what is wrong there."""

    def __init__(self, text: str, at: int, message: str) -> None:
        place = f"{text[:at]} >|{text[at]}|< {text[at + 1:]}" if at < len(text) else text
        super().__init__(f"[{place}]: {message}")


class _Parser:
    """Reads a filter from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selectors(self) -> tuple[Selector, ...]:
        found = [self._selector()]
        while (char := self._next()) == ",":
            self._at += 1
            found.append(self._selector())
        if char:
            raise _Mistake(self._text, self._at, f"unexpected input: {char}")
        return tuple(found)

    def _selector(self) -> Selector:
        path = [self._field()]
        while self._next() == ".":
            self._at += 1
            path.append(self._field())
        if self._next() in ("", ","):
            return Selector(path=tuple(path))
        operator = self._operator()
        return Selector(path=tuple(path), operator=operator, value=self._value(any_quotes=operator == "~="))

    def _field(self) -> str:
        self._skip_space()
        if self._next() and self._next() in QUOTES:
            return self._quoted(any_quotes=False)
        return self._matching(_FIELD, "expected field or quoted")

    def _operator(self) -> str:
        self._skip_space()
        at = self._at
        operator = self._matching(_OPERATOR, 'expected an operator ("=="|"!="|"~=")')
        if operator not in ("==", "!=", "~="):
            raise _Mistake(self._text, at, f"unsupported operator {quote(operator)}")
        return operator

    def _value(self, *, any_quotes: bool) -> str:
        self._skip_space()
        char = self._next()
        if char and char in QUOTES:
            return self._quoted(any_quotes=any_quotes)
        if char and char in ".=!~":  # a separator or an operator is no beginning of a value
            raise _Mistake(self._text, self._at, "expected value or quoted")
        return self._matching(_VALUE, "expected value or quoted")

    def _quoted(self, *, any_quotes: bool) -> str:
        begin, end = self._at, self._at + 1
        while end < len(self._text) and self._text[end] != self._text[begin]:
            end += 2 if self._text[end] == "\\" else 1
        literal = self._text[begin : end + 1]
        try:
            meant = unquote(literal)
        except ValueError as error:
            raise _Mistake(self._text, begin, str(error)) from None
        if literal[0] != '"' and not any_quotes:
            raise _Mistake(self._text, begin, "invalid quote encountered")
        self._at = end + 1
        return meant

    def _matching(self, pattern: re.Pattern[str], otherwise: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Mistake(self._text, self._at, otherwise)
        self._at = found.end()
        return found.group()

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
