"""`ps`: lists containers."""

from __future__ import annotations

from wherry.cli.client import filters_json
from wherry.cli.command import Command, Flag, Invocation
from wherry.cli.commands.flags import FILTER, FORMAT, NO_TRUNC, QUIET
from wherry.cli.output.ports import display_ports
from wherry.cli.output.view import How, View, render
from wherry.console.units import ellipsis, local_time, short_id, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Item = dict[str, Any]


def _names(item: Item, how: How) -> str:
    names = [name.removeprefix("/") for name in item.get("Names") or ()]
    if how.truncate:
        names = [name for name in names if "/" not in name] or names
    return ",".join(names)


def _image(item: Item, how: How) -> str:
    image = item.get("Image") or ""
    if not image:
        return "<no image>"
    if not how.truncate:
        return str(image)
    if item.get("ImageID") and short_id(item["ImageID"]) == short_id(image):
        return short_id(image)
    name, at, digest = image.partition("@")
    return name if at and digest else str(image)


def _command(item: Item, how: How) -> str:
    from wherry.cli.values import go_quote

    command = item.get("Command") or ""
    return go_quote(ellipsis(command, 20) if how.truncate else command)


def _mounts(item: Item, how: How) -> str:
    names = [mount.get("Name") or mount.get("Source") or "" for mount in item.get("Mounts") or ()]
    return ",".join(ellipsis(name, 15) if how.truncate else name for name in names)


def _size(item: Item, _how: How) -> str:
    text = size(item.get("SizeRw") or 0, 3)
    total = item.get("SizeRootFs") or 0
    return f"{text} (virtual {size(total, 3)})" if total > 0 else text


def labels(item: Item, _how: How) -> str:
    """`a=b,c=d` in order."""
    return ",".join(sorted(f"{key}={value}" for key, value in (item.get("Labels") or {}).items()))


def _platform(item: Item, _how: How) -> Any:
    found = (item.get("ImageManifestDescriptor") or {}).get("platform")
    return found or None


VIEW = View(
    fields={
        "Command": _command,
        "CreatedAt": lambda item, _how: local_time(item["Created"]),
        "ID": lambda item, how: short_id(item["Id"]) if how.truncate else item["Id"],
        "Image": _image,
        "Labels": labels,
        "LocalVolumes": lambda item, _how: str(sum(mount.get("Driver") == "local" for mount in item.get("Mounts") or ())),
        "Mounts": _mounts,
        "Names": _names,
        "Networks": lambda item, _how: ",".join(sorted((item.get("NetworkSettings") or {}).get("Networks") or {})),
        "Platform": _platform,
        "Ports": lambda item, _how: display_ports(item.get("Ports") or ()),
        "RunningFor": lambda item, how: span(how.now - item["Created"]) + " ago",
        "Size": _size,
        "State": lambda item, _how: item.get("State") or "",
        "Status": lambda item, _how: item.get("Status") or "",
    },
    headers={
        "ID": "CONTAINER ID",
        "Names": "NAMES",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "CreatedAt": "CREATED AT",
        "RunningFor": "CREATED",
        "Ports": "PORTS",
        "State": "STATE",
        "Status": "STATUS",
        "Size": "SIZE",
        "Labels": "LABELS",
        "Mounts": "MOUNTS",
        "LocalVolumes": "LOCAL VOLUMES",
        "Networks": "NETWORKS",
        "Platform": "PLATFORM",
    },
    table=("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
    methods={"Label": lambda item, _how, arguments: (item.get("Labels") or {}).get(arguments[0], "")},
    go_type="*formatter.ContainerContext",
    complaints=("failed to parse template", "failed to execute template"),
    raw="container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n"
    "state: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\nlabels:"
    " {{- if .Labels}} {{.Labels}}{{- end}}\nports: {{- if .Ports}} {{.Ports}}{{- end}}\n",
)


def list_containers(call: Invocation) -> int:
    """Prints the containers that the options ask for."""
    import time

    options = call.options
    template = options.text("format") or ("" if options.on("quiet") else call.config.text("psFormat"))
    last = 1 if options.on("latest") else options.value("last")
    size_wanted = options.on("size")
    query: dict[str, Any] = {
        "all": True if options.on("all") or last > 0 else None,
        "limit": last if last > 0 else None,
        "filters": filters_json(options.many("filter")),
    }
    if size_wanted or (not options.on("quiet") and ".Size" in template):
        query["size"] = True
    items = call.client.get("/containers/json", **query)
    how = How(truncate=not options.on("no-trunc"), now=time.time(), size=size_wanted)
    if options.on("quiet"):
        call.streams.out("".join(VIEW.fields["ID"](item, how) + "\n" for item in items))
        return 0
    table = (*VIEW.table, "Size") if size_wanted else VIEW.table
    view = VIEW.replace(raw=VIEW.raw + "size: {{.Size}}\n") if size_wanted else VIEW
    call.streams.out(render(view, items, how, template, table))
    return 0


LS = Command(
    usage="[OPTIONS]",
    action=list_containers,
    flags=(
        Flag(name="all", short="a", help="Show containers that do not run, too"),
        FILTER,
        FORMAT,
        Flag(name="last", short="n", kind="int", default=-1, help="Show the n newest containers, whatever their state"),
        Flag(name="latest", short="l", help="Show the newest container, whatever its state"),
        NO_TRUNC,
        QUIET,
        Flag(name="size", short="s", help="Show sizes"),
    ),
    examples=(
        ("wherry ps -a --filter status=exited", "Containers that have ended"),
        ("wherry ps --format '{{.Names}}: {{.Status}}'", "A line of your own per container"),
    ),
)
