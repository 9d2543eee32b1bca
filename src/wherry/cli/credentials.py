"""Logins: from config.json, from a credential helper program, and back."""

from __future__ import annotations

from wherry.cli.jsontext import dumps, loads
from wherry.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.configfile import ConfigFile

HUB = "https://index.docker.io/v1/"
TOKEN_USER = "<token>"


def registry_key(domain: str) -> str:
    """Under which name the login for a domain is kept."""
    return HUB if domain in ("docker.io", "index.docker.io") else domain


def _b64encode(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode()


def url_base64(value: Any) -> str:
    """JSON in URL-safe base64, as the headers of the API want it."""
    return _b64encode(dumps(value, html=True).encode()).replace("+", "-").replace("/", "_")


def _helper(config: ConfigFile, server: str) -> str:
    chosen = config.table("credHelpers").get(server)
    return str(chosen) if chosen else config.text("credsStore")


def _ask(helper: str, verb: str, text: str) -> str:
    """Runs `docker-credential-<helper> <verb>` with text on stdin. Raises Unavailable with what it said."""
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, verb], input=text.encode(), stdout=subprocess.PIPE)
    except OSError as wrong:
        raise Unavailable(
            f'error getting credentials - err: exec: "{program}": executable file not found in $PATH, out: ``'
            if isinstance(wrong, FileNotFoundError)
            else f"error getting credentials - err: {wrong}"
        ) from None
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        raise Unavailable(f"error getting credentials - err: exit status {done.returncode}, out: `{said}`")
    return said


def _from_helper(helper: str, server: str) -> dict[str, str]:
    try:
        found = loads(_ask(helper, "get", server))
    except Unavailable as wrong:
        if "credentials not found" in wrong.message:
            return {}
        raise
    if found.get("Username") == TOKEN_USER:
        return {"identitytoken": found["Secret"], "serveraddress": server}
    return {"username": found.get("Username", ""), "password": found.get("Secret", ""), "serveraddress": server}


def _from_file(entry: dict[str, Any], server: str) -> dict[str, str]:
    from binascii import Error, a2b_base64

    found = {name: entry[name] for name in ("username", "password", "identitytoken", "registrytoken") if entry.get(name)}
    if entry.get("auth"):
        try:
            name, _, secret = a2b_base64(entry["auth"]).decode().partition(":")
        except (Error, UnicodeDecodeError):
            raise Unavailable(f"invalid auth configuration file: the entry of {server} is no base64") from None
        found["username"], found["password"] = name, secret.strip("\0")
    return {**found, "serveraddress": server} if found else {}


def _hostname(server: str) -> str:
    """A key of `auths` without scheme and path."""
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def login_for(config: ConfigFile, domain: str) -> dict[str, str]:
    """The AuthConfig for a registry; empty when there is none."""
    server = registry_key(domain)
    helper = _helper(config, server)
    if helper:
        return _from_helper(helper, server)
    entries = config.table("auths")
    for name, entry in entries.items():
        if name == server or (server != HUB and _hostname(name) == server):
            return _from_file(entry, server)
    return {}


def all_logins(config: ConfigFile) -> dict[str, dict[str, str]]:
    """Every login there is, by server."""
    store = config.text("credsStore")
    servers = dict.fromkeys((*config.table("auths"), *config.table("credHelpers")))
    if store:
        servers.update(dict.fromkeys(loads(_ask(store, "list", "") or "{}")))
    found = {}
    for server in servers:
        helper = _helper(config, server)
        login = _from_helper(helper, server) if helper else _from_file(config.table("auths")[server], server)
        if login:
            found[server] = login
    return found


def save(config: ConfigFile, server: str, login: dict[str, str]) -> str:
    """Keeps a login; returns the name of the helper that keeps it, empty for config.json."""
    helper = _helper(config, server)
    if helper:
        secret = (
            {"ServerURL": server, "Username": TOKEN_USER, "Secret": login["identitytoken"]}
            if login.get("identitytoken")
            else {"ServerURL": server, "Username": login["username"], "Secret": login["password"]}
        )
        _ask(helper, "store", dumps(secret))
        entry: dict[str, str] = {}
    else:
        entry = {"auth": _b64encode(f"{login.get('username', '')}:{login.get('password', '')}".encode())}
        if login.get("identitytoken"):
            entry = {"auth": _b64encode(f"{login.get('username', '')}:".encode()), "identitytoken": login["identitytoken"]}
    config.values.setdefault("auths", {})[server] = entry
    config.save()
    return helper


def erase(config: ConfigFile, server: str) -> None:
    """Forgets a login; nothing happens when there is none."""
    helper = _helper(config, server)
    if helper:
        _ask(helper, "erase", server)
    if config.table("auths").pop(server, None) is not None:
        config.save()


def auth_headers(config: ConfigFile, domain: str) -> dict[str, str]:
    """The header for pull, push and search."""
    return {"X-Registry-Auth": url_base64(login_for(config, domain))}


def proxy_variables(config: ConfigFile, host: str) -> dict[str, str]:
    """The proxies of config.json as environment variables, in both spellings."""
    proxies = config.table("proxies")
    chosen = proxies.get(host) or proxies.get("default") or {}
    found = {}
    for key, name in (
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ):
        if chosen.get(key):
            found[name] = found[name.lower()] = str(chosen[key])
    return found
