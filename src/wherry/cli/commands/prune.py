"""Everything that prunes: containers, images, networks, volumes, build cache, and all of it."""

from __future__ import annotations

from wherry.cli.client import filters_json
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import FORCE_PRUNE, PRUNE_FILTER
from wherry.cli.values import ram_bytes
from wherry.console.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Pair = tuple[str, str]


def confirm(call: Invocation, warning: str) -> bool:
    """Asks, unless --force was given. The answer is a line of stdin."""
    if call.options.on("force"):
        return True
    import os

    call.streams.out(f"{warning} [y/N] ")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = os.read(call.streams.stdin, 1)
        if not piece:
            break
        answer += piece
    return answer.strip().lower() == b"y"


def filters(call: Invocation) -> list[Pair]:
    """The filters of the option and of config.json's `pruneFilters`."""
    given: list[Pair] = call.options.many("filter")
    known = call.config.values.get("pruneFilters")
    for text in known if isinstance(known, list) else ():
        name, _, value = str(text).partition("=")
        if (name == "label" and ("label!", value) in given) or (name == "label!" and ("label", value) in given):
            continue
        given = [*given, (name, value)]
    return given


def _deleted(title: str, names: list[str]) -> str:
    return f"{title}:\n" + "".join(name + "\n" for name in names) + "\n" if names else ""


def containers(call: Invocation, given: list[Pair]) -> tuple[int, str]:
    """Prunes containers: (bytes won, what to print)."""
    found = call.client.call("POST", "/containers/prune", {"filters": filters_json(given)})
    return found.get("SpaceReclaimed") or 0, _deleted("Deleted Containers", found.get("ContainersDeleted") or [])


def networks(call: Invocation, given: list[Pair]) -> tuple[int, str]:
    """Prunes networks."""
    found = call.client.call("POST", "/networks/prune", {"filters": filters_json(given)})
    return 0, _deleted("Deleted Networks", found.get("NetworksDeleted") or [])


def volumes(call: Invocation, given: list[Pair]) -> tuple[int, str]:
    """Prunes volumes."""
    found = call.client.call("POST", "/volumes/prune", {"filters": filters_json(given)})
    return found.get("SpaceReclaimed") or 0, _deleted("Deleted Volumes", found.get("VolumesDeleted") or [])


def images(call: Invocation, given: list[Pair], every: bool) -> tuple[int, str]:
    """Prunes images."""
    found = call.client.call(
        "POST", "/images/prune", {"filters": filters_json([*given, ("dangling", "false" if every else "true")])}
    )
    lines = [
        f"untagged: {one['Untagged']}" if one.get("Untagged") else f"deleted: {one['Deleted']}"
        for one in found.get("ImagesDeleted") or ()
    ]
    return found.get("SpaceReclaimed") or 0, _deleted("Deleted Images", lines)


def builds(call: Invocation, given: list[Pair], every: bool, keep: int = 0) -> tuple[int, str]:
    """Prunes the build cache."""
    query = {"all": every or None, "filters": filters_json(given), "keep-storage": keep or None}
    found = call.client.call("POST", "/build/prune", query)
    return found.get("SpaceReclaimed") or 0, _deleted("Deleted build cache objects", found.get("CachesDeleted") or [])


def _run(call: Invocation, warning: str, prune: Callable[[], tuple[int, str]], total: str = "Total reclaimed space: {}\n") -> int:
    if not confirm(call, warning):
        return _cancelled(call)
    won, text = prune()
    if text or total:
        call.streams.out(text + total.format(size(won)))
    return 0


def _cancelled(_call: Invocation) -> int:
    return 0


def _containers(call: Invocation) -> int:
    return _run(
        call,
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?",
        lambda: containers(call, filters(call)),
    )


def _networks(call: Invocation) -> int:
    warning = (
        "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?"
    )
    return _run(call, warning, lambda: networks(call, filters(call)), "")


def _volumes(call: Invocation) -> int:
    given = filters(call)
    every = call.options.on("all")
    if every:
        if any(name == "all" for name, _ in given):
            raise CommandFailed("conflicting options: cannot specify both --all and --filter all=1")
        given = [*given, ("all", "true")]
    if every or any(name == "all" for name, _ in given):
        warning = "WARNING! This will remove all local volumes not used by at least one container."
    else:
        warning = "WARNING! This will remove anonymous local volumes not used by at least one container."
        if not call.client.at_least("1.42"):
            warning = "WARNING! This will remove all local volumes not used by at least one container."
    return _run(call, f"{warning}\nAre you sure you want to continue?", lambda: volumes(call, given))


def _images(call: Invocation) -> int:
    every = call.options.on("all")
    warning = (
        "WARNING! This will remove all images without at least one container associated to them."
        if every
        else "WARNING! This will remove all dangling images."
    )
    return _run(call, f"{warning}\nAre you sure you want to continue?", lambda: images(call, filters(call), every))


def _builds(call: Invocation) -> int:
    every = call.options.on("all")
    warning = f"WARNING! This will remove {'all' if every else 'all dangling'} build cache. Are you sure you want to continue?"
    return _run(call, warning, lambda: builds(call, filters(call), every, call.options.number("keep-storage")), "Total:\t{}\n")


def _system(call: Invocation) -> int:
    options = call.options
    every, with_volumes = options.on("all"), options.on("volumes")
    given = filters(call)
    if with_volumes and any(name == "until" for name, _ in given):
        raise CommandFailed('ERROR: The "until" filter is not supported with "--volumes"')
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if with_volumes:
        lines.append("all anonymous volumes not used by at least one container")
    lines += (
        ["all images without at least one container associated to them", "all build cache"]
        if every
        else ["all dangling images", "unused build cache"]
    )
    warning = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if given:
        warning += "\n  Items to be pruned will be filtered with:\n" + "".join(
            f"  - {name}={value}\n" for name, value in sorted(given)
        )
    if not confirm(call, f"{warning}\nAre you sure you want to continue?"):
        return _cancelled(call)
    total = 0
    plain = [pair for pair in given if pair[0] != "until"]
    steps: list[Callable[[], tuple[int, str]]] = [lambda: containers(call, given), lambda: networks(call, given)]
    if with_volumes:
        steps.append(lambda: volumes(call, plain))
    steps += [lambda: images(call, given, every), lambda: builds(call, [pair for pair in given if pair[0] == "until"], every)]
    for step in steps:
        won, text = step()
        total += won
        call.streams.out(text)
    call.streams.line(f"Total reclaimed space: {size(total)}")
    return 0


ALL_IMAGES = Flag(name="all", short="a", help="Take every image without containers, not only those without a name")
CONTAINERS = Command(usage="[OPTIONS]", action=_containers, flags=(PRUNE_FILTER, FORCE_PRUNE))
IMAGES = Command(usage="[OPTIONS]", action=_images, flags=(ALL_IMAGES, PRUNE_FILTER, FORCE_PRUNE))
NETWORKS = Command(usage="[OPTIONS]", action=_networks, flags=(PRUNE_FILTER, FORCE_PRUNE))
VOLUMES = Command(
    usage="[OPTIONS]",
    action=_volumes,
    flags=(
        Flag(name="all", short="a", since="1.42", help="Take volumes with a name, too"),
        PRUNE_FILTER.replace(help='Take only what meets the condition (as "label=<label>")'),
        FORCE_PRUNE,
    ),
)
BUILDER = Command(
    usage="",
    action=_builds,
    flags=(
        Flag(name="all", short="a", help="Take the whole cache, not only what no build leads to"),
        PRUNE_FILTER,
        FORCE_PRUNE,
        Flag(name="keep-storage", kind="bytes", check=ram_bytes, help="How much of the cache to keep"),
    ),
)
SYSTEM = Command(
    usage="[OPTIONS]",
    action=_system,
    flags=(
        ALL_IMAGES,
        PRUNE_FILTER.replace(help='Take only what meets the condition (as "label=<key>=<value>")'),
        FORCE_PRUNE,
        Flag(name="volumes", help="Remove anonymous volumes, too"),
    ),
)
