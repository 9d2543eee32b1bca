"""Where a repository is asked for: the addresses to try for a registry's name, decided without asking any.

Docker's rules: mirrors serve docker.io only and come first; a registry is spoken to by https; an insecure one
(named by the daemon's configuration, or on a loopback address) by unverified https and then by http.
"""

from __future__ import annotations

import ipaddress

from wherry.record import Record

DOCKER_IO = "docker.io"
DOCKER_IO_HOST = "registry-1.docker.io"
# The key under which command lines keep the credentials for docker.io.


class Credentials(Record):
    """Who asks, as `X-Registry-Auth` carries it. An identity token is exchanged for access tokens; a registry token is one."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    server_address: str = ""


class Endpoint(Record):
    """One address of a registry: `https://host[:port]`, without a path.

    `authorities` are files of certificates to trust beside the system's, `identities` ours: (certificate, key), both files.
    """

    url: str
    verify: bool = True
    mirror: bool = False
    authorities: tuple[str, ...] = ()
    identities: tuple[tuple[str, str], ...] = ()


class RegistryConfig(Record):
    """The daemon's settings: host[:port] or networks in CIDR form that may be insecure, mirrors' URLs, where certificates are."""

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    certificates_folder: str = "/etc/docker/certs.d"


def is_loopback(host: str) -> bool:
    """Whether a host (without port) is this machine, by name or address; nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_port(domain: str) -> tuple[str, str]:
    """`host:5000` → ("host", "5000"); `[::1]:5000` → ("[::1]", "5000"); no port: ("host", "")."""
    host, colon, port = domain.rpartition(":")
    return (host, port) if colon and port.isdigit() else (domain, "")


def is_insecure(domain: str, config: RegistryConfig) -> bool:
    """Whether plain http and unverified certificates are allowed for this registry."""
    host, _ = split_port(domain)
    if is_loopback(host):
        return True
    for allowed in config.insecure:
        if allowed in (domain, host):
            return True
        try:
            if ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(allowed, strict=False):
                return True
        except ValueError:
            continue
    return False


def endpoints(domain: str, config: RegistryConfig, *, for_push: bool = False) -> tuple[Endpoint, ...]:
    """The addresses to try, in order. A push goes past mirrors."""
    if domain == DOCKER_IO:
        mirrors = () if for_push else tuple(
            Endpoint(url=mirror.rstrip("/"), mirror=True, verify=not is_insecure(mirror.partition("://")[2], config))
            for mirror in config.mirrors)
        return (*mirrors, Endpoint(url=f"https://{DOCKER_IO_HOST}"))
    if is_insecure(domain, config):
        return (Endpoint(url=f"https://{domain}", verify=False), Endpoint(url=f"http://{domain}", verify=False))
    return (Endpoint(url=f"https://{domain}"),)
