"""`volume create`, `ls`, `rm`, `update`."""

from __future__ import annotations

from wherry.cli.client import escape, filters_json
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import FILTER, FORMAT, QUIET
from wherry.cli.commands.network_ls import natural
from wherry.cli.create.checks import loose_pair
from wherry.cli.create.files import labels
from wherry.cli.many import for_each
from wherry.cli.output.view import How, View, render
from wherry.console.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLUSTER = (
    "availability",
    "group",
    "limit-bytes",
    "required-bytes",
    "scope",
    "secret",
    "sharing",
    "topology-preferred",
    "topology-required",
    "type",
)

VIEW = View(
    fields={
        "Availability": lambda _item, _how: "N/A",
        "Driver": lambda item, _how: item["Driver"],
        "Group": lambda _item, _how: "N/A",
        "Labels": lambda item, _how: ",".join(f"{key}={value}" for key, value in sorted((item.get("Labels") or {}).items())),
        "Links": lambda item, _how: str(item["UsageData"]["RefCount"]) if item.get("UsageData") else "N/A",
        "Mountpoint": lambda item, _how: item["Mountpoint"],
        "Name": lambda item, _how: item["Name"],
        "Scope": lambda item, _how: item["Scope"],
        "Size": lambda item, _how: size(item["UsageData"]["Size"]) if item.get("UsageData") else "N/A",
        "Status": lambda _item, _how: "N/A",
    },
    headers={
        "Driver": "DRIVER",
        "Name": "VOLUME NAME",
        "Mountpoint": "MOUNTPOINT",
        "Scope": "SCOPE",
        "Labels": "LABELS",
        "Links": "LINKS",
        "Size": "SIZE",
        "Availability": "AVAILABILITY",
        "Group": "GROUP",
        "Status": "STATUS",
    },
    methods={"Label": lambda item, _how, arguments: (item.get("Labels") or {}).get(arguments[0], "")},
    table=("Driver", "Name"),
    go_type="*formatter.volumeContext",
    raw="name: {{.Name}}\ndriver: {{.Driver}}\n",
)


def list_volumes(call: Invocation) -> int:
    """Prints the volumes in order of their names."""
    options = call.options
    if options.on("cluster"):
        raise CommandFailed("cluster volumes are not supported by wherry")
    found = call.client.get("/volumes", filters=filters_json(options.many("filter")))
    items = sorted(found["Volumes"] or (), key=lambda item: natural(item["Name"]))
    template = options.text("format") or ("" if options.on("quiet") else call.config.text("volumesFormat"))
    if options.on("quiet"):
        call.streams.out("".join(item["Name"] + "\n" for item in items))
        return 0
    call.streams.out(render(VIEW, items, How(), template))
    return 0


def create(call: Invocation) -> int:
    """Makes the volume and prints its name."""
    options = call.options
    for name in CLUSTER:
        if options.given(name):
            raise CommandFailed(f"cluster volumes (--{name}) are not supported by wherry")
    name = options.text("name")
    if call.arguments:
        if name:
            raise CommandFailed("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
        name = call.arguments[0]
    body: dict[str, Any] = {
        "Driver": options.text("driver"),
        "DriverOpts": options.pairs("opt"),
        "Labels": labels((), options.many("label")),
        "Name": name,
    }
    call.streams.line(call.client.post("/volumes/create", body)["Name"])
    return 0


def remove(call: Invocation) -> int:
    """Removes each volume."""

    def one(name: str) -> str:
        call.client.delete(f"/volumes/{escape(name)}", force=call.options.on("force") or None)
        return name

    return for_each(call, call.arguments, one)


def update(_call: Invocation) -> int:
    """Refused: there are no cluster volumes."""
    raise CommandFailed("cluster volumes are not supported by wherry")


LS = Command(
    usage="[OPTIONS]",
    action=list_volumes,
    flags=(Flag(name="cluster", help="Cluster volumes only", hidden=True), FILTER, FORMAT, QUIET),
)
CREATE = Command(
    usage="[OPTIONS] [VOLUME]",
    action=create,
    most=1,
    flags=(
        Flag(name="driver", short="d", kind="string", default="local", help="Driver"),
        Flag(name="label", kind="list", help="Label it"),
        Flag(name="name", kind="string", help="Name", hidden=True),
        Flag(name="opt", short="o", kind="map", check=loose_pair, help="Options of the driver"),
        *(
            Flag(name=name, kind="string", help="Of cluster volumes, which wherry does not support", hidden=True)
            for name in CLUSTER
        ),
    ),
)
RM = Command(
    usage="[OPTIONS] VOLUME [VOLUME...]",
    action=remove,
    least=1,
    most=UNLIMITED,
    flags=(Flag(name="force", short="f", help="Do not mind a volume that is not there"),),
)
UPDATE = Command(
    usage="[OPTIONS] [VOLUME]",
    action=update,
    most=1,
    flags=(Flag(name="availability", kind="string", default="active", help="Availability of a cluster volume"),),
)
