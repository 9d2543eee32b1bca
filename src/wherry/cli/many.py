"""The same thing done to several names: each success is printed, each failure is reported, and the exit code tells."""

from __future__ import annotations

from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.cli.command import Invocation


def for_each(call: Invocation, names: Iterable[str], act: Callable[[str], str | None]) -> int:
    """Calls `act` for each name and prints what it returns (the name, normally).

    Errors go to stderr, one line each, and the others go on.
    """
    failed = []
    for name in names:
        try:
            said = act(name)
        except WherryError as wrong:
            failed.append(wrong.message)
        else:
            if said is not None:
                call.streams.line(said)
    if failed:
        call.streams.error_line("\n".join(failed))
    return 1 if failed else 0
