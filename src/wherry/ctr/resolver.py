"""The options that say how registries are reached, and the registries that they lead to."""

from __future__ import annotations

import os

from wherry.ctr.command import Flag
from wherry.registry.endpoint import Credentials
from wherry.registry.transport import Transport
from wherry.transfer import hosts
from wherry.transfer.hosts import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.command import Invocation
    from wherry.ctr.flags import Options
    from wherry.registry.client import Repository
    from wherry.registry.endpoint import Endpoint
    from wherry.transfer.hosts import Remote

REGISTRY_FLAGS = (
    Flag(names=("skip-verify", "k"), help="do not check the registry's certificate"),
    Flag(names=("plain-http",), help="speak to the registry without TLS"),
    Flag(names=("user", "u"), kind="string", help="user[:password] at the registry"),
    Flag(names=("refresh",), kind="string", help="refresh token for the authorization server"),
    Flag(names=("hosts-dir",), kind="string", help="folder of hosts' settings (hosts.toml)"),
    Flag(names=("tlscacert",), kind="string", help="file of an authority to trust"),
    Flag(names=("tlscert",), kind="string", help="file of our certificate"),
    Flag(names=("tlskey",), kind="string", help="file of our key"),
    Flag(names=("http-dump",), help="print requests and answers without their bodies"),
    Flag(names=("http-trace",), help="print a line for each request"),
)


class _Spoken(Transport):
    """A transport that tells on stderr of each request, with the headers where `dump` is set."""

    def __init__(self, *, dump: bool) -> None:
        super().__init__("containerd", certificates_folder="")
        self._dump = dump

    def send(self, endpoint: Endpoint, method: str, url: str, **given: Any) -> Any:
        """As the plain one's."""
        answer = super().send(endpoint, method, url, **given)
        lines = [f"{method} {url}: {answer.status}"]
        if self._dump:
            hidden = {"authorization"}
            sent = given.get("headers") or {}
            lines += [f"> {key}: {'…' if key.lower() in hidden else value}" for key, value in sent.items()]
            lines += [f"< {key}: {value}" for key, value in answer.headers.items()]
        os.write(2, ("\n".join(lines) + "\n").encode())
        return answer


def repositories(call: Invocation, remote: Remote, action: str) -> list[Repository]:
    """The repository at each host that may be asked for `action` («pull» or «push»), in order of preference."""
    options = call.options
    spoken = options.on("http-dump") or options.on("http-trace")
    transport: Transport = _Spoken(dump=options.on("http-dump")) if spoken else Transport("containerd", certificates_folder="")
    return hosts.repositories(remote, action, access(options), _credentials(call), transport)


def access(options: Options) -> Access:
    """How registries are reached, by the options."""
    return Access(plain_http=options.on("plain-http"), verify=not options.on("skip-verify"),
                  hosts_folder=options.text("hosts-dir"), authority=options.text("tlscacert"),
                  certificate=options.text("tlscert"), key=options.text("tlskey"))


def _credentials(call: Invocation) -> Credentials:
    user, colon, password = call.options.text("user").partition(":")
    if user and not colon:
        import getpass

        password = getpass.getpass("Password: ")
    return Credentials(username=user, password=password, identity_token=call.options.text("refresh"))
