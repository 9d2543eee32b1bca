"""The command line's grammar: Go's `flag` as runc's callers know it, and help in its form.

`-name` and `--name` are the same, values follow as `=value` or as the next word, flags end at the first word that is none (or at
`--`); switches take `=true` and `=false`; short flags are not joined.
"""

from __future__ import annotations

from wherry.errors import WherryError
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class UsageError(WherryError):
    """A command line that makes no sense; help is shown beside the message."""


class Flag(Record):
    """One flag. `kind`: «switch», «text», «number» or «list» (may be given several times)."""

    names: tuple[str, ...]
    kind: str
    help: str
    default: str = ""


class Command(Record):
    """A command's face: its flags, the words after its name, how many arguments it takes, its help."""

    name: str
    usage: str
    arguments: str
    flags: tuple[Flag, ...] = ()
    description: str = ""
    minimum: int = 1
    maximum: int | None = 1


def parse(flags: Sequence[Flag], words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The values by each flag's first name, and the words that follow. UsageError as Go words it."""
    known = {name: flag for flag in flags for name in flag.names}
    values: dict[str, Any] = {flag.names[0]: _default(flag) for flag in flags}
    rest = list(words)
    while rest:
        word = rest[0]
        if len(word) < 2 or word[0] != "-":
            break
        rest.pop(0)
        if word == "--":
            break
        name, equals, value = word[2 if word.startswith("--") else 1 :].partition("=")
        if name in ("help", "h") and name not in known:
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
    return values, rest


def _default(flag: Flag) -> Any:
    if flag.kind == "switch":
        return False
    if flag.kind == "list":
        return []
    return int(flag.default or 0) if flag.kind == "number" else flag.default


def _switch(name: str, value: str) -> bool:
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise UsageError(f'invalid boolean value "{value}" for -{name}: parse error')


def _store(values: dict[str, Any], flag: Flag, name: str, value: str) -> None:
    if flag.kind == "list":
        values[flag.names[0]].append(value)
    elif flag.kind == "number":
        try:
            values[flag.names[0]] = int(value)
        except ValueError:
            raise UsageError(f'invalid value "{value}" for flag -{name}: parse error') from None
    else:
        values[flag.names[0]] = value


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
