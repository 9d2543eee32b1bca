"""`inspect` in all its forms: JSON of one or more objects, or a template over each."""

from __future__ import annotations

from wherry.cli.client import ApiError, escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import INSPECT_FORMAT
from wherry.cli.commands.platforms import platform_json
from wherry.cli.jsontext import dumps
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Fetch = Callable[[str], Any]

KINDS = ("config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume")
REFUSED = frozenset(("config", "node", "plugin", "secret", "service", "task"))


def fetchers(call: Invocation, options: dict[str, Any]) -> dict[str, Fetch]:
    """How to get an object of each kind."""
    client = call.client
    return {
        "container": lambda name: client.get(f"/containers/{escape(name)}/json", size=options.get("size") or None),
        "image": lambda name: client.get(f"/images/{escape(name, '/:@')}/json", platform=options.get("platform")),
        "network": lambda name: client.get(f"/networks/{escape(name)}", verbose=options.get("verbose") or None),
        "volume": lambda name: client.get(f"/volumes/{escape(name)}"),
    }


def show(call: Invocation, names: tuple[str, ...], fetch: Fetch, template: str) -> int:
    """Prints what `fetch` finds for each name: an array of JSON, or what the template makes of each. Goes on where one fails."""
    parsed = None
    if template not in ("", "json"):
        from wherry.cli.template import TemplateError, parse

        try:
            parsed = parse(template, strict=True)
        except TemplateError as wrong:
            raise CommandFailed(f"template parsing error: {wrong.message}", 64) from None
    found, failed, lines = [], [], []
    for name in names:
        try:
            value = fetch(name)
        except WherryError as wrong:
            failed.append(wrong.message)
            continue
        if parsed is None:
            found.append(value)
            continue
        try:
            lines.append(parsed.execute(_prepared(value)))
        except TemplateError as wrong:
            failed.append(f"template parsing error: {wrong.message}")
            lines.append("")
            break
    if parsed is not None:
        call.streams.out("".join(line + "\n" for line in lines or ([""] if failed else [])))
    elif template == "json":
        call.streams.line(dumps(found))
    else:
        call.streams.line(dumps(found, html=True, indent="    "))
    if failed:
        raise CommandFailed("\n".join(failed))
    return 0


def _prepared(value: Any) -> Any:
    from wherry.cli.template.structures import typed, with_omitted

    value = typed(value)
    return with_omitted(value) if isinstance(value, dict) and "HostConfig" in value and "State" in value else value


def inspect_kind(kind: str) -> Callable[[Invocation], int]:
    """The action of `container inspect`, `image inspect`, and so on."""

    def action(call: Invocation) -> int:
        options = call.options
        extra: dict[str, Any] = {}
        if kind == "container":
            extra["size"] = options.on("size")
        elif kind == "image":
            extra["platform"] = platform_json(options.text("platform"))
        elif kind == "network":
            extra["verbose"] = options.on("verbose")
        return show(call, call.arguments, fetchers(call, extra)[kind], options.text("format"))

    return action


def inspect_any(call: Invocation) -> int:
    """Tries one kind after the other, or the one that was asked for."""
    options = call.options
    wanted = options.text("type")
    if options.given("type") and wanted not in KINDS:
        from wherry.cli.values import go_quote

        known = ", ".join(f'"{one}"' for one in KINDS)
        raise CommandFailed(
            f"type is empty: must be one of {known}"
            if not wanted
            else f"unknown type: {go_quote(wanted)}: must be one of {known}"
        )
    if wanted in REFUSED:
        raise CommandFailed(f'objects of the type "{wanted}" are not supported by wherry')
    ways = fetchers(call, {"size": options.on("size")})
    order = [wanted] if wanted else ["container", "image", "network", "volume"]

    def fetch(name: str) -> Any:
        for kind in order:
            try:
                return ways[kind](name)
            except ApiError as wrong:
                if wanted or not (
                    wrong.status == 404 or (kind == "image" and wrong.status == 400) or "not found" in wrong.detail
                ):
                    raise
        raise CommandFailed(f"Error: No such object: {name}")

    return show(call, call.arguments, fetch, options.text("format"))


def inspect_contexts(call: Invocation) -> int:
    """`context inspect`: without names the one in use."""
    from wherry.cli.commands.context import description
    from wherry.cli.endpoint import context_name

    names = call.arguments or (context_name(call.globals, call.config, call.environment),)
    return show(call, names, lambda name: description(call, name), call.options.text("format"))


SIZE = Flag(name="size", short="s", help="Add the sizes of containers")
CONTAINER = Command(
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    action=inspect_kind("container"),
    least=1,
    most=UNLIMITED,
    flags=(INSPECT_FORMAT, SIZE),
)
IMAGE = Command(
    usage="[OPTIONS] IMAGE [IMAGE...]",
    action=inspect_kind("image"),
    least=1,
    most=UNLIMITED,
    flags=(
        INSPECT_FORMAT,
        Flag(name="platform", kind="string", since="1.49", help="Inspect this platform (os[/arch[/variant]])"),
    ),
)
NETWORK = Command(
    usage="[OPTIONS] NETWORK [NETWORK...]",
    action=inspect_kind("network"),
    least=1,
    most=UNLIMITED,
    flags=(INSPECT_FORMAT, Flag(name="verbose", short="v", help="Say more, for diagnosis")),
)
VOLUME = Command(
    usage="[OPTIONS] VOLUME [VOLUME...]", action=inspect_kind("volume"), least=1, most=UNLIMITED, flags=(INSPECT_FORMAT,)
)
CONTEXT = Command(usage="[OPTIONS] [CONTEXT] [CONTEXT...]", action=inspect_contexts, most=UNLIMITED, flags=(INSPECT_FORMAT,))
ANY = Command(
    usage="[OPTIONS] NAME|ID [NAME|ID...]",
    action=inspect_any,
    least=1,
    most=UNLIMITED,
    flags=(INSPECT_FORMAT, SIZE, Flag(name="type", kind="string", help="Look for this kind of object only")),
)
