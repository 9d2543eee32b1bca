"""`wherry-runc kill`: sends a signal to a container."""

from __future__ import annotations

from wherry.errors import Conflict, InvalidArgument
from wherry.linux.signals import signal_number
from wherry.runtime import container, state
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="kill", usage="send a signal to a container's init", arguments="<container-id> [signal]", minimum=1, maximum=2,
    flags=(Flag(names=("all", "a"), kind="switch", help="send the signal to all processes in the container"),
           Flag(names=("regex", "r"), kind="switch", help="the id is a regular expression: every container it finds, as crun")),
    description="The signal is a name, with or without SIG, or a number; TERM if not given.\n\n"
                "    wherry-runc kill mycontainer KILL")


def run(context: Context) -> int:
    """Sends the signal."""
    given = context.arguments[0]
    number = parse_signal((*context.arguments, "")[1] or "TERM")
    for container_id in state.matching_ids(context.root, given) if context.flags["regex"] else (given,):
        _signal(container.load(context.root, container_id), number, everyone=context.flags["all"])
    return 0


def _signal(found: container.Container, number: int, everyone: bool) -> None:
    try:
        container.kill(found, number, everyone)
    except Conflict:
        if not everyone:  # nobody is left: fine, as with runc
            raise
    except OSError as error:
        raise InvalidArgument(f"unable to signal init: {(error.strerror or '').lower()}") from error


def parse_signal(text: str) -> int:
    """The number of a signal by its name or number. InvalidArgument «unknown signal»."""
    if text.removeprefix("-").isdigit():
        return int(text)  # one that the kernel does not know is for it to refuse
    number = signal_number(text)
    if number is None:
        raise InvalidArgument(f'unknown signal "{text}"')
    return number
