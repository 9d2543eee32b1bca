"""The `filters` of the API's lists, prunes and event streams, as a value with the common ways to match."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.moments import parse_moment
from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Filters:
    """Filter names, each with the values given; a name that is absent matches everything."""

    def __init__(self, values: Mapping[str, Iterable[str]] | None = None) -> None:
        self._values = {name: tuple(given) for name, given in (values or {}).items()}

    @classmethod
    def parse(cls, text: str) -> Filters:
        """Reads the query parameter: JSON of name → list, or (API 1.21 and older) name → value → true.

        Raises InvalidArgument when it is neither.
        """
        if not text:
            return cls()
        try:
            given = msgspec.json.decode(text, type=dict[str, dict[str, bool] | list[str]])
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"invalid filter: {error}") from error
        return cls({name: [one for one, on in values.items() if on] if isinstance(values, dict) else values
                    for name, values in given.items()})

    def check(self, accepted: Iterable[str]) -> None:
        """Raises InvalidArgument for a filter name that is not accepted."""
        for name in self._values:
            if name not in accepted:
                raise InvalidArgument(f"invalid filter '{name}'")

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def __bool__(self) -> bool:
        return any(self._values.values())

    def values(self, name: str) -> tuple[str, ...]:
        """The values given for a name, none when it is absent."""
        return self._values.get(name, ())

    def adding(self, name: str, value: str) -> Filters:
        """The same filters with one value more."""
        return Filters({**self._values, name: (*self.values(name), value)})

    def only(self, name: str) -> str | None:
        """The single value of a name, None when absent. Raises InvalidArgument for several."""
        given = self.values(name)
        if len(given) > 1:
            raise InvalidArgument(f"invalid filter '{name}={list(given)!r}'".replace("'", "'", 1))
        return given[0] if given else None

    def boolean(self, name: str, default: bool) -> bool:
        """A filter that is true or false. Raises InvalidArgument for anything else or for both."""
        given = {value.lower() for value in self.values(name)}
        if not given:
            return default
        truth, falsehood = given <= {"1", "true", "t"}, given <= {"0", "false", "f"}
        if not truth and not falsehood:
            raise InvalidArgument(f"invalid filter '{name}=[{' '.join(self.values(name))}]'")
        return truth

    def until(self) -> int | None:
        """The moment (nanoseconds) that prunes take, None when absent. Raises InvalidArgument for several or none."""
        given = self.values("until")
        if len(given) > 1:
            raise InvalidArgument("more than one until filter specified")
        return parse_moment(given[0]) if given else None

    def is_exact_or_absent(self, name: str, value: str) -> bool:
        """Whether one of the values is exactly this one, or none is given."""
        given = self.values(name)
        return not given or value in given

    def matches(self, name: str, value: str) -> bool:
        """Whether one of the values, as a regular expression, is found in this one, or none is given."""
        return not self.values(name) or any(_search(one, value) for one in self.values(name))

    def labels_match(self, labels: Mapping[str, str], name: str = "label") -> bool:
        """Whether all `label` values (`key` or `key=value`) are among the labels."""
        return all(_label_matches(one, labels) for one in self.values(name))

    def no_label_matches(self, labels: Mapping[str, str]) -> bool:
        """Whether none of the `label!` values is among the labels (prune)."""
        return not any(_label_matches(one, labels) for one in self.values("label!"))


def _label_matches(wanted: str, labels: Mapping[str, str]) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _search(pattern: str, value: str) -> bool:
    if pattern == value:
        return True
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False
