"""`context`: daemons by name."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import FORMAT, QUIET
from wherry.cli.contexts import ContextStore, check_name
from wherry.cli.endpoint import context_name, resolve
from wherry.cli.output.view import How, View, render
from wherry.cli.values import TRUE, csv_fields
from wherry.errors import InvalidArgument, NotFound, WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VIEW = View(
    fields={
        "Current": lambda item, _how: item["current"],
        "Description": lambda item, _how: item["description"],
        "DockerEndpoint": lambda item, _how: item["endpoint"],
        "Error": lambda item, _how: item["error"],
        "Name": lambda item, how: f"{item['name']} *" if how.extra and item["current"] else item["name"],
    },
    headers={
        "Name": "NAME",
        "Description": "DESCRIPTION",
        "DockerEndpoint": "DOCKER ENDPOINT",
        "Error": "ERROR",
        "Current": "CURRENT",
    },
    table=("Name", "Description", "DockerEndpoint", "Error"),
    go_type="*formatter.clientContextContext",
)


def store(call: Invocation) -> ContextStore:
    """The contexts of this user."""
    return ContextStore(call.config.folder)


def current(call: Invocation) -> str:
    """The context in use."""
    return context_name(call.globals, call.config, call.environment)


def default_host(call: Invocation) -> str:
    """What the context `default` stands for."""
    return resolve(
        call.globals,
        call.config.__class__("/nonexistent"),
        {key: value for key, value in call.environment.items() if key != "DOCKER_CONTEXT"},
    ).url


def description(call: Invocation, name: str) -> dict[str, Any]:
    """A context as `inspect` shows it. Raises NotFound."""
    if name == "default":
        return {
            "Name": name,
            "Metadata": {},
            "Endpoints": {"docker": {"Host": default_host(call), "SkipTLSVerify": False}},
            "TLSMaterial": {},
            "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
        }
    contexts = store(call)
    meta = contexts.get(name)
    held = sorted(contexts.tls(name))
    return {
        "Name": name,
        "Metadata": meta.get("Metadata") or {},
        "Endpoints": meta.get("Endpoints") or {},
        "TLSMaterial": {"docker": held} if held else {},
        "Storage": {"MetadataPath": contexts.meta_folder(name), "TLSPath": contexts.tls_folder(name)},
    }


def list_contexts(call: Invocation) -> int:
    """Prints all contexts, the one in use marked."""
    options = call.options
    chosen = current(call)
    contexts = store(call)
    items = [
        {
            "name": "default",
            "current": chosen == "default",
            "description": "Current DOCKER_HOST based configuration",
            "endpoint": default_host(call),
            "error": "",
        }
    ]
    for name in contexts.names():
        meta = contexts.get(name)
        items.append(
            {
                "name": name,
                "current": name == chosen,
                "description": (meta.get("Metadata") or {}).get("Description", ""),
                "endpoint": ((meta.get("Endpoints") or {}).get("docker") or {}).get("Host", ""),
                "error": "",
            }
        )
    if not any(item["current"] for item in items):
        items.append({"name": chosen, "current": True, "description": "", "endpoint": "", "error": "context not found"})
    items.sort(key=lambda item: str(item["name"]))
    if options.on("quiet"):
        call.streams.out("".join(f"{item['name']}\n" for item in items))
        return 0
    template = options.text("format")
    call.streams.out(render(VIEW, items, How(extra=template.strip() in ("", "table")), template))
    if call.environment.get("DOCKER_HOST"):
        call.streams.error_line(
            "Warning: DOCKER_HOST environment variable overrides the active context. "
            "To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable."
        )
    return 0


KEYS = ("from", "host", "ca", "cert", "key", "skip-tls-verify")


def _endpoint(call: Invocation, fields: dict[str, str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """An endpoint and its certificates from `--docker key=value,…`. Raises CommandFailed."""
    for name in fields:
        if name not in KEYS:
            raise CommandFailed(f"unable to parse Docker endpoint options: {name}: unrecognized config key")
    if fields.get("from"):
        return _copied(call, fields["from"])
    from wherry.cli.endpoint import parse_host

    tls = {}
    for name, file in (("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")):
        if fields.get(name):
            try:
                with open(fields[name], "rb") as handle:
                    tls[file] = handle.read()
            except OSError as wrong:
                from wherry.cli.words import os_error

                raise CommandFailed(f"unable to create docker endpoint config: {os_error(wrong)}") from None
    host = fields.get("host", "")
    try:
        url = parse_host(host) if host else default_host(call)
    except InvalidArgument as wrong:
        raise CommandFailed(f"unable to apply docker endpoint options: {wrong.message}") from None
    return {"Host": host or url, "SkipTLSVerify": fields.get("skip-tls-verify", "") in TRUE}, tls


def _copied(call: Invocation, name: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    if name == "default":
        return {"Host": default_host(call), "SkipTLSVerify": False}, {}
    contexts = store(call)
    found = (contexts.get(name).get("Endpoints") or {}).get("docker")
    if not found:
        raise CommandFailed(f'cannot get endpoint "docker" of context "{name}"')
    return found, contexts.tls(name)


def _fields(text: str) -> dict[str, str]:
    found = {}
    for field in csv_fields(text):
        name, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        found[name.lower()] = value
    return found


def create(call: Invocation) -> int:
    """Makes a context."""
    options = call.options
    name = call.arguments[0]
    contexts = store(call)
    try:
        check_name(name)
    except InvalidArgument as wrong:
        raise CommandFailed(wrong.message) from None
    if name in contexts.names():
        raise CommandFailed(f'context "{name}" already exists')
    if options.text("from") or not options.given("docker"):
        if options.given("docker"):
            raise CommandFailed("cannot use --docker flag when --from is set")
        if not options.text("from"):
            raise CommandFailed("docker endpoint configuration is required")
        endpoint, tls = _copied(call, options.text("from"))
    else:
        endpoint, tls = _endpoint(call, options.value("docker"))
    metadata = {"Description": options.text("description")} if options.text("description") else {}
    contexts.save(name, {"Name": name, "Metadata": metadata, "Endpoints": {"docker": endpoint}}, tls)
    call.streams.line(name)
    call.streams.error_line(f'Successfully created context "{name}"')
    return 0


def update(call: Invocation) -> int:
    """Changes a context."""
    options, name = call.options, call.arguments[0]
    contexts = store(call)
    check_name(name)
    meta = contexts.get(name)
    if options.given("description"):
        meta.setdefault("Metadata", {})["Description"] = options.text("description")
    tls = None
    if options.given("docker"):
        endpoint, tls = _endpoint(call, options.value("docker"))
        meta.setdefault("Endpoints", {})["docker"] = endpoint
    contexts.save(name, meta, tls)
    call.streams.line(name)
    call.streams.error_line(f'Successfully updated context "{name}"')
    return 0


def use(call: Invocation) -> int:
    """Writes the choice into config.json."""
    name = call.arguments[0]
    if name != "default":
        check_name(name)
        store(call).get(name)
    if name == "default":
        call.config.values.pop("currentContext", None)
    else:
        call.config.values["currentContext"] = name
    call.config.save()
    call.streams.line(name)
    call.streams.error_line(f'Current context is now "{name}"')
    if name != "default" and call.environment.get("DOCKER_HOST"):
        call.streams.error_line(
            f"Warning: DOCKER_HOST environment variable overrides the active context. "
            f'To use "{name}", either set the global --context flag, or unset DOCKER_HOST environment variable.'
        )
    return 0


def remove(call: Invocation) -> int:
    """Removes contexts; the one in use needs --force."""
    failed = []
    chosen = current(call)
    contexts = store(call)
    for name in call.arguments:
        try:
            if name == "default":
                raise CommandFailed('context "default" cannot be removed')
            if name == chosen and not call.options.on("force"):
                raise CommandFailed(f'context "{name}" is in use, set -f flag to force remove')
            try:
                contexts.get(name)
            except NotFound:
                if call.options.on("force"):
                    continue
                raise NotFound(f'context "{name}" does not exist') from None
            contexts.remove(name)
            if name == chosen and call.config.values.pop("currentContext", None):
                call.config.save()
        except WherryError as wrong:
            failed.append(wrong.message)
        else:
            call.streams.line(name)
    if failed:
        raise CommandFailed("\n".join(failed))
    return 0


def show(call: Invocation) -> int:
    """Prints the name."""
    call.streams.line(current(call))
    return 0


DESCRIPTION = Flag(name="description", kind="string", help="Description")
DOCKER = Flag(
    name="docker",
    kind="stringToString",
    check=_fields,
    help="The daemon: from, host, ca, cert, key, skip-tls-verify as key=value,…",
    shown="[]",
)
LS = Command(usage="[OPTIONS]", action=list_contexts, flags=(FORMAT, QUIET.replace(help="Print names only")))
CREATE = Command(
    usage="[OPTIONS] CONTEXT",
    action=create,
    least=1,
    most=1,
    flags=(DESCRIPTION, DOCKER, Flag(name="from", kind="string", help="Copy this context")),
    examples=(("wherry context create far --docker host=ssh://me@far", "A daemon on another machine, by ssh"),),
)
UPDATE = Command(usage="[OPTIONS] CONTEXT", action=update, least=1, most=1, flags=(DESCRIPTION, DOCKER))
USE = Command(usage="CONTEXT", action=use, least=1, most=1)
RM = Command(
    usage="CONTEXT [CONTEXT...]",
    action=remove,
    least=1,
    most=UNLIMITED,
    flags=(Flag(name="force", short="f", help="Also the one that is in use"),),
)
SHOW = Command(usage="", action=show)
