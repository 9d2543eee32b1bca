"""`system df`: what takes how much disk."""

from __future__ import annotations

from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands import images, ps, volume
from wherry.cli.commands.flags import FORMAT
from wherry.cli.output.view import How, View, render
from wherry.console.table import columns
from wherry.console.units import parse_time, short_id, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Usage = dict[str, Any]

VIEW = View(
    fields={
        "Active": lambda row, _how: str(row["active"]),
        "Reclaimable": lambda row, _how: row["reclaimable"],
        "Size": lambda row, _how: row["size"],
        "TotalCount": lambda row, _how: str(row["total"]),
        "Type": lambda row, _how: row["type"],
    },
    headers={"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"},
    table=("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    go_type="*formatter.diskUsageContext",
)


def _share(part: int, total: int) -> str:
    return f"{size(part)} ({part * 100 // total}%)" if total > 0 else size(part)


def summary(usage: Usage) -> list[dict[str, Any]]:
    """The four rows."""
    all_images, containers, volumes, cache = (usage.get(name) or [] for name in ("Images", "Containers", "Volumes", "BuildCache"))
    layers = usage.get("LayersSize") or 0
    used = sum(
        image["Size"] - image["SharedSize"]
        for image in all_images
        if image.get("Containers", 0) and image["Size"] != -1 and image["SharedSize"] != -1
    )
    running = [one for one in containers if one.get("State") in ("running", "paused", "restarting")]
    total = sum(one.get("SizeRw") or 0 for one in containers)
    idle = total - sum(one.get("SizeRw") or 0 for one in running)
    measured = [one for one in volumes if (one.get("UsageData") or {}).get("Size", -1) != -1]
    volume_total = sum(one["UsageData"]["Size"] for one in measured)
    volume_idle = sum(one["UsageData"]["Size"] for one in measured if not one["UsageData"]["RefCount"])
    cache_size = sum(one["Size"] for one in cache if not one.get("Shared"))
    cache_used = sum(one["Size"] for one in cache if one.get("InUse") and not one.get("Shared"))
    return [
        {
            "type": "Images",
            "total": len(all_images),
            "active": sum((image.get("Containers") or 0) > 0 for image in all_images),
            "size": size(layers),
            "reclaimable": _share(layers - used, layers),
        },
        {
            "type": "Containers",
            "total": len(containers),
            "active": len(running),
            "size": size(total),
            "reclaimable": _share(idle, total),
        },
        {
            "type": "Local Volumes",
            "total": len(volumes),
            "active": sum((one.get("UsageData") or {}).get("RefCount", 0) > 0 for one in volumes),
            "size": size(volume_total),
            "reclaimable": _share(volume_idle, volume_total),
        },
        {
            "type": "Build Cache",
            "total": len(cache),
            "active": sum(bool(one.get("InUse")) for one in cache),
            "size": size(cache_size),
            "reclaimable": size(cache_size - cache_used),
        },
    ]


def _verbose(usage: Usage, now: float) -> str:
    how = How(now=now)
    image_table = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers")
    image_view = images.VIEW.replace(
        fields={
            **images.VIEW.fields,
            "SharedSize": lambda item, _how: "N/A" if item["SharedSize"] == -1 else size(item["SharedSize"]),
            "UniqueSize": lambda item, _how: "N/A" if item["SharedSize"] == -1 else size(item["Size"] - item["SharedSize"]),
        }
    )
    container_view = ps.VIEW.replace(fields={**ps.VIEW.fields, "Size": lambda item, _how: size(item.get("SizeRw") or 0, 3)})
    volume_view = volume.VIEW.replace(headers={**volume.VIEW.headers, "Name": "VOLUME NAME"})
    text = "Images space usage:\n\n" + render(
        image_view, images.rows(usage.get("Images") or [], digests=False), how, "", image_table
    )
    text += "\nContainers space usage:\n\n" + render(
        container_view,
        usage.get("Containers") or [],
        how,
        "",
        ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"),
    )
    text += "\nLocal Volumes space usage:\n\n" + render(
        volume_view, usage.get("Volumes") or [], how, "", ("Name", "Links", "Size")
    )
    cache = usage.get("BuildCache") or []
    text += f"\nBuild cache usage: {size(sum(one['Size'] for one in cache if not one.get('Shared')))}\n\n"
    rows = [["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"]]
    for one in cache:
        last = one.get("LastUsedAt")
        rows.append(
            [
                short_id(one["ID"]) + ("" if one.get("InUse") else "*"),
                one["Type"],
                size(one["Size"], 3),
                f"{span(now - parse_time(one['CreatedAt']))} ago",
                f"{span(now - parse_time(last))} ago" if last else "",
                str(one.get("UsageCount") or 0),
                "true" if one.get("Shared") else "false",
            ]
        )
    return text + columns(rows)


def show_usage(call: Invocation) -> int:
    """Prints the summary, or every object with -v."""
    import time

    options = call.options
    template = options.text("format")
    usage = call.client.get("/system/df", verbose=True if options.on("verbose") and call.client.at_least("1.52") else None)
    now = time.time()
    if options.on("verbose") and not template:
        call.streams.out(_verbose(usage, now))
        return 0
    if options.on("verbose"):
        raise CommandFailed("the option --verbose together with --format is not supported yet")
    call.streams.out(render(VIEW, summary(usage), How(now=now), template))
    return 0


DF = Command(usage="[OPTIONS]", action=show_usage, flags=(FORMAT, Flag(name="verbose", short="v", help="Show every object")))
