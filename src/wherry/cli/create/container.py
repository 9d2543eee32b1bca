"""Makes a container for `run` and `create`: body, pull where wanted, cidfile, warnings."""

from __future__ import annotations

import os

from wherry.cli.client import ApiError
from wherry.cli.command import CommandFailed
from wherry.cli.create.body import container_body
from wherry.cli.credentials import proxy_variables
from wherry.cli.images import named, pull
from wherry.oci.digest import is_hex_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.command import Invocation
    from wherry.oci.reference import Reference


def body_of(call: Invocation, *, run: bool) -> dict[str, Any]:
    """The body that the options ask for. Raises CommandFailed."""
    policy = call.options.text("pull")
    if policy not in ("always", "missing", "never"):
        raise CommandFailed(f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"', 125, hinted=True)
    proxies = proxy_variables(call.config, call.client.endpoint.url) if call.config.table("proxies") else {}
    body = container_body(call.options, call.arguments, call.environment, proxies, run=run)
    if call.options.on("use-api-socket"):
        _share_socket(call, body)
    return body


def _share_socket(call: Invocation, body: dict[str, Any]) -> None:
    endpoint = call.client.endpoint
    if endpoint.kind != "unix":
        raise CommandFailed(
            f"flag --use-api-socket can only be used with unix sockets: docker endpoint {endpoint.url} incompatible"
        )
    if call.config.table("auths") or call.config.text("credsStore"):
        raise CommandFailed("--use-api-socket with logins is not supported yet: it would have to copy them into the container")
    config = body["HostConfig"]
    after = {name: config.pop(name) for name in ("MaskedPaths", "ReadonlyPaths", "Init") if name in config}
    config.setdefault("Mounts", []).append(
        {"Type": "bind", "Source": endpoint.address, "Target": "/var/run/docker.sock", "BindOptions": {}}
    )
    config.update(after)


def _reference(image: str) -> Reference | None:
    """The name of the image, None when it is an id. Raises CommandFailed."""
    if is_hex_id(image.removeprefix("sha256:")):
        return None
    return named(image).with_default_tag()


def create(call: Invocation, body: dict[str, Any]) -> str:
    """Makes the container and returns its id. Raises CommandFailed, ApiError."""
    options = call.options
    cidfile = options.text("cidfile")
    if cidfile and os.path.exists(cidfile):
        raise CommandFailed(f"container ID file found, make sure the other container isn't running or delete {cidfile}")
    reference = _reference(call.arguments[0])
    platform = options.text("platform") or call.environment.get("DOCKER_DEFAULT_PLATFORM", "")
    if platform:
        check_platform(platform)
    local = next((one for one in options.many("dns") if one.startswith("127.") or one == "::1"), None)
    if local is not None:
        call.streams.error_line(f"WARNING: Localhost DNS ({local}) may fail in containers.")
    policy = options.text("pull")
    if policy == "always" and reference is not None:
        _fetch(call, reference, platform)
    query = {
        "name": options.text("name") or None,
        "platform": platform or None if platform and call.client.at_least("1.41") else None,
    }
    _settle_version(call, body)
    try:
        answer = call.client.call("POST", "/containers/create", query, body)
    except ApiError as wrong:
        if wrong.status != 404 or reference is None or policy != "missing" or "no such image" not in wrong.detail.lower():
            raise
        if not options.on("quiet"):
            call.streams.error_line(f"Unable to find image '{reference.familiar()}' locally")
        _fetch(call, reference, platform)
        answer = call.client.call("POST", "/containers/create", query, body)
    for warning in answer.get("Warnings") or ():
        call.streams.error_line(f"WARNING: {warning}")
    identifier = str(answer["Id"])
    if cidfile:
        try:
            with open(cidfile, "x", encoding="utf-8") as file:
                file.write(identifier)
        except OSError as wrong:
            raise CommandFailed(
                f"failed to create the container ID file: open {cidfile}: {(wrong.strerror or '').lower()}"
            ) from None
    return identifier


def _settle_version(call: Invocation, body: dict[str, Any]) -> None:
    """What an older daemon would not understand is refused by name; what a newer one has given up is left out."""
    if "KernelMemory" in body["HostConfig"] and call.client.at_least("1.42"):
        del body["HostConfig"]["KernelMemory"]
    if any(one.get("MacAddress") for one in body["NetworkingConfig"]["EndpointsConfig"].values()) and not call.client.at_least(
        "1.44"
    ):
        raise CommandFailed(
            '"specify mac-address per network" requires API version 1.44, '
            f"but the Docker daemon API version is {call.client.version}"
        )


def _fetch(call: Invocation, reference: Reference, platform: str) -> None:
    quiet = call.options.on("quiet")
    columns = _columns(call.streams.stderr)
    pull(call, reference, platform=platform, write=None if quiet else call.streams.err, columns=columns)


def _columns(fd: int) -> int:
    try:
        return os.get_terminal_size(fd).columns if os.isatty(fd) else 0
    except OSError:
        return 0


def check_platform(text: str) -> None:
    """Raises CommandFailed for what is no platform."""
    parts = text.split("/")
    if len(parts) > 3 or not all(part and all(one.isalnum() or one in "_-." for one in part) for part in parts):
        from wherry.cli.values import go_quote

        raise CommandFailed(
            f"error parsing specified platform: {go_quote(text)}: cannot parse platform specifier: invalid argument"
        )
