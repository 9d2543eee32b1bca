"""Which namespaces a container has of its own, which it shares, and the sysctls that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.engine.model import ContainerConfig, HostConfig

# A container's own network may bind low ports and send pings without capabilities, as Docker's do since 20.10.
_NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


def namespaces(host: HostConfig, joined: Mapping[str, str]) -> list[dict[str, str]]:
    """`linux.namespaces`: one that is not listed is the host's."""
    found: list[dict[str, str]] = [{"type": "mount"}]
    for kind, mode in (("network", host.network_mode), ("uts", host.uts_mode), ("pid", host.pid_mode), ("ipc", host.ipc_mode)):
        if kind in joined:
            found.append({"type": kind, "path": joined[kind]})
        elif mode != "host":
            found.append({"type": kind})
    if host.cgroupns_mode == "private":
        found.append({"type": "cgroup"})
    return found


def sysctls(config: ContainerConfig, host: HostConfig) -> dict[str, str]:
    """`linux.sysctl`: Docker's own for a new network, then the user's."""
    found: dict[str, str] = {}
    if host.network_mode != "host" and not host.network_mode.startswith("container:"):
        found |= _NETWORK_SYSCTLS
    if config.domainname and host.uts_mode != "host":
        found["kernel.domainname"] = config.domainname
    return found | (host.sysctls or {})
