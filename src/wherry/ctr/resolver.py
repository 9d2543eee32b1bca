"""From an image's name to the registries that may have it: options, and the files of a hosts folder.

Source: containerd's documentation of `hosts.toml`; each host's folder is `<folder>/<host:port>`, `<folder>/<host>_<port>_` or
`<folder>/_default`.
"""

from __future__ import annotations

import os

from wherry import errors
from wherry.ctr.command import CommandFailed, Flag
from wherry.record import Record
from wherry.registry.client import Repository
from wherry.registry.endpoint import DOCKER_IO, DOCKER_IO_HOST, Credentials, Endpoint, is_loopback, split_port
from wherry.registry.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from wherry.ctr.command import Invocation
    from wherry.ctr.flags import Options

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
CAPABILITIES = ("pull", "resolve", "push")


class Remote(Record):
    """A name as registries take it: host, repository, and the tag or digest."""

    host: str
    path: str
    object: str

    @classmethod
    def parse(cls, name: str) -> Remote:
        """Raises CommandFailed in ctr's words for a name that does not say which object of which host it is."""
        host, _, rest = name.partition("/")
        locator, at, digest = rest.partition("@")
        repository, colon, tag = locator.rpartition(":")
        path, object_ = (repository, tag) if colon else (locator, "")
        object_ = digest if at else object_
        if not object_:
            raise CommandFailed(f'failed to resolve reference "{name}": object required')
        return cls(host=host, path=path, object=object_)


class _Host(Record):
    """One place to ask, and for what it may be asked."""

    endpoint: Endpoint
    capabilities: tuple[str, ...] = CAPABILITIES


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
    credentials = _credentials(call)
    scope = "pull,push" if action == "push" else "pull"
    found = [Repository(transport, host.endpoint, remote.path, credentials, scope) for host in _hosts(options, remote.host)
             if action in host.capabilities]
    if not found:
        raise errors.NotFound(f"no host for {remote.host} that may be asked to {action}")
    return found


def reachable(found: Sequence[Repository]) -> Repository:
    """The first of several that answers. Raises Unavailable as the first one failed."""
    failure: errors.WherryError | None = None
    for repository in found if len(found) > 1 else ():
        try:
            repository.ping()
        except errors.Unavailable as problem:
            failure = failure or problem
            continue
        return repository
    if failure is not None:
        raise failure
    return found[0]


def _credentials(call: Invocation) -> Credentials:
    user, colon, password = call.options.text("user").partition(":")
    if user and not colon:
        import getpass

        password = getpass.getpass("Password: ")
    return Credentials(username=user, password=password, identity_token=call.options.text("refresh"))


def _hosts(options: Options, host: str) -> list[_Host]:
    """The registry's own address comes last, behind the hosts of its file."""
    own = _own(options, DOCKER_IO_HOST if host == DOCKER_IO else host)
    folder = _folder(options.text("hosts-dir"), host) if options.text("hosts-dir") else ""
    if not folder and is_loopback(split_port(host)[0]):
        return [_Host(endpoint=own), _Host(endpoint=own.replace(url=f"http://{host}"))]
    if not folder:
        return [_Host(endpoint=own)]
    try:
        with open(f"{folder}/hosts.toml", "rb") as file:
            import tomllib

            settings = tomllib.load(file)
    except FileNotFoundError:  # certificates as docker has them
        authorities, identities = _certificates(folder)
        return [_Host(endpoint=own.replace(authorities=(*own.authorities, *authorities),
                                           identities=(*own.identities, *identities)))]
    except ValueError as problem:
        raise CommandFailed(f"failed to load hosts configuration {folder}/hosts.toml: {problem}") from problem
    listed = [_listed(url, fields, folder, own) for url, fields in (settings.get("host") or {}).items()]
    server = str(settings.get("server") or own.url)
    return [*listed, _listed(server, settings, folder, own)]


def _own(options: Options, host: str) -> Endpoint:
    certificate, key = options.text("tlscert"), options.text("tlskey")
    return Endpoint(
        url=f"{'http' if options.on('plain-http') else 'https'}://{host}", verify=not options.on("skip-verify"),
        authorities=tuple(filter(None, (options.text("tlscacert"),))),
        identities=((certificate, key),) if certificate and key else ())


def _folder(above: str, host: str) -> str:
    name, _, port = host.rpartition(":")
    names = (host, f"{name}_{port}_" if name else "", "_default")
    return next((path for one in names if one and os.path.isdir(path := f"{above}/{one}")), "")


def _certificates(folder: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Authorities to trust (`*.crt`), and our own certificates with their keys (`<name>.cert`, `<name>.key`)."""
    paths = [f"{folder}/{name}" for name in sorted(os.listdir(folder))]
    own = (path.removesuffix(".cert") for path in paths if path.endswith(".cert"))
    return tuple(path for path in paths if path.endswith(".crt")), tuple((f"{stem}.cert", f"{stem}.key") for stem in own)


def _listed(url: str, fields: Mapping[str, Any], folder: str, own: Endpoint) -> _Host:
    """A host of the file; paths in it are seen from its folder."""
    for name in ("header", "override_path"):
        if fields.get(name):
            raise errors.Unsupported(f"{name} of {url} in {folder}/hosts.toml is not supported")
    address = url if "://" in url else f"{own.url.partition('://')[0]}://{url}"
    authorities = [os.path.join(folder, one) for one in _texts(fields.get("ca"))]
    given = fields.get("client")
    pairs = [_texts(one) for one in (given if isinstance(given, list) else [given])]
    # one file may hold both: it is named alone, or with an empty name for the key
    identities = [(os.path.join(folder, one[0]), os.path.join(folder, "".join(one[1:2]) or one[0])) for one in pairs if one]
    return _Host(
        endpoint=own.replace(url=address.rstrip("/").removesuffix("/v2"), verify=own.verify and not fields.get("skip_verify"),
                             authorities=(*own.authorities, *authorities), identities=(*own.identities, *identities)),
        capabilities=tuple(_texts(fields.get("capabilities"))) or CAPABILITIES)


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []
