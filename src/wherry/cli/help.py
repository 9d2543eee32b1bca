"""Help in docker's layout, printed from the commands' own data."""

from __future__ import annotations

from wherry.cli.command import PROGRAM
from wherry.cli.index import COMMON, GROUPS, members, top_level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.cli.command import Command, Flag

# Kinds whose empty value pflag shows as a default.
_SHOWN_EMPTY = {"map": "map[]", "uint16": "0", "ulimit": "[]"}


def usage_lines(command: Command, name: str) -> str:
    """`Usage:  wherry ps [OPTIONS]` with the further lines where a command has them."""
    first = f"Usage:  {PROGRAM} {name}{' ' + command.usage if command.usage else ''}"
    return "\n".join(
        (first, *(f"\t{PROGRAM} {name.rpartition(' ')[0]}{' ' if ' ' in name else ''}{more}" for more in command.more_usage))
    )


def wrap(text: str, indent: int, width: int) -> str:
    """The text with line breaks between words, further lines set in by `indent`; texts of a few columns are left whole."""
    room = width - indent
    if room < 24:
        return text
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > room:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line or word == "" else word
        lines.append(line)
    return ("\n" + " " * indent).join(lines)


def _default(flag: Flag) -> str:
    if flag.shown:
        return f" (default {flag.shown})"
    if flag.kind in _SHOWN_EMPTY:
        return f" (default {_SHOWN_EMPTY[flag.kind]})"
    if flag.kind == "bool":
        return " (default true)" if flag.default else ""
    if flag.default in (None, "", 0) or isinstance(flag.default, tuple):
        return ""
    return f' (default "{flag.default}")' if isinstance(flag.default, str) else f" (default {flag.default})"


def flag_lines(flags: Sequence[Flag], width: int) -> str:
    """The lines of the options, in order of their names."""
    rows = []
    for flag in sorted((one for one in flags if not one.hidden), key=lambda one: one.name):
        left = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        rows.append((left + ("" if flag.kind == "bool" else f" {flag.kind}"), flag.help + _default(flag)))
    column = max(len(left) for left, _ in rows) + 3
    return "".join(f"{left.ljust(column)}{wrap(text, column, width)}\n" for left, text in rows)


def _list(rows: Sequence[tuple[str, str]]) -> str:
    column = max(len(name) for name, _ in rows)
    return "".join(f"  {name.ljust(max(column, 11))} {line}\n" for name, line in rows)


def command_help(command: Command, name: str, names: Sequence[str], line: str, width: int) -> str:
    """The help of one command; `names` are all its full names."""
    text = f"{usage_lines(command, name)}\n\n{command.summary or line}\n"
    if len(names) > 1:
        text += "\nAliases:\n  " + ", ".join(f"{PROGRAM} {one}" for one in names) + "\n"
    if any(not flag.hidden for flag in command.flags):
        text += "\nOptions:\n" + flag_lines(command.flags, width)
    if command.examples:
        text += "\nExamples:\n" + "".join(f"  {what}\n    {line}\n" for line, what in command.examples)
    return text


def group_help(group: str) -> str:
    """The help of a management command."""
    return (
        f"Usage:  {PROGRAM} {group} COMMAND\n\n{GROUPS[group]}\n\nCommands:\n{_list(members(group))}"
        f"\nRun '{PROGRAM} {group} COMMAND --help' for more information on a command.\n"
    )


def root_help(flags: Sequence[Flag], width: int) -> str:
    """The help of the program."""
    lines = dict(top_level())
    common = [(name, lines.pop(name)) for name in COMMON]
    rest = sorted((name, line) for name, line in lines.items())
    return (
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND\n\nRuns containers: docker's command line on any Docker Engine API\n"
        f"\nCommon Commands:\n{_list(common)}\nManagement Commands:\n{_list(sorted(GROUPS.items()))}"
        f"\nCommands:\n{_list(rest)}\nGlobal Options:\n{flag_lines(flags, width)}"
        f"\nRun '{PROGRAM} COMMAND --help' for more information on a command.\n"
    )
