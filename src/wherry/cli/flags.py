"""Arguments to options, by the rules of Go's pflag, which docker's users have in their fingers.

`-it` is a cluster, `-p80:80`, `-p=80:80` and `-p 80:80` are one thing, `--flag=value` and `--flag value` too (a boolean takes
only
the former), `--` ends the options, and for `run`, `exec` and `create` the first argument does.
"""

from __future__ import annotations

from wherry.cli.command import UsageError
from wherry.cli.values import COLLECTING, KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from wherry.cli.command import Flag


class HelpWanted(Exception):
    """`--help` or `-h` was given."""


class Options:
    """The values of one command's flags by name."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._flags = {flag.name: flag for flag in flags}
        self._values: dict[str, Any] = {}
        self.needs: list[tuple[str, str]] = []  # (flag, API version it needs)

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self._values

    def value(self, name: str) -> Any:
        """The parsed value, or the default."""
        if name in self._values:
            return self._values[name]
        flag = self._flags[name]
        if flag.kind in COLLECTING:
            return list(flag.default or ())
        return flag.default

    def on(self, name: str) -> bool:
        """A boolean flag's value."""
        return bool(self.value(name))

    def text(self, name: str) -> str:
        """A text flag's value; empty when not given and without a default."""
        return self.value(name) or ""

    def number(self, name: str) -> int:
        """A number's value; 0 when not given and without a default."""
        return self.value(name) or 0

    def many(self, name: str) -> list[Any]:
        """All values of a flag that may be repeated."""
        found: list[Any] = self.value(name)
        return found

    def pairs(self, name: str) -> dict[str, str]:
        """The values of a `key=value` flag; the last one of a key counts."""
        return dict(self.value(name))

    def put(self, flag: Flag, text: str, spelled: str) -> None:
        """Takes one value; `spelled` is how the flag is called in the message when it is wrong."""
        parse = flag.check or KINDS[flag.kind]
        try:
            value = parse(text)
        except ValueError as wrong:
            from wherry.cli.values import go_quote

            raise UsageError(f"invalid argument {go_quote(text)} for {spelled} flag: {wrong}") from None
        name = flag.same_as or flag.name
        if flag.since:
            self.needs.append((flag.name, flag.since))
        if flag.kind == "strings" and flag.check is None:
            self._values.setdefault(name, []).extend(value)
        elif flag.kind in COLLECTING:
            self._values.setdefault(name, []).append(value)
        else:
            self._values[name] = value


def _spelled(flag: Flag) -> str:
    return f'"-{flag.short}, --{flag.name}"' if flag.short else f'"--{flag.name}"'


def parse(flags: Sequence[Flag], arguments: Sequence[str], *, interspersed: bool = True) -> tuple[Options, list[str]]:
    """The options and what is left. Raises UsageError with pflag's message, HelpWanted for `--help`."""
    long = {flag.name: flag for flag in flags}
    short = {flag.short: flag for flag in flags if flag.short}
    options = Options(flags)
    left: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            left += queue
            break
        if len(word) < 2 or word[0] != "-":
            left.append(word)
            if not interspersed:
                left += queue
                break
        elif word.startswith("--"):
            _long(word, long, options, queue)
        else:
            _cluster(word, short, options, queue)
    return options, left


def _long(word: str, flags: dict[str, Flag], options: Options, queue: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name[0] in "-=":
        raise UsageError(f"bad flag syntax: {word}")
    flag = flags.get(name)
    if flag is None:
        if name == "help":
            raise HelpWanted
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        if flag.kind == "bool":
            value = "true"
        elif queue:
            value = queue.pop(0)
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    options.put(flag, value, _spelled(flag))


def _cluster(word: str, flags: dict[str, Flag], options: Options, queue: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = flags.get(letter)
        if flag is None:
            if letter == "h":
                raise HelpWanted
            raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")
        if len(letters) > 1 and letters[0] == "=":
            value, letters = letters[1:], ""
        elif flag.kind == "bool":
            value = "true"
        elif letters:
            value, letters = letters, ""
        elif queue:
            value = queue.pop(0)
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in {word}")
        options.put(flag, value, _spelled(flag))
