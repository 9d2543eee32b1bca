"""Help in urfave/cli's layout, printed from the commands' own data."""

from __future__ import annotations

from wherry.ctr.flags import HELP
from wherry.ctr.index import members
from wherry.ctr.values import spelled_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.ctr.command import Command, Flag

ABOUT = "a command line for containerd's API"
DESCRIPTION = """
For debugging and administration: it shows what containerd has and does, command by command of ctr 1.6.
It speaks to containerd's socket and to wherryd's alike.
"""
HELP_COMMAND = ("help, h", "Shows a list of commands or help for one command")


def _head(flag: Flag) -> str:
    value = "" if flag.kind == "bool" else f" {flag.shown}"
    return ", ".join(f"{'-' if len(name) == 1 else '--'}{name}{value}" for name in flag.names)


def _default(flag: Flag) -> str:
    if flag.kind == "duration":
        return f" (default: {spelled_duration(flag.default or 0.0)})"
    if flag.kind in ("int", "uint", "float"):
        return f" (default: {flag.default or 0})"
    return f' (default: "{flag.default}")' if flag.kind == "string" and flag.default else ""


def _columns(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows) + 2
    return "".join(f"   {left.ljust(width)}{right}\n" for left, right in rows)


def flag_lines(flags: Sequence[Flag]) -> str:
    """One line per flag, help lined up."""
    return _columns([(_head(flag), flag.help + _default(flag) + (f" [${flag.variable}]" if flag.variable else ""))
                     for flag in flags])


def command_help(name: str, command: Command, line: str) -> str:
    """The help of one command; `name` is all of it, the program's too."""
    text = f"NAME:\n   {name} - {line}\n\nUSAGE:\n   {name}{' [command options]' if command.flags else ''} {command.usage}\n"
    if command.description:
        text += f"\nDESCRIPTION:\n   {command.description}\n"
    if command.flags:
        text += f"\nOPTIONS:\n{flag_lines(command.flags)}   \n"
    return text


def group_help(name: str, group: str, line: str, flags: Sequence[Flag]) -> str:
    """The help of a group of commands."""
    return (f"NAME:\n   {name} - {line}\n\nUSAGE:\n   {name} command [command options] [arguments...]\n\n"
            f"COMMANDS:\n{_columns(members(group))}\nOPTIONS:\n{flag_lines((*flags, HELP))}   \n")


def root_help(program: str, version: str, flags: Sequence[Flag]) -> str:
    """The help of the program; `flags` are all global ones."""
    return (f"NAME:\n   {program} - {ABOUT}\n\nUSAGE:\n   {program} [global options] command [command options] [arguments...]\n\n"
            f"VERSION:\n   {version}\n\nDESCRIPTION:\n   {DESCRIPTION}\nCOMMANDS:\n{_columns([*members(''), HELP_COMMAND])}\n"
            f"GLOBAL OPTIONS:\n{flag_lines(flags)}")
