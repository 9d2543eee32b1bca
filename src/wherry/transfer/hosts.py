"""From an image's name to the registries that may have it: what was asked for, and the files of a hosts folder.

Source: containerd's documentation of `hosts.toml`; each host's folder is `<folder>/<host:port>`, `<folder>/<host>_<port>_` or
`<folder>/_default`.
"""

from __future__ import annotations

import os

from wherry import errors
from wherry.record import Record
from wherry.registry.client import Repository
from wherry.registry.endpoint import DOCKER_IO, DOCKER_IO_HOST, Endpoint, is_loopback, split_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from wherry.registry.client import FetchedManifest
    from wherry.registry.endpoint import Credentials
    from wherry.registry.transport import Transport

CAPABILITIES = ("pull", "resolve", "push")


class Remote(Record):
    """A name as registries take it: host, repository, and the tag or digest."""

    host: str
    path: str
    object: str

    @classmethod
    def parse(cls, name: str) -> Remote:
        """Raises InvalidArgument in containerd's words for a name that does not say which object of which host it is."""
        host, _, rest = name.partition("/")
        locator, at, digest = rest.partition("@")
        repository, colon, tag = locator.rpartition(":")
        path, object_ = (repository, tag) if colon else (locator, "")
        object_ = digest if at else object_
        if not object_:
            raise errors.InvalidArgument(f'failed to resolve reference "{name}": object required')
        return cls(host=host, path=path, object=object_)

    @property
    def source_label(self) -> str:
        """The label of blobs that says in which repositories of this host they are; the host's port is no part of it."""
        return f"containerd.io/distribution.source.{split_port(self.host)[0].strip('[]')}"


class Access(Record):
    """How registries are reached where their files in the hosts folder say nothing else. All are paths but the two flags."""

    plain_http: bool = False
    verify: bool = True
    hosts_folder: str = ""
    authority: str = ""
    certificate: str = ""
    key: str = ""


class Host(Record):
    """One place to ask, and for what it may be asked."""

    endpoint: Endpoint
    capabilities: tuple[str, ...] = CAPABILITIES


def repositories(remote: Remote, action: str, access: Access, credentials: Credentials, transport: Transport) -> list[Repository]:
    """The repository at each host that may be asked for `action` («pull» or «push»), in order of preference."""
    scope = "pull,push" if action == "push" else "pull"
    found = [Repository(transport, host.endpoint, remote.path, credentials, scope) for host in hosts(access, remote.host)
             if action in host.capabilities]
    if not found:
        raise errors.NotFound(f"no host for {remote.host} that may be asked to {action}")
    return found


def resolve(found: Sequence[Repository], remote: Remote, name: str) -> tuple[Repository, FetchedManifest]:
    """The first of several that has it, and the manifest or index. Raises what the last one failed with."""
    last: errors.WherryError | None = None
    for repository in found:
        try:
            return repository, repository.manifest(remote.object)
        except errors.WherryError as problem:
            last = problem
    message = last.message if last is not None else "no host"
    if isinstance(last, errors.NotFound):
        message = f"{name}: not found"
    raise type(last or errors.Internal(""))(f'failed to resolve reference "{name}": {message}')


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


def hosts(access: Access, host: str) -> list[Host]:
    """The registry's own address comes last, behind the hosts of its file."""
    own = _own(access, DOCKER_IO_HOST if host == DOCKER_IO else host)
    folder = _folder(access.hosts_folder, host) if access.hosts_folder else ""
    if not folder and is_loopback(split_port(host)[0]):
        return [Host(endpoint=own), Host(endpoint=own.replace(url=f"http://{host}"))]
    if not folder:
        return [Host(endpoint=own)]
    try:
        with open(f"{folder}/hosts.toml", "rb") as file:
            import tomllib

            settings = tomllib.load(file)
    except FileNotFoundError:  # certificates as docker has them
        authorities, identities = _certificates(folder)
        return [Host(endpoint=own.replace(authorities=(*own.authorities, *authorities),
                                           identities=(*own.identities, *identities)))]
    except ValueError as problem:
        raise errors.InvalidArgument(f"failed to load hosts configuration {folder}/hosts.toml: {problem}") from problem
    listed = [_listed(url, fields, folder, own) for url, fields in (settings.get("host") or {}).items()]
    server = str(settings.get("server") or own.url)
    return [*listed, _listed(server, settings, folder, own)]


def _own(access: Access, host: str) -> Endpoint:
    return Endpoint(
        url=f"{'http' if access.plain_http else 'https'}://{host}", verify=access.verify,
        authorities=(access.authority,) if access.authority else (),
        identities=((access.certificate, access.key),) if access.certificate and access.key else ())


def _folder(above: str, host: str) -> str:
    name, _, port = host.rpartition(":")
    names = (host, f"{name}_{port}_" if name else "", "_default")
    return next((path for one in names if one and os.path.isdir(path := f"{above}/{one}")), "")


def _certificates(folder: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Authorities to trust (`*.crt`), and our own certificates with their keys (`<name>.cert`, `<name>.key`)."""
    paths = [f"{folder}/{name}" for name in sorted(os.listdir(folder))]
    own = (path.removesuffix(".cert") for path in paths if path.endswith(".cert"))
    return tuple(path for path in paths if path.endswith(".crt")), tuple((f"{stem}.cert", f"{stem}.key") for stem in own)


def _listed(url: str, fields: Mapping[str, Any], folder: str, own: Endpoint) -> Host:
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
    return Host(
        endpoint=own.replace(url=address.rstrip("/").removesuffix("/v2"), verify=own.verify and not fields.get("skip_verify"),
                             authorities=(*own.authorities, *authorities), identities=(*own.identities, *identities)),
        capabilities=tuple(_texts(fields.get("capabilities"))) or CAPABILITIES)


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []
