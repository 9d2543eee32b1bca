"""Arguments to options, by the rules of Go's `flag` and urfave/cli, which ctr's users have in their fingers.

`-flag` and `--flag` are the same, a value follows as `=value` or as the next word (a boolean takes only the former), options
end at the first argument. Commands that start no program of the user's find their own flags behind an argument too: those are
moved to the front first, with the word behind each as it may be its value.
"""

from __future__ import annotations

from wherry.ctr.command import Flag, UsageError
from wherry.ctr.values import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

HELP = Flag(names=("help", "h"), help="show help")


class Options:
    """The values of one command's flags by first name."""

    def __init__(self, flags: Sequence[Flag], environment: Mapping[str, str]) -> None:
        self._flags = {flag.names[0]: flag for flag in flags}
        self._environment = environment
        self._values: dict[str, Any] = {}
        self._spelled: dict[str, set[str]] = {}

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line or in the environment."""
        return name in self._values or bool(self._from_environment(name))

    def value(self, name: str) -> Any:
        """The parsed value, or the environment's, or the default."""
        if name in self._values:
            return self._values[name]
        flag = self._flags[name]
        text = self._from_environment(name)
        if text:
            return _parsed(flag, text, f"could not parse {text} as {flag.kind} value for flag {name}: parse error")
        if flag.default is not None:
            return flag.default
        return EMPTY[flag.kind]

    def on(self, name: str) -> bool:
        """A boolean flag's value."""
        return bool(self.value(name))

    def text(self, name: str) -> str:
        """A text flag's value."""
        found: str = self.value(name)
        return found

    def number(self, name: str) -> int:
        """A whole number's value."""
        found: int = self.value(name)
        return found

    def seconds(self, name: str) -> float:
        """A duration's value."""
        found: float = self.value(name)
        return found

    def many(self, name: str) -> list[str]:
        """All values of a flag that may be repeated."""
        return list(self.value(name))

    def put(self, flag: Flag, name: str, text: str) -> None:
        """Takes one value; `name` is how the flag was spelled."""
        first = flag.names[0]
        self._spelled.setdefault(first, set()).add(name)
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        what = f"boolean value {quoted} for -{name}" if flag.kind == "bool" else f"value {quoted} for flag -{name}"
        value = _parsed(flag, text, f"invalid {what}: parse error")
        if flag.kind == "strings":
            self._values.setdefault(first, []).append(value)
        else:
            self._values[first] = value

    def check_spelling(self) -> None:
        """Raises TwoForms where one flag was given by two of its names."""
        for first, spelled in self._spelled.items():
            if len(spelled) > 1:
                one, other = [name for name in self._flags[first].names if name in spelled][:2]
                raise TwoForms(f"Cannot use two forms of the same flag: {other} {one}")

    def _from_environment(self, name: str) -> str:
        variable = self._flags[name].variable
        return self._environment.get(variable, "") if variable else ""


def _parsed(flag: Flag, text: str, message: str) -> Any:
    try:
        return KINDS[flag.kind](text)
    except ValueError:
        raise UsageError(message) from None


def _bool(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(text)


def _whole(text: str) -> int:
    """A number as Go's base 0 reads it: 0x1f, 0o17, 017, 0b1, 1_000."""
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":
        return int(sign + digits[1:].lstrip("_"), 8)
    if not digits[:1].isalnum() or not text.isascii():
        raise ValueError(text)
    return int(text, 0)


def _signed(text: str) -> int:
    number = _whole(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(text)
    return number


def _unsigned(text: str) -> int:
    number = _whole(text)
    if text[:1] in ("+", "-") or number >= 1 << 64:
        raise ValueError(text)
    return number


KINDS: Mapping[str, Callable[[str], Any]] = {
    "bool": _bool,
    "string": str,
    "strings": str,
    "int": _signed,
    "uint": _unsigned,
    "float": float,
    "duration": duration,
}
EMPTY: Mapping[str, Any] = {"bool": False, "string": "", "strings": (), "int": 0, "uint": 0, "float": 0.0, "duration": 0.0}


class TwoForms(UsageError):
    """One flag was given by two of its names."""


class MissingFlag(UsageError):
    """A flag that has to be given was not; help is printed before the message."""


class HelpWanted(Exception):
    """`--help` or `-h` was given."""


def parse(flags: Sequence[Flag], words: Sequence[str], environment: Mapping[str, str], *,
          reorders: bool = False) -> tuple[Options, list[str]]:
    """The options and what is left. Raises UsageError with Go's message, HelpWanted for `--help`."""
    known = {name: flag for flag in (*flags, HELP) for name in flag.names}
    options = Options((*flags, HELP), environment)
    queue = reordered(known, words) if reorders else list(words)
    while queue:
        word = queue[0]
        if len(word) < 2 or word[0] != "-":
            break
        queue.pop(0)
        if word == "--":
            break
        name, equals, value = word[2 if word.startswith("--") else 1:].partition("=")
        if not name or name[0] == "-":
            raise UsageError(f"bad flag syntax: {word}")
        flag = known.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals:
            if flag.kind == "bool":
                value = "true"
            elif queue:
                value = queue.pop(0)
            else:
                raise UsageError(f"flag needs an argument: -{name}")
        options.put(flag, name, value)
    options.check_spelling()
    if options.on("help"):
        raise HelpWanted
    missing = [f'"{flag.names[0]}"' for flag in flags if flag.required and not options.given(flag.names[0])]
    if missing:
        raise MissingFlag(f"Required flag{'s' if len(missing) > 1 else ''} {', '.join(missing)} not set")
    return options, queue


def reordered(known: Mapping[str, Flag], words: Sequence[str]) -> list[str]:
    """The words with the known flags first, each followed by the word behind it unless that is a flag or it has `=value`.

    The first `--` ends this, and is left out.
    """
    moved: list[str] = []
    left: list[str] = []
    may_be_value = False
    for at, word in enumerate(words):
        is_flag = _is_known(known, word)
        if may_be_value and not is_flag:
            may_be_value = False
            moved.append(word)
        elif word == "--":
            left += words[at + 1:]
            break
        elif is_flag:
            moved.append(word)
            may_be_value = "=" not in word
        else:
            left.append(word)
    return moved + left


def _is_known(known: Mapping[str, Flag], word: str) -> bool:
    name = word.removeprefix("-").removeprefix("-")
    return word.startswith("-") and name.partition("=")[0] in known
