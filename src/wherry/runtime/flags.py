"""The command line's grammar: Go's `flag` as runc's callers know it, and help in its form.

`-name` and `--name` are the same, values follow as `=value` or as the next word, flags end at the first word that is none (or at
`--`); switches take `=true` and `=false`; short flags are not joined. Commands that take no program to run also know their own
flags behind an argument (`delete <id> --force`); what is no flag of theirs is an argument there, as a signal «-1» is.
"""

from __future__ import annotations

from wherry.errors import WherryError
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


_HELP = ("help", "h", "?", "usage")  # the last two are crun's


class UsageError(WherryError):
    """A command line that makes no sense; help is shown beside the message."""


class Flag(Record):
    """One flag. `kind`: «switch», «text», «number», «duration» (seconds), «list» or «numbers» (may be given several times)."""

    names: tuple[str, ...]
    kind: str
    help: str
    default: str = ""


class Command(Record):
    """A command's face: its flags, the words after its name, how many arguments it takes, its help.

    `runs_words`: what follows the first argument belongs to another program.
    """

    name: str
    usage: str
    arguments: str
    flags: tuple[Flag, ...] = ()
    description: str = ""
    minimum: int = 1
    maximum: int | None = 1
    runs_words: bool = False


def parse(flags: Sequence[Flag], words: Sequence[str], anywhere: bool = False) -> tuple[dict[str, Any], list[str]]:
    """The values by each flag's first name, and the words that follow. UsageError as Go words it.

    `anywhere`: known flags count behind the first argument too.
    """
    known = {name: flag for flag in flags for name in flag.names}
    values: dict[str, Any] = {flag.names[0]: _default(flag) for flag in flags}
    rest = list(words)
    passed: list[str] = []
    while rest:
        word = rest[0]
        if len(word) < 2 or word[0] != "-" or (passed and not _is_one_of(word, known)):
            if not anywhere:
                break
            passed.append(rest.pop(0))
            continue
        rest.pop(0)
        if word == "--":
            break
        name, equals, value = word[2 if word.startswith("--") else 1 :].partition("=")
        if name in _HELP and name not in known:
            values["help"] = True
            continue
        flag = known.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if flag.kind == "switch":
            values[flag.names[0]] = _switch(name, value) if equals else True
            continue
        if not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        _store(values, flag, name, value)
    return values, passed + rest


def _is_one_of(word: str, known: Mapping[str, Flag]) -> bool:
    return word == "--" or word.lstrip("-").partition("=")[0] in (*known, *_HELP)


def _default(flag: Flag) -> Any:
    if flag.kind == "switch":
        return False
    if flag.kind in ("list", "numbers"):
        return []
    if flag.kind == "duration":
        return seconds(flag.default)
    return int(flag.default or 0) if flag.kind == "number" else flag.default


def _switch(name: str, value: str) -> bool:
    if (found := truth(value)) is not None:
        return found
    raise UsageError(f'invalid boolean value "{value}" for -{name}: parse error')


def truth(text: str) -> bool | None:
    """True or false as Go's strconv.ParseBool has them; None for anything else."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    return False if text in ("0", "f", "F", "false", "FALSE", "False") else None


def _store(values: dict[str, Any], flag: Flag, name: str, value: str) -> None:
    if flag.kind == "list":
        values[flag.names[0]].append(value)
    elif flag.kind == "numbers":
        try:
            values[flag.names[0]].append(int(value))
        except ValueError:
            reason = f'strconv.ParseInt: parsing "{value}": invalid syntax'
            raise UsageError(f'invalid value "{value}" for flag -{name}: {reason}') from None
    elif flag.kind == "duration":
        found = seconds(value)
        if found is None:
            raise UsageError(f'invalid value "{value}" for flag -{name}: parse error')
        values[flag.names[0]] = found
    elif flag.kind == "number":
        try:
            values[flag.names[0]] = int(value)
        except ValueError:
            raise UsageError(f'invalid value "{value}" for flag -{name}: parse error') from None
    else:
        values[flag.names[0]] = value


_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float | None:
    """Seconds of a Go duration such as 5s, 1m30s, 500ms, 0; None for what is none."""
    if text == "0":
        return 0.0
    total, rest = 0.0, text.removeprefix("-")
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("numsh"))
        number, unit, rest = rest[:digits], rest[digits : digits + letters], rest[digits + letters :]
        if unit not in _UNITS or number.count(".") > 1 or not number.strip("."):
            return None
        total += float(number) * _UNITS[unit]
    return None if not text.removeprefix("-") else -total if text.startswith("-") else total


def check_count(command: Command, words: Sequence[str]) -> None:
    """UsageError unless the number of arguments fits, in runc's words."""
    if command.minimum == command.maximum and len(words) != command.minimum:
        raise UsageError(f'wherry-runc: "{command.name}" requires exactly {command.minimum} argument(s)')
    if len(words) < command.minimum:
        raise UsageError(f'wherry-runc: "{command.name}" requires a minimum of {command.minimum} argument(s)')
    if command.maximum is not None and len(words) > command.maximum:
        raise UsageError(f'wherry-runc: "{command.name}" requires a maximum of {command.maximum} argument(s)')


def help_of_command(command: Command) -> str:
    """The help page of one command."""
    options = " [command options]" if command.flags else ""
    text = f"NAME:\n   wherry-runc {command.name} - {command.usage}\n\n"
    text += f"USAGE:\n   wherry-runc {command.name}{options} {command.arguments}".rstrip() + "\n"
    if command.description:
        text += f"\nDESCRIPTION:\n{_indent(command.description)}\n"
    if command.flags:
        text += f"\nOPTIONS:\n{help_of_flags(command.flags)}\n"
    return text


def help_of_flags(flags: Sequence[Flag]) -> str:
    """One line per flag, help lined up."""
    heads = []
    for flag in flags:
        value = "" if flag.kind == "switch" else " value"
        heads.append(", ".join(f"{'--' if len(name) > 1 else '-'}{name}{value}" for name in flag.names))
    width = max(map(len, heads))
    lines = []
    for flag, head in zip(flags, heads, strict=True):
        default = f' (default: "{flag.default}")' if flag.default else ""
        lines.append(f"   {head.ljust(width)}  {flag.help}{default}")
    return "\n".join(lines)


def _indent(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.strip().splitlines())
