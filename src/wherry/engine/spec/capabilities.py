"""Which capabilities a container gets: `--cap-add`, `--cap-drop` and `--privileged`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from wherry.engine.model import HostConfig

# In the order in which the runtime-spec lists them for Docker's containers.
DEFAULT = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
           "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE")
# capabilities(7), by number.
EVERY = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ",
    "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)
ALL = "ALL"


def normalize(names: tuple[str, ...] | None, field: str) -> tuple[str, ...]:
    """`net_admin` as CAP_NET_ADMIN; ALL stays. Raises InvalidArgument in Docker's words for an unknown one."""
    found = []
    for name in names or ():
        upper = name.upper()
        if upper != ALL and not upper.startswith("CAP_"):
            upper = "CAP_" + upper
        if upper != ALL and upper not in EVERY:
            raise InvalidArgument(f'invalid {field}: unknown capability: "{upper}"')
        found.append(upper)
    return tuple(found)


def capabilities(host: HostConfig, available: tuple[str, ...]) -> tuple[str, ...]:
    """The bounding set. `available` is what this machine lets us hand on; what it lacks is left out of ALL and privileged.

    A capability that is asked for by its own name stays in the list: the runtime says that it cannot be given.
    """
    everything = tuple(name for name in EVERY if name in available)
    add, drop = normalize(host.cap_add, "CapAdd"), normalize(host.cap_drop, "CapDrop")
    if host.privileged:
        return everything
    named = tuple(name for name in add if name != ALL)
    if ALL in add:
        start = (*everything, *named)
        kept = [name for name in start if name not in drop]
    elif ALL in drop:
        kept = list(named)
    else:
        kept = [*(name for name in DEFAULT if name not in drop), *named]
    return tuple(dict.fromkeys(kept))
