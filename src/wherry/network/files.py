"""The texts of a container's /etc/hosts, /etc/resolv.conf and /etc/hostname, as Docker writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidArgument
from wherry.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

EMBEDDED_DNS = "127.0.0.11"
RESOLV_CONF = "/etc/resolv.conf"
RESOLVED_CONF = "/run/systemd/resolve/resolv.conf"
_RESOLVED_STUB = "127.0.0.53"
PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")
"""Used, as in Docker, when the host knows no server that a container could reach."""
_PUBLIC_IPV6_SERVERS = ("2001:4860:4860::8888", "2001:4860:4860::8844")

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_HOST_GATEWAY = "host-gateway"


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
    full = f"{hostname}.{domainname}" if domainname else hostname
    first = full.partition(".")[0]  # whoever calls a container `a.b.c` means the host a in b.c
    names = f"{full} {first}" if first != full else full
    lines = [_extra_host(entry, host_gateway) for entry in extra_hosts]
    lines += [f"{address}\t{linked}" for address, linked in links]
    lines += [f"{address}\t{names}" for address in addresses if hostname]
    return _HOSTS + "".join(line + "\n" for line in lines)


def parse_resolv_conf(text: str) -> ResolvConf:
    """What a resolv.conf says; comments and unknown lines are dropped. Of `search` and `domain` lines the last counts."""
    servers: list[str] = []
    options: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return ResolvConf(nameservers=tuple(servers), search=search, options=tuple(options))


def read_host(root: str = "") -> str:
    """The text that says where the host asks for names; empty where there is none.

    Where /etc/resolv.conf knows only systemd-resolved's stub, which a container cannot reach, it is that of the file with the
    servers behind it.
    """
    text = read_text(root + RESOLV_CONF)
    return text if parse_resolv_conf(text).nameservers != (_RESOLVED_STUB,) else read_text(root + RESOLVED_CONF) or text


def read_text(path: str) -> str:
    """A file of the host; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def upstream_servers(host: ResolvConf, dns: Iterable[str] = ()) -> tuple[str, ...]:
    """Where the embedded DNS asks on: `--dns`, else the host's servers (its loopback ones too: they are asked from the host)."""
    return tuple(dns) or host.nameservers or PUBLIC_SERVERS


def resolv_conf(
    host: ResolvConf,
    *,
    embedded: bool,
    is_host: bool = False,
    has_ipv6: bool = False,
    dns: Iterable[str] = (),
    search: Iterable[str] = (),
    options: Iterable[str] = (),
) -> str:
    """The text of /etc/resolv.conf.

    `embedded`: on a user-defined network, so the only server is 127.0.0.11. `is_host`: in the host's own network namespace, where
    the host's servers are reached also on its loopback. `has_ipv6`: servers that are reached by IPv6 are kept.
    What is given replaces what the host says, each kind by itself; a search domain `.` means none.
    """
    reachable = tuple(one for one in host.nameservers if is_host or _is_reachable(one, has_ipv6=has_ipv6))
    if not reachable and not is_host:
        reachable = PUBLIC_SERVERS + (_PUBLIC_IPV6_SERVERS if has_ipv6 else ())
    servers = tuple(dns) or reachable
    domains = tuple(search) or host.search
    domains = () if domains == (".",) else domains
    settings = tuple(options) or host.options
    if embedded:
        servers = (EMBEDDED_DNS,)
        # Names of containers have no dots: with the usual ndots:1 a resolver would try the search list first.
        settings += () if any(option.startswith("ndots:") for option in settings) else ("ndots:0",)
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(domains)}"] if domains else []
    lines += [f"options {' '.join(settings)}"] if settings else []
    return "\n".join(lines) + "\n"


def _extra_host(entry: str, host_gateway: str) -> str:
    at = min((index for index in (entry.find("="), entry.find(":")) if index > 0), default=-1)
    name, address = entry[:at], entry[at + 1 :].removeprefix("[").removesuffix("]")
    if at < 0 or not address:
        raise InvalidArgument(f"bad format for add-host: {entry!r}")
    if address == _HOST_GATEWAY:
        if not host_gateway:
            raise InvalidArgument("unable to derive the IP value for host-gateway")
        address = host_gateway
    return f"{address}\t{name}"


def _is_reachable(server: str, *, has_ipv6: bool) -> bool:
    """Whether a container's namespace reaches it: not the host's loopback, and by IPv6 only where the container has that."""
    return (has_ipv6 and server != "::1") if ":" in server else not server.startswith("127.")
