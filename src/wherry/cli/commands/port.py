"""`port`: where a container's ports are published."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import Command, CommandFailed, Invocation

TYPE_CHECKING = False


def _address(binding: dict[str, str]) -> str:
    host = binding["HostIp"]
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"


def port(call: Invocation) -> int:
    """Prints all bindings, or those of one port."""
    name = call.arguments[0]
    container = call.client.get(f"/containers/{escape(name)}/json")
    ports = container["NetworkSettings"].get("Ports") or {}
    if len(call.arguments) > 1:
        number, _, protocol = call.arguments[1].partition("/")
        if not number.isdecimal() or int(number) > 65535:
            raise CommandFailed(f"Error: invalid port ({number}): must be a number")
        bindings = ports.get(f"{int(number)}/{protocol or 'tcp'}")
        if not bindings:
            raise CommandFailed(f"Error: No public port '{call.arguments[1]}' published for {name}")
        call.streams.out("".join(_address(one) + "\n" for one in bindings))
        return 0
    lines = [(key, f"{key} -> {_address(one)}") for key, bindings in ports.items() for one in bindings or ()]
    lines.sort(key=lambda one: (int(one[0].partition("/")[0]), one[0]))
    call.streams.out("".join(line + "\n" for _, line in lines))
    return 0


PORT = Command(usage="CONTAINER [PRIVATE_PORT[/PROTO]]", action=port, least=1, most=2)
