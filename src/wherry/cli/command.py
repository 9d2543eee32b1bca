"""What a command is: its flags, its words for help, its action. The values that every other module of the room passes around.

    main      finds the place in `index.PLACES`, imports that one module, takes its `Command`
    flags     turns the arguments into `Options` by the command's flags
    action    gets an `Invocation` and returns the exit code

A command lives in one module of `commands/`, with flags, help and action side by side.
"""

from __future__ import annotations

from wherry.errors import WherryError
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.client import Client
    from wherry.cli.configfile import ConfigFile
    from wherry.cli.flags import Options
    from wherry.console.streams import Streams

PROGRAM = "wherry"
UNLIMITED = -1


class Flag(Record):
    """One option. `kind` names the value in help and picks its parser (`flags.KINDS`); `check` replaces that parser.

    `shown` is what help says about the default (with its quotes or brackets); empty says nothing. `since` is the API version
    that the daemon must speak («windows» for what only daemons there know); `same_as` names the flag whose value this one is
    another spelling of.
    """

    name: str
    help: str = ""
    short: str = ""
    kind: str = "bool"
    default: Any = None
    shown: str = ""
    check: Callable[[str], Any] | None = None
    hidden: bool = False
    since: str = ""
    same_as: str = ""


class Command(Record):
    """A leaf of the command tree.

    `usage` is what follows the command's name. `least` and `most` count the arguments; `most` may be UNLIMITED.
    `interspersed` is false where option parsing ends at the first argument.
    """

    usage: str
    action: Callable[[Invocation], int]
    summary: str = ""
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int = 0
    interspersed: bool = True
    more_usage: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    error_code: int = 1
    skip_flags: bool = False


class Invocation(Record):
    """One call of a command. `name` is how it was called («ps», «container ls»)."""

    name: str
    options: Options
    arguments: tuple[str, ...]
    streams: Streams
    config: ConfigFile
    connect: Callable[[], Client]
    globals: Options
    environment: dict[str, str]

    @property
    def client(self) -> Client:
        """The connection to the daemon; made at first use."""
        return self.connect()


class CommandFailed(WherryError):
    """Ends the command: the message goes to stderr (nothing for an empty one), `code` is the exit code.

    `hinted` puts the program's name before the message and where to find help behind it.
    """

    def __init__(self, message: str, code: int = 1, *, hinted: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.hinted = hinted


class UsageError(WherryError):
    """The arguments make no sense; `message` is complete, and is followed by the usage lines."""

    def __init__(self, message: str, code: int = 125) -> None:
        super().__init__(message)
        self.code = code
