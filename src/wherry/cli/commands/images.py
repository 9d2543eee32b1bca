"""`images`: lists images."""

from __future__ import annotations

from wherry.cli.client import filters_json
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import FILTER, FORMAT, NO_TRUNC, QUIET
from wherry.cli.output.view import How, View, render
from wherry.console.units import local_time, short_id, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Item = dict[str, Any]

NONE = "<none>"


def _since(item: Item, how: How) -> str:
    return f"{span(how.now - item['Created'])} ago" if item["Created"] > 0 else "N/A"


def _number(count: int) -> str:
    return "N/A" if count == -1 else str(count)


VIEW = View(
    fields={
        "Containers": lambda item, _how: _number(item.get("Containers", -1)),
        "CreatedAt": lambda item, _how: local_time(item["Created"]),
        "CreatedSince": _since,
        "Digest": lambda item, _how: item["digest"],
        "ID": lambda item, how: short_id(item["Id"]) if how.truncate else item["Id"],
        "Repository": lambda item, _how: item["repository"],
        "SharedSize": lambda item, _how: "N/A" if item.get("SharedSize", -1) == -1 else size(item["SharedSize"], 3),
        "Size": lambda item, _how: size(item["Size"], 3),
        "Tag": lambda item, _how: item["tag"],
        "UniqueSize": lambda item, _how: (
            "N/A" if item.get("SharedSize", -1) == -1 else size(item["Size"] - item["SharedSize"], 3)
        ),
        "VirtualSize": lambda item, _how: size(item.get("VirtualSize") or item["Size"]),
    },
    headers={
        "ID": "IMAGE ID",
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "Containers": "CONTAINERS",
        "VirtualSize": "SIZE",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
    },
    table=("Repository", "Tag", "ID", "CreatedSince", "Size"),
    go_type="*formatter.imageContext",
    raw="repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
)


def rows(images: list[Item], *, digests: bool) -> list[Item]:
    """One row per name, as docker counts them: each tag, with its digest where digests are asked for.

    An image without names has one row.
    """
    found = []
    for image in images:
        tags: dict[str, list[str]] = {}
        sums: dict[str, list[str]] = {}
        for text in image.get("RepoTags") or ():
            name, _, tag = text.rpartition(":")
            if text != "<none>:<none>":
                tags.setdefault(name, []).append(tag)
        for text in image.get("RepoDigests") or ():
            name, _, digest = text.rpartition("@")
            if text != "<none>@<none>":
                sums.setdefault(name, []).append(digest)
        if not tags and not sums:
            found.append({**image, "repository": NONE, "tag": NONE, "digest": NONE})
            continue
        for name in dict.fromkeys((*tags, *sums)):
            own_tags, own_sums = tags.get(name, []), sums.get(name, [])
            if not digests:
                found += [{**image, "repository": name, "tag": tag, "digest": NONE} for tag in own_tags or [NONE]]
                continue
            for tag in own_tags or [NONE]:
                found += [{**image, "repository": name, "tag": tag, "digest": digest} for digest in own_sums or [NONE]]
    return found


def list_images(call: Invocation) -> int:
    """Prints the images that the options ask for."""
    import time

    options = call.options
    if options.on("tree"):
        raise CommandFailed("the option --tree is not supported yet")
    filters = options.many("filter")
    if call.arguments:
        filters = [*filters, ("reference", call.arguments[0])]
    images = call.client.get("/images/json", all=options.on("all") or None, filters=filters_json(filters))
    template = options.text("format") or ("" if options.on("quiet") else call.config.text("imagesFormat"))
    digests = options.on("digests") or ".Digest" in template
    how = How(truncate=not options.on("no-trunc"), now=time.time())
    items = rows(images, digests=digests)
    if options.on("quiet"):
        call.streams.out("".join(VIEW.fields["ID"](item, how) + "\n" for item in items))
        return 0
    table = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size") if options.on("digests") else VIEW.table
    call.streams.out(render(VIEW, items, how, template, table))
    return 0


LS = Command(
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    action=list_images,
    most=1,
    flags=(
        Flag(name="all", short="a", help="Show the images between, too (builds leave them)"),
        Flag(name="digests", help="Show digests"),
        FILTER,
        FORMAT,
        NO_TRUNC,
        QUIET,
        Flag(name="tree", help="List images of several platforms as a tree (experimental)"),
    ),
)
