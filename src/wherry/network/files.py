"""The texts of a container's /etc/hosts, /etc/resolv.conf and /etc/hostname, as Docker writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

EMBEDDED_DNS = "127.0.0.11"


class ResolvConf(Record):
    """What a resolv.conf says."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hostname(name: str) -> str:
    """The text of /etc/hostname."""
    return name + "\n"


def hosts(
    hostname: str,
    domainname: str,
    addresses: Iterable[str],
    extra_hosts: Iterable[str] = (),
    links: Iterable[tuple[str, str]] = (),
    host_gateway: str = "",
) -> str:
    """The text of /etc/hosts.

    addresses: the container's own, one line each. extra_hosts: `name:address` or `name=address`, where the address
    `host-gateway` means `host_gateway`. links: (address, names). Raises InvalidArgument for a host without an address.
    """
    raise NotImplementedError


def parse_resolv_conf(text: str) -> ResolvConf:
    """What a resolv.conf says; comments and unknown lines are dropped."""
    raise NotImplementedError


def upstream_servers(host: ResolvConf, dns: Iterable[str] = ()) -> tuple[str, ...]:
    """Where the embedded DNS asks on: `--dns`, else the host's servers (its loopback ones too: they are asked from the host)."""
    raise NotImplementedError


def resolv_conf(
    host: ResolvConf,
    *,
    embedded: bool,
    dns: Iterable[str] = (),
    search: Iterable[str] = (),
    options: Iterable[str] = (),
) -> str:
    """The text of /etc/resolv.conf. `embedded`: on a user-defined network, so the only server is 127.0.0.11."""
    raise NotImplementedError
