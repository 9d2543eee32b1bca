"""`build`: an image from a Dockerfile, by the classic API of the daemon."""

from __future__ import annotations

import os

from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import CONTENT_TRUST
from wherry.cli.create import checks
from wherry.cli.create.files import labels
from wherry.cli.output.progress import ProgressError, ProgressScreen
from wherry.cli.values import swap_bytes
from wherry.errors import InvalidArgument, WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.build_context import Context


def _tag(text: str) -> str:
    from wherry.oci.reference import parse_reference

    try:
        parse_reference(text)
    except InvalidArgument as wrong:
        raise ValueError(wrong.message) from None
    return text


def query(call: Invocation, dockerfile: str, remote: str) -> dict[str, Any]:
    """The parameters of POST /build; what is zero is left out, as docker does."""
    from wherry.cli.credentials import proxy_variables
    from wherry.cli.jsontext import dumps

    options = call.options
    arguments: dict[str, str | None] = (
        dict(sorted(proxy_variables(call.config, call.client.endpoint.url).items())) if call.config.table("proxies") else {}
    )
    for one in options.many("build-arg"):
        name, equals, value = one.partition("=")
        arguments[name] = value if equals else call.environment.get(name)
    found: dict[str, Any] = {
        "buildargs": dumps(arguments, html=True) if arguments else None,
        "cachefrom": dumps(options.many("cache-from")) if options.many("cache-from") else None,
        "cgroupparent": options.text("cgroup-parent") or None,
        "cpuperiod": options.number("cpu-period") or None,
        "cpuquota": options.number("cpu-quota") or None,
        "cpusetcpus": options.text("cpuset-cpus") or None,
        "cpusetmems": options.text("cpuset-mems") or None,
        "cpushares": options.number("cpu-shares") or None,
        "dockerfile": dockerfile or None,
        "extrahosts": options.many("add-host") or None,
        "forcerm": options.on("force-rm") or None,
        "isolation": options.text("isolation") or None,
        "memory": options.number("memory") or None,
        "memswap": options.number("memory-swap") or None,
        "networkmode": options.text("network") if options.text("network") not in ("", "default") else None,
        "nocache": options.on("no-cache") or None,
        "platform": options.text("platform").lower() or None,
        "pull": options.on("pull") or None,
        "q": options.on("quiet") or None,
        "remote": remote or None,
        "rm": None if options.on("rm") else False,
        "securityopt": options.many("security-opt") or None,
        "shmsize": options.number("shm-size") or None,
        "squash": options.on("squash") or None,
        "t": options.many("tag") or None,
        "target": options.text("target") or None,
        "version": "1",
    }
    given = labels((), options.many("label"))
    if given:
        found["labels"] = dumps(dict(sorted(given.items())), html=True)
    if options.many("ulimit"):
        found["ulimits"] = dumps(options.many("ulimit"))
    return found


def build(call: Invocation) -> int:
    """Sends the context, shows the steps and writes the id where it is wanted."""
    from wherry.cli.build_context import open_context

    options, streams = call.options, call.streams
    iidfile = options.text("iidfile")
    if iidfile and os.path.exists(iidfile):
        os.unlink(iidfile)
    if options.text("file") == "-" and call.arguments[0] == "-":
        raise CommandFailed("invalid argument: can't use stdin for both build context and dockerfile")
    context = open_context(call.arguments[0], options.text("file"), streams, compress=options.on("compress"))
    quiet = options.on("quiet")
    said: list[str] = []
    write: Callable[[str], None] = said.append if quiet else streams.out
    identifiers: list[str] = []
    answer = call.client.stream(
        "POST",
        "/build",
        query(call, context.dockerfile, context.remote),
        _announced(call, context, quiet),
        {"Content-Type": "application/x-tar", **_logins(call)},
    )
    screen = ProgressScreen(write, streams.size()[1] if streams.stdout_is_terminal and not quiet else 0)
    try:
        screen.show_all(
            answer.values(), lambda aux: identifiers.append(aux["ID"]) if isinstance(aux, dict) and aux.get("ID") else None
        )
    except ProgressError as wrong:
        if quiet:
            streams.err("".join(said))
        raise CommandFailed(wrong.message, wrong.code or 1) from None
    if quiet:
        identifier = "".join(said).strip() or (identifiers[-1] if identifiers else "")
        streams.line(identifier)
        identifiers = identifiers or [identifier]
    if iidfile:
        if not identifiers:
            raise CommandFailed("server did not provide an image ID. Cannot write " + iidfile)
        with open(iidfile, "w", encoding="utf-8") as file:
            file.write(identifiers[-1])
    return 0


def _logins(call: Invocation) -> dict[str, str]:
    from wherry.cli.credentials import all_logins, url_base64

    try:
        return {"X-Registry-Config": url_base64(all_logins(call.config))}
    except WherryError as wrong:
        call.streams.error_line(f"WARNING: {wrong.message}")
        return {"X-Registry-Config": url_base64({})}


def _announced(call: Invocation, context: Context, quiet: bool) -> Any:
    """The context's bytes, with the line that says how much was sent."""
    if context.pieces is None:
        return None
    return _counted(call, context, quiet)


def _counted(call: Invocation, context: Context, quiet: bool) -> Any:
    from wherry.cli.output.progress import bar

    count, shown = 0, 0
    terminal = call.streams.stdout_is_terminal
    assert context.pieces is not None
    for piece in context.pieces:
        count += len(piece)
        yield piece
        if terminal and not quiet and count - shown > 1 << 20:
            shown = count
            call.streams.out(f"Sending build context to Docker daemon {bar({'current': count}, 80, 0)}\r")
    if not quiet:
        call.streams.out(f"Sending build context to Docker daemon {bar({'current': count}, 80, 0)}\r\r\n")


BUILD = Command(
    usage="[OPTIONS] PATH | URL | -",
    action=build,
    least=1,
    most=1,
    flags=(
        Flag(name="add-host", kind="list", check=checks.extra_host, help='Add a name to the hosts file ("host:ip")'),
        Flag(name="build-arg", kind="list", help="Set a build argument"),
        Flag(name="cache-from", kind="strings", help="Images whose layers serve as a cache"),
        Flag(name="cgroup-parent", kind="string", help="Cgroup for RUN"),
        Flag(name="compress", help="Send the context compressed"),
        Flag(name="cpu-period", kind="int", help="Period of the CPU quota, in microseconds"),
        Flag(name="cpu-quota", kind="int", help="CPU time per period, in microseconds"),
        Flag(name="cpu-shares", short="c", kind="int", help="Weight of CPU time"),
        Flag(name="cpuset-cpus", kind="string", help="CPUs to run on (0-3, 0,1)"),
        Flag(name="cpuset-mems", kind="string", help="Memory nodes to use (0-3, 0,1)"),
        CONTENT_TRUST,
        Flag(name="file", short="f", kind="string", help='Dockerfile (default "PATH/Dockerfile")'),
        Flag(name="force-rm", help="Remove the containers between, also of a build that failed"),
        Flag(name="iidfile", kind="string", help="Write the image's id to this file"),
        Flag(name="isolation", kind="string", help="How containers are kept apart (Windows has a choice)"),
        Flag(name="label", kind="list", check=checks.label, help="Label the image"),
        Flag(name="memory", short="m", kind="bytes", help="Limit of memory"),
        Flag(
            name="memory-swap", kind="bytes", check=swap_bytes, help="Limit of memory and swap together; -1 for no limit of swap"
        ),
        Flag(name="network", kind="string", default="default", help="Network mode for RUN"),
        Flag(name="no-cache", help="Run every step again"),
        Flag(name="platform", kind="string", help="Platform of the image"),
        Flag(name="pull", help="Fetch the base image, also where there is one"),
        Flag(name="quiet", short="q", help="Print only the image's id, at the end"),
        Flag(name="rm", default=True, help="Remove the containers between"),
        Flag(name="security-opt", kind="strings", help="Security options"),
        Flag(name="shm-size", kind="bytes", help="Size of /dev/shm"),
        Flag(name="squash", help="Make one layer of the new ones (daemons with experiments only)"),
        Flag(name="tag", short="t", kind="list", check=_tag, help="Name the image (name:tag)"),
        Flag(name="target", kind="string", help="Stage to build"),
        Flag(name="ulimit", kind="ulimit", check=checks.ulimit, help="Limits of processes"),
    ),
    examples=(("wherry build -t app .", "An image of the folder here"),),
)
