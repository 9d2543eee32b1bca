"""`leases list`, `create`, `delete`."""

from __future__ import annotations

from wherry.console.table import columns
from wherry.ctr.command import Command, Flag
from wherry.ctr.flags import HelpWanted
from wherry.ctr.values import label_text, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation

DAY_S = 24 * 3600.0


def list_(call: Invocation) -> None:
    """Lists leases by filters."""
    found = call.client.leases.List(filters=call.arguments).leases
    if call.options.on("quiet"):
        call.streams.out("".join(f"{one.id}\n" for one in found))
        return
    rows = [("ID", "CREATED AT", "LABELS", ""),
            *((one.id, moment(one.created_at), label_text(one.labels) or "-", "") for one in found)]
    call.streams.out(columns(rows, 1, 1))


def create(call: Invocation) -> None:
    """Makes a lease and prints its id."""
    from wherry.ctr.lease import create_lease

    given = {}
    for word in call.arguments:
        key, _, value = word.partition("=")
        given[key] = value
    call.streams.line(create_lease(call.client, call.options.text("id"), call.options.seconds("expires"), given))


def delete(call: Invocation) -> None:
    """Deletes leases, the last one in step with the garbage collection where that is asked for."""
    if not call.arguments:
        raise HelpWanted
    client = call.client
    for name in call.arguments:
        client.leases.Delete(id=name, sync=call.options.on("sync") and name == call.arguments[-1])
        call.streams.line(name)


LIST = Command(usage="[flags] <filter>", action=list_, description="list the leases that containerd holds",
               flags=(Flag(names=("quiet", "q"), help="print ids only"),))
CREATE = Command(usage="[flags] <label>=<value> ...", action=create, description="make a lease", flags=(
    Flag(names=("id",), kind="string", help="id of the lease; made up when empty"),
    Flag(names=("expires", "x"), kind="duration", default=DAY_S, help="how long it lasts; 0 for ever"),
))
DELETE = Command(usage="[flags] <lease id> ...", action=delete, description="delete leases",
                 flags=(Flag(names=("sync",), help="wait until what the leases held is gone"),))
