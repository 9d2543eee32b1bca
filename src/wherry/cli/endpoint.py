"""Which daemon is meant: `-H`, `-c`, DOCKER_HOST, DOCKER_CONTEXT, the current context, our own socket, in docker's order."""

from __future__ import annotations

from wherry.cli.transport import Endpoint, TlsFiles
from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.configfile import ConfigFile
    from wherry.cli.flags import Options

DEFAULT_URL = "unix:///run/wherry.sock"


def context_name(options: Options, config: ConfigFile, environment: dict[str, str]) -> str:
    """The name of the context in use; `default` stands for flags and environment."""
    if options.text("context"):
        return options.text("context")
    if options.many("host") or environment.get("DOCKER_HOST"):
        return "default"
    return environment.get("DOCKER_CONTEXT") or config.text("currentContext") or "default"


def resolve(options: Options, config: ConfigFile, environment: dict[str, str]) -> Endpoint:
    """The endpoint. Raises InvalidArgument and NotFound with docker's words."""
    hosts: list[str] = options.many("host")
    if len(hosts) > 1:
        raise InvalidArgument("specify only one -H")
    if hosts and options.text("context"):
        raise InvalidArgument("conflicting options: cannot specify both --host and --context")
    name = context_name(options, config, environment)
    if name != "default":
        from wherry.cli.contexts import ContextStore

        return ContextStore(config.folder).endpoint(name)
    chosen = (hosts[0] if hosts else environment.get("DOCKER_HOST", "")).strip()
    tls = _tls(options, environment, config.folder)
    if not chosen:
        return Endpoint(url=DEFAULT_URL, tls=None, is_default=True)
    url = parse_host(chosen, tls is not None)
    return Endpoint(url=url, tls=tls if not url.startswith(("unix:", "ssh:")) else None, base_path=_base_path(url))


def _base_path(url: str) -> str:
    kind, _, rest = url.partition("://")
    return "/" + rest.partition("/")[2].rstrip("/") if kind in ("tcp", "http", "https") and rest.partition("/")[2] else ""


def parse_host(text: str, tls: bool = False) -> str:
    """A host as docker reads it: `unix:///path`, `tcp://host:port`, a bare `host:port`, `/path`. Raises InvalidArgument."""
    kind, separator, rest = text.partition("://")
    if not separator:
        if text.startswith("/"):
            return "unix://" + text
        kind, rest = "tcp", text
    if kind == "unix":
        return "unix://" + (rest or "/run/wherry.sock")
    if kind == "npipe":
        raise InvalidArgument(f"protocol not available: npipe pipes exist on Windows alone ({text})")
    if kind in ("ssh", "http", "https"):
        return f"{kind}://{rest}"
    if kind == "fd":
        raise InvalidArgument(f"protocol not available: {text}")
    if kind != "tcp":
        raise InvalidArgument(f"invalid bind address format: {text}")
    place, slash, path = rest.partition("/")
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = place, ""
    if port and not (port.isdecimal() and int(port) < 65536):
        raise InvalidArgument(f"invalid bind address format: {text}")
    return f"tcp://{host or 'localhost'}:{port or ('2376' if tls else '2375')}{slash}{path}"


def _tls(options: Options, environment: dict[str, str], folder: str) -> TlsFiles | None:
    verify = options.on("tlsverify") if options.given("tlsverify") else bool(environment.get("DOCKER_TLS_VERIFY"))
    if not (
        verify
        or options.on("tls")
        or environment.get("DOCKER_TLS")
        or any(options.given(name) for name in ("tlscacert", "tlscert", "tlskey"))
    ):
        return None
    import os

    base = environment.get("DOCKER_CERT_PATH") or folder
    paths = [
        options.text(flag) or f"{base}/{name}.pem" for flag, name in (("tlscacert", "ca"), ("tlscert", "cert"), ("tlskey", "key"))
    ]
    ca, cert, key = (
        path if os.path.exists(path) or options.given(flag) else ""
        for path, flag in zip(paths, ("tlscacert", "tlscert", "tlskey"), strict=True)
    )
    return TlsFiles(ca=ca, cert=cert, key=key, verify=verify)
