"""`version`: of this program and of the daemon."""

from __future__ import annotations

from wherry import __version__
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.endpoint import context_name
from wherry.console.table import columns
from wherry.console.units import parse_time
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def client_part(call: Invocation) -> dict[str, Any]:
    """What is known about this program."""
    import os

    from wherry.cli.client import NEWEST

    machine = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(os.uname().machine, os.uname().machine)
    return {
        "Platform": {"Name": "wherry"},
        "Version": __version__,
        "ApiVersion": NEWEST,
        "DefaultAPIVersion": NEWEST,
        "GitCommit": "",
        "GoVersion": "none",
        "Os": "linux",
        "Arch": machine,
        "BuildTime": "",
        "Context": context_name(call.globals, call.config, call.environment),
    }


def show_version(call: Invocation) -> int:
    """Prints both versions; exit code 1 when no daemon answers."""
    if call.options.given("kubeconfig"):
        raise CommandFailed("the option --kubeconfig is not supported: wherry does not ask Kubernetes")
    template = call.options.text("format")
    client = client_part(call)
    server, failure = None, None
    try:
        server = call.client.get("/version")
        client["ApiVersion"] = call.client.version
        _fill(server)
    except WherryError as wrong:
        failure = wrong
    value = {"Client": client, "Server": server}
    if template:
        _templated(call, template, value)
    else:
        call.streams.out(text_of(client, server))
    if failure is not None:
        raise CommandFailed(failure.message)
    return 0


def _templated(call: Invocation, template: str, value: dict[str, Any]) -> None:
    if template.strip() == "json":
        from wherry.cli.jsontext import dumps

        call.streams.line(dumps(value))
        return
    from wherry.cli.template import TemplateError, parse
    from wherry.cli.template.structures import Struct

    try:
        parsed = parse(template, name="version")
    except TemplateError as wrong:
        raise CommandFailed(f"template parsing error: {wrong.message}", 64) from None
    try:
        call.streams.line(
            parsed.execute(Struct(value, "system.versionInfo", {"Client": "system.clientVersion", "Server": "types.Version"}))
        )
    except TemplateError as wrong:
        call.streams.line("")
        raise CommandFailed(wrong.message) from None


def _fill(server: dict[str, Any]) -> None:
    """A daemon that knows no components gets the one it is."""
    if server.get("Components"):
        return
    details = {
        name: str(server.get(key, ""))
        for name, key in (
            ("ApiVersion", "ApiVersion"),
            ("Arch", "Arch"),
            ("BuildTime", "BuildTime"),
            ("Experimental", "Experimental"),
            ("GitCommit", "GitCommit"),
            ("GoVersion", "GoVersion"),
            ("KernelVersion", "KernelVersion"),
            ("MinAPIVersion", "MinAPIVersion"),
            ("Os", "Os"),
        )
    }
    server["Components"] = [{"Name": "Engine", "Version": server.get("Version", ""), "Details": details}]


def _day(text: str) -> str:
    """A build time as C's date prints it."""
    import time

    try:
        return time.asctime(time.gmtime(parse_time(text)))
    except ValueError:
        return text


def text_of(client: dict[str, Any], server: dict[str, Any] | None) -> str:
    """The text without `--format`."""
    name = client["Platform"]["Name"]
    api = client["ApiVersion"]
    if api != client["DefaultAPIVersion"]:
        api += f" (downgraded from {client['DefaultAPIVersion']})"
    rows = [
        [f"Client:{' ' + name if name else ''}"],
        [" Version:", client["Version"]],
        [" API version:", api],
        [" OS/Arch:", f"{client['Os']}/{client['Arch']}"],
        [" Context:", client["Context"]],
    ]
    if server is not None:
        platform = (server.get("Platform") or {}).get("Name") or ""
        rows += [[""], [f"Server:{' ' + platform if platform else ''}"]]
        for component in server["Components"]:
            rows += _component(component)
    return columns(rows, 20, 1)


def _component(component: dict[str, Any]) -> list[list[str]]:
    details = dict(component.get("Details") or {})
    rows = [[f" {component['Name']}:"], ["  Version:", component["Version"]]]
    if component["Name"] == "Engine":
        rows += [
            ["  API version:", f"{details.get('ApiVersion', '')} (minimum version {details.get('MinAPIVersion', '')})"],
            ["  Go version:", details.get("GoVersion", "")],
            ["  Git commit:", details.get("GitCommit", "")],
            ["  Built:", _day(details.get("BuildTime", ""))],
            ["  OS/Arch:", f"{details.get('Os', '')}/{details.get('Arch', '')}"],
            ["  Experimental:", details.get("Experimental", "")],
        ]
        return rows
    return rows + [[f"  {name}:", details[name]] for name in sorted(details)]


VERSION = Command(
    usage="[OPTIONS]",
    action=show_version,
    flags=(
        Flag(
            name="format",
            short="f",
            kind="string",
            help="Print by a template of your own:\n'json':             as JSON\n'TEMPLATE':         by this Go template",
        ),
        Flag(name="kubeconfig", kind="string", help="Kubernetes config file", hidden=True),
    ),
)
