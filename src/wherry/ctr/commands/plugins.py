"""`plugins list`."""

from __future__ import annotations

from wherry.console.table import columns
from wherry.ctr.command import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.command import Invocation

SKIPPED = "skip plugin"  # how a plugin says that this is not a machine for it


def list_(call: Invocation) -> None:
    """Lists plugins by filters, with what each needs and offers where that is asked for."""
    found = call.client.introspection.Plugins(filters=call.arguments).plugins
    if call.options.on("quiet"):
        call.streams.out("".join(f"{one.id}\n" for one in found))
    elif call.options.on("detailed"):
        rows = [row for one in found for row in _detailed(one)]
        call.streams.out(columns(rows, 4, 4))
    else:
        rows = [("TYPE", "ID", "PLATFORMS", "STATUS", ""),
                *((one.type, one.id, ",".join(map(_platform, one.platforms)) or "-", _status(one), "") for one in found)]
        call.streams.out(columns(rows, 4, 4))


def _status(plugin: Any) -> str:
    if not plugin.HasField("init_err") or plugin.init_err.code == 0:
        return "ok"
    return "skip" if SKIPPED in plugin.init_err.message else "error"


def _platform(platform: Any) -> str:
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


def _detailed(plugin: Any) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("Type:", f" {plugin.type}"), ("ID:", f" {plugin.id}")]
    if plugin.requires:
        rows += [("Requires:", ""), *(("", f" {one}") for one in plugin.requires)]
    if plugin.platforms:
        rows.append(("Platforms:", " " + ",".join(map(_platform, plugin.platforms))))
    if plugin.exports:
        rows.append(("Exports:", ""))
        rows += [("", f" {key} ", f" {value}") for key, value in sorted(plugin.exports.items())]
    if plugin.capabilities:
        rows.append(("Capabilities:", " " + ",".join(plugin.capabilities)))
    if _status(plugin) != "ok":
        rows += [("Error:", ""), ("", " Code:", f" {_code(plugin.init_err.code)}"),
                 ("", " Message:", f" {plugin.init_err.message}")]
    return [*rows, ("", "", "", "")]


def _code(number: int) -> str:
    """A status by its name in Go: `FailedPrecondition`."""
    import grpc

    names = {code.value[0]: code.name.title().replace("_", "") for code in grpc.StatusCode}
    return names.get(number, f"Code({number})")


LIST = Command(usage="[arguments...]", action=list_, flags=(
    Flag(names=("quiet", "q"), help="print ids only"),
    Flag(names=("detailed", "d"), help="print all that is known of each plugin"),
))
