"""`info`: the state of the daemon and its machine."""

from __future__ import annotations

from wherry import __version__
from wherry.cli.command import Command, CommandFailed, Invocation
from wherry.cli.commands.flags import INSPECT_FORMAT
from wherry.cli.endpoint import context_name
from wherry.console.units import binary_size
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Info = dict[str, Any]


def show_info(call: Invocation) -> int:
    """Prints everything; exit code 1 when no daemon answers."""
    template = call.options.text("format")
    context = context_name(call.globals, call.config, call.environment)
    client = {"Debug": call.globals.on("debug"), "Context": context, "Plugins": [], "Warnings": None}
    try:
        found: Info = call.client.get("/info")
    except WherryError as wrong:
        if template:
            _templated(call, template, {"ClientInfo": client, "ServerErrors": [wrong.message]})
        else:
            call.streams.out(client_text(client) + "\nServer:\n")
        raise CommandFailed(wrong.message) from None
    if template:
        _templated(call, template, {**found, "ClientInfo": client})
        return 0
    call.streams.out(client_text(client) + "\nServer:\n" + server_text(found) + "\n")
    for warning in found.get("Warnings") or ():
        call.streams.error_line(warning)
    return 0


def _templated(call: Invocation, template: str, value: Info) -> None:
    if template.strip() == "json":
        from wherry.cli.jsontext import dumps

        call.streams.line(dumps(value))
        return
    from wherry.cli.template import TemplateError, parse
    from wherry.cli.template.structures import Struct, typed

    try:
        parsed = parse(template)
    except TemplateError as wrong:
        raise CommandFailed(f"template parsing error: {wrong.message}", 64) from None
    try:
        call.streams.line(parsed.execute(Struct(typed(value), "system.dockerInfo")))
    except TemplateError as wrong:
        call.streams.line("")
        raise CommandFailed(wrong.message) from None


def client_text(client: Info) -> str:
    """The part about this program."""
    return f"Client:\n Version:    {__version__}\n Context:    {client['Context']}\n Debug Mode: {_truth(client['Debug'])}\n"


def _truth(value: object) -> str:
    return "true" if value else "false"


def server_text(info: Info) -> str:
    """The part about the daemon, line for line as docker orders it."""
    lines: list[str] = []

    def line(label: str, value: Any, indent: int = 1) -> None:
        lines.append(f"{' ' * indent}{label}: {value}")

    def filled(label: str, value: Any, indent: int = 1) -> None:
        if value:
            line(label, value, indent)

    for label, name, indent in (
        ("Containers", "Containers", 1),
        ("Running", "ContainersRunning", 2),
        ("Paused", "ContainersPaused", 2),
        ("Stopped", "ContainersStopped", 2),
        ("Images", "Images", 1),
    ):
        line(label, info.get(name, 0), indent)
    filled("Server Version", info.get("ServerVersion"))
    filled("Storage Driver", info.get("Driver"))
    lines += [f"  {name}: {value}" for name, value in info.get("DriverStatus") or ()]
    filled("Logging Driver", info.get("LoggingDriver"))
    filled("Cgroup Driver", info.get("CgroupDriver"))
    filled("Cgroup Version", info.get("CgroupVersion"))
    plugins = info.get("Plugins") or {}
    lines.append(" Plugins:")
    for label in ("Volume", "Network", "Authorization", "Log"):
        if plugins.get(label):
            line(label, " ".join(plugins[label]), 2)
    if info.get("CDISpecDirs"):
        lines.append(" CDI spec directories:")
        lines += [f"  {one}" for one in info["CDISpecDirs"]]
    line("Swarm", (info.get("Swarm") or {}).get("LocalNodeState", "inactive"))
    _runtime_lines(info, lines, line, filled)
    _machine_lines(info, lines, line, filled)
    return "\n".join(lines) + "\n"


def _runtime_lines(info: Info, lines: list[str], line: Any, filled: Any) -> None:
    if info.get("Runtimes"):
        line("Runtimes", " ".join(sorted(info["Runtimes"])))
    filled("Default Runtime", info.get("DefaultRuntime"))
    if info.get("OSType") == "linux":
        line("Init Binary", info.get("InitBinary", ""))
        for label, name in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
            line(f"{label} version", (info.get(name) or {}).get("ID", ""))
    options = info.get("SecurityOptions") or ()
    if options:
        lines.append(" Security Options:")
        for option in options:
            fields = dict(part.partition("=")[::2] for part in option.split(","))
            lines.append(f"  {fields.pop('name', option)}")
            lines += [f"   {name[:1].upper() + name[1:]}: {value}" for name, value in fields.items()]


def _machine_lines(info: Info, lines: list[str], line: Any, filled: Any) -> None:
    filled("Kernel Version", info.get("KernelVersion"))
    filled("Operating System", info.get("OperatingSystem"))
    filled("OSType", info.get("OSType"))
    filled("Architecture", info.get("Architecture"))
    line("CPUs", info.get("NCPU", 0))
    line("Total Memory", binary_size(info.get("MemTotal") or 0))
    filled("Name", info.get("Name"))
    filled("ID", info.get("ID"))
    line("Docker Root Dir", info.get("DockerRootDir", ""))
    line("Debug Mode", _truth(info.get("Debug")))
    if info.get("Debug"):
        for label, name in (
            ("File Descriptors", "NFd"),
            ("Goroutines", "NGoroutines"),
            ("System Time", "SystemTime"),
            ("EventsListeners", "NEventsListener"),
        ):
            line(label, info.get(name, ""), 2)
    for label, name in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")):
        filled(label, info.get(name))
    if info.get("Labels"):
        lines.append(" Labels:")
        lines += [f"  {one}" for one in info["Labels"]]
    line("Experimental", _truth(info.get("ExperimentalBuild")))
    registry = info.get("RegistryConfig") or {}
    insecure = [name for name, one in (registry.get("IndexConfigs") or {}).items() if not one.get("Secure")] + list(
        registry.get("InsecureRegistryCIDRs") or ()
    )
    if insecure:
        lines.append(" Insecure Registries:")
        lines += [f"  {one}" for one in insecure]
    if registry.get("Mirrors"):
        lines.append(" Registry Mirrors:")
        lines += [f"  {one}" for one in registry["Mirrors"]]
    line("Live Restore Enabled", _truth(info.get("LiveRestoreEnabled")))
    if info.get("ProductLicense"):
        line("Product License", info["ProductLicense"])
    pools = info.get("DefaultAddressPools") or ()
    if pools:
        lines.append(" Default Address Pools:")
        lines += [f"   Base: {one['Base']}, Size: {one['Size']}" for one in pools]
    backend = info.get("FirewallBackend")
    if backend:
        line("Firewall Backend", backend.get("Driver", ""))


INFO = Command(usage="[OPTIONS]", action=show_info, flags=(INSPECT_FORMAT,))
