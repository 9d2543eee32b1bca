"""Links: a container's own names for others, `--link db:store`.

On the default bridge a link is a line in /etc/hosts and variables in the environment, made at each start from what the target is
then. It is kept in `HostConfig.Links`; its target has to exist, and to run by the time of the start. `web/store` is one more name
of the target. On a user-defined network a link is a name that this container's DNS alone knows (`EndpointSettings.Links`); it is
looked up when it is asked for, and the network room does it.
"""

from __future__ import annotations

import logging
import posixpath
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from wherry.errors import Internal, InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.engine.container import Container
    from wherry.engine.containers import Containers
    from wherry.engine.model import HostConfig
    from wherry.engine.namefiles import NameFiles
    from wherry.engine.pool import Pool
    from wherry.engine.records import Record, Records

log = logging.getLogger(__name__)

_NOT_PASSED_ON = ("HOME", "PATH")
_WITH_HOST = "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
_DEFAULT_NETWORKS = ("", "default", "bridge", "none")


class Link(msgspec.Struct, frozen=True):
    """A link as it was asked for: whom, and under which name."""

    target: str
    alias: str


class Linked(msgspec.Struct, frozen=True):
    """What a link is in one run: `hosts` is each address of the target with the names for it."""

    hosts: tuple[tuple[str, str], ...]
    environment: tuple[str, ...]


def parse(text: str) -> Link:
    """`target`, `target:alias`, or the form in which inspect shows a link, `/target:/container/alias`. Raises InvalidArgument."""
    target, *rest = text.split(":")
    if not text:
        raise InvalidArgument("empty string specified for links")
    if len(rest) > 1:
        raise InvalidArgument(f"bad format for links: {text}")
    alias = posixpath.basename(rest[0]) if rest and target.startswith("/") else "".join(rest)
    target = target.removeprefix("/")
    return Link(target, alias or target)


def links_of(host: HostConfig) -> tuple[Link, ...]:
    """A container's links, none on a user-defined network; of two with one alias the first counts. Raises InvalidArgument."""
    asked = host.links or () if host.network_mode in _DEFAULT_NETWORKS else ()
    return tuple({link.alias: link for link in map(parse, reversed(asked))}.values())[::-1]


def link_names(containers: Containers) -> dict[str, list[str]]:
    """The names that containers have by links, `/web/store`, by their ids."""
    names: dict[str, list[str]] = {}
    for container in containers:
        for link in links_of(container.host) if container.host.links else ():
            name = f"{container.record.name}/{link.alias}"
            try:
                names.setdefault(containers.find(name).id, []).append(name)
            except (NotFound, InvalidArgument):
                continue
    return names


def linked_environment(linked: Iterable[Linked]) -> tuple[str, ...]:
    """What a container's links add to the environment of its processes."""
    return tuple(text for link in linked for text in link.environment)


def endpoint_links(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Links on a network as the network room takes them: (alias, name). Raises InvalidArgument."""
    return tuple((link.alias, link.target) for link in map(parse, texts))


class Links:
    """Keeps the links of the default bridge true."""

    def __init__(self, *, pool: Pool, containers: Containers, records: Records, names: NameFiles) -> None:
        self._pool = pool
        self._containers = containers
        self._records = records
        self._names = names

    def check(self, host: HostConfig) -> None:
        """Whether a new container can have its links. Raises InvalidArgument."""
        if host.links and host.network_mode == "host":
            raise InvalidArgument(_WITH_HOST)
        for link in links_of(host):
            try:
                target = self._containers.find(link.target)
            except (NotFound, InvalidArgument) as error:
                raise InvalidArgument(f"could not get container for {link.target}: {error.message}") from error
            if target.host.network_mode == "host":
                raise InvalidArgument(_WITH_HOST)

    def linked(self, container: Container) -> tuple[Linked, ...]:
        """What its links are for a run that begins. Raises Internal for a target that does not run, in Docker's words."""
        return tuple(self._linked(container, link) for link in links_of(container.host)) if _on_bridge(container.record) else ()

    def present(self, container: Container) -> tuple[Linked, ...]:
        """What its links are while it runs: one whose target does not run is none."""
        found = []
        for link in links_of(container.host) if _on_bridge(container.record) else ():
            try:
                found.append(self._linked(container, link))
            except Internal:
                continue
        return tuple(found)

    def shown(self, container: Container) -> tuple[str, ...] | None:
        """`/target:/container/alias` each, as inspect has them; None without any."""
        shown = []
        for link in links_of(container.host):
            target = self._target(link)
            shown.append(f"{target.record.name if target else '/' + link.target}:{container.record.name}/{link.alias}")
        return tuple(shown) or None

    async def refresh(self, target: Container) -> None:
        """It may have another address: those who run and are linked to it are told. A failure is logged: it is theirs."""
        for container in self._containers:
            if container.host.links and container.shim is not None and target in map(self._target, links_of(container.host)):
                try:
                    await self._mend(container)
                except OSError as error:
                    log.warning("container %s: its hosts file cannot be written: %s", container.id, error)

    async def renamed(self, target: Container, old: str) -> None:
        """It has another name than `old` (without slash): who is linked to it by that one keeps the link."""
        for container in self._containers:
            if container.host.links and any(link.target == old for link in links_of(container.host)):
                async with container.lock:
                    links = links_of(container.host)
                    await self._keep(container, (Link(target.name, one.alias) if one.target == old else one for one in links))

    async def remove(self, reference: str) -> None:
        """Ends the link `container/alias`; both containers stay. Raises NotFound, Internal."""
        parent, slash, alias = reference.removeprefix("/").rpartition("/")
        if not slash:
            self._containers.find(reference)
            raise Internal("Conflict, cannot remove the default link name of the container")
        container = self._find(parent)
        if container is None:
            raise NotFound(f"No such container: {reference}")
        async with container.lock:
            links = links_of(container.host)
            if alias not in {link.alias for link in links}:
                raise NotFound(f"No such container: {reference}")
            await self._keep(container, (link for link in links if link.alias != alias))
            if container.shim is not None:
                await self._mend(container)

    def _target(self, link: Link) -> Container | None:
        """Whom a link means; one that lives in another's network stands for that one."""
        target = self._find(link.target)
        mode, _, owner = target.host.network_mode.partition(":") if target else ("", "", "")
        return self._find(owner) if mode == "container" else target

    def _find(self, reference: str) -> Container | None:
        try:
            return self._containers.find(reference)
        except (NotFound, InvalidArgument):
            return None

    def _linked(self, container: Container, link: Link) -> Linked:
        target = self._target(link)
        name = f"{container.record.name}/{link.alias}"
        if target is None or not target.state.running:
            shown = target.record.name if target else f"/{link.target}"
            raise Internal(f"Cannot link to a non running container: {shown} AS {name}")
        if not _on_bridge(target.record):
            raise Internal(f"Cannot link to {target.record.name}, as it does not belong to the default network")
        place = (target.record.network_settings.networks or {})["bridge"]
        address = place.ip_address
        config = target.record.config
        names = " ".join(filter(None, dict.fromkeys((link.alias, config.hostname, target.name))))
        return Linked(hosts=tuple((one, names) for one in (address, place.global_ipv6_address) if one),
                      environment=variables(link.alias, name, address, config.exposed_ports or (), config.env or ()))

    async def _keep(self, container: Container, links: Iterable[Link]) -> None:
        host = replace(container.host, links=tuple(f"{link.target}:{link.alias}" for link in links) or None)
        await self._pool.run(self._records.write_durably, container.record, host)
        container.host = host

    async def _mend(self, container: Container) -> None:
        """Writes the hosts file of one that runs. What its program was given in its environment stays."""
        container.linked = self.present(container)
        await self._pool.run(self._names.refresh, container)


def variables(alias: str, name: str, address: str, ports: Iterable[str], environment: Iterable[str]) -> tuple[str, ...]:
    """What a link adds to the environment (Docker's documentation, "Legacy container links"): ports, name, its variables.

    `ports` are those that the target exposes, `80/tcp`. Three and more that follow each other are told as a range as well.
    """
    prefix = alias.replace("-", "_").upper()
    split = [(int(number), kind or "tcp") for number, _, kind in (port.partition("/") for port in ports)]
    split.sort(key=lambda port: (port[0], port[1] != "tcp"))
    found = []
    if split:
        found.append(f"{prefix}_PORT={split[0][1]}://{address}:{split[0][0]}")
    for (first, kind), (last, _) in _ranges(sorted(split, key=lambda port: (port[1], port[0]))):
        start = f"{prefix}_PORT_{first}_{kind.upper()}"
        found += [f"{start}_START={kind}://{address}:{first}", f"{start}_ADDR={address}", f"{start}_PROTO={kind}",
                  f"{start}_PORT_START={first}", f"{start}_END={kind}://{address}:{last}", f"{start}_PORT_END={last}"]
    for number, kind in split:
        start = f"{prefix}_PORT_{number}_{kind.upper()}"
        found += [f"{start}={kind}://{address}:{number}", f"{start}_ADDR={address}", f"{start}_PORT={number}",
                  f"{start}_PROTO={kind}"]
    found.append(f"{prefix}_NAME={name}")
    found += [f"{prefix}_ENV_{text}" for text in environment if "=" in text and text.partition("=")[0] not in _NOT_PASSED_ON]
    return tuple(found)


def _ranges(ports: list[tuple[int, str]]) -> Iterable[tuple[tuple[int, str], tuple[int, str]]]:
    """The first and last of three and more ports of a kind whose numbers follow each other."""
    run: list[tuple[int, str]] = []
    for port in [*ports, (0, "")]:
        if run and port == (run[-1][0] + 1, run[-1][1]):
            run.append(port)
            continue
        if len(run) > 2:
            yield run[0], run[-1]
        run = [port]


def _on_bridge(record: Record) -> bool:
    return "bridge" in (record.network_settings.networks or {})
