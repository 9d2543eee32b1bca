"""What is filled in at create, so that hostconfig.json says what will be: as dockerd does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from wherry.engine.model import LogConfig, RestartPolicy
from wherry.engine.spec.config import hidden_paths
from wherry.engine.spec.limits import supported

if TYPE_CHECKING:
    from wherry.engine.model import HostConfig
    from wherry.engine.spec.facts import Facts

DEFAULT_SHM_BYTES = 64 << 20


def adapt(
    host: HostConfig, facts: Facts, *, shm_size: int = DEFAULT_SHM_BYTES, ipc_mode: str = "private", cgroupns_mode: str = "",
    init: bool = False, log: LogConfig | None = None,
) -> HostConfig:
    """A copy with the daemon's defaults in the place of what was not given, and without what this kernel cannot limit."""
    host, _ = supported(host, facts)
    changes: dict[str, Any] = {}
    if host.memory > 0 and host.memory_swap == 0:
        changes["memory_swap"] = host.memory * 2
    if host.shm_size == 0:
        changes["shm_size"] = shm_size
    if not host.ipc_mode:
        changes["ipc_mode"] = ipc_mode
    if not host.cgroupns_mode:
        changes["cgroupns_mode"] = cgroupns_mode or _cgroupns(host, facts)
    if not host.network_mode:
        changes["network_mode"] = "default"
    if host.pids_limit is not None and host.pids_limit <= 0:
        changes["pids_limit"] = None
    if host.memory_swappiness == -1:
        changes["memory_swappiness"] = None
    if not host.oom_kill_disable:  # v2 knows no such wish: there nobody has said no
        changes["oom_kill_disable"] = False if facts.cgroup_version == "v1" else None
    if host.init is None and init:
        changes["init"] = True
    if not host.restart_policy.name:
        changes["restart_policy"] = RestartPolicy(name="no")
    if not host.log_config.type and log is not None:
        changes["log_config"] = replace(log, config={**(log.config or {}), **(host.log_config.config or {})})
    if not host.privileged:
        masked, readonly = hidden_paths(host)
        changes |= {"masked_paths": masked, "readonly_paths": readonly}
    return replace(host, **changes)


def _cgroupns(host: HostConfig, facts: Facts) -> str:
    """A namespace of its own on v2; a privileged container sees the host's cgroups."""
    return "private" if facts.cgroup_version == "v2" and not host.privileged else "host"
