"""What a command is: its flags, its words for help, its action. The values that every other module of the room passes around.

    main      finds the place in `index.TREE`, imports that one module, takes its `Command`
    flags     turns the arguments into `Options` by the command's flags
    action    gets an `Invocation`, prints, and returns the exit code

A command lives in one module of `commands/`, with flags, help and action side by side.
"""

from __future__ import annotations

from wherry.errors import WherryError
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.console.streams import Streams
    from wherry.ctr.client import Client
    from wherry.ctr.flags import Options


class Flag(Record):
    """One option. `names`: the first is the one it is read by; a name of one letter is written with one dash.

    `kind` picks the parser (`flags.KINDS`); `variable` is what it is read from in the environment when it is not on the
    command line; `shown` stands for «value» in help.
    """

    names: tuple[str, ...]
    help: str
    kind: str = "bool"
    default: Any = None
    variable: str = ""
    shown: str = "value"
    required: bool = False


class Command(Record):
    """A leaf of the command tree.

    `usage` is what follows the command's name in help; `reorders` is false where options end at the first argument, since what
    follows is another program's command line.
    """

    usage: str
    action: Callable[[Invocation], int | None]
    flags: tuple[Flag, ...] = ()
    description: str = ""
    reorders: bool = True


class Invocation(Record):
    """One call of a command. `group` holds the options between a group's name and the command's."""

    program: str
    options: Options
    arguments: tuple[str, ...]
    group: Options
    globals: Options
    streams: Streams
    environment: dict[str, str]
    connect: Callable[[], Client]

    @property
    def client(self) -> Client:
        """The connection to the daemon; made at first use."""
        return self.connect()

    def argument(self, position: int) -> str:
        """An argument, or "" where there is none."""
        return self.arguments[position] if position < len(self.arguments) else ""


class CommandFailed(WherryError):
    """Ends the command: the message goes to stderr behind the program's name, `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class UsageError(WherryError):
    """The arguments make no sense; help is printed before the message."""
