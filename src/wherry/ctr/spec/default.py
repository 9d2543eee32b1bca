"""The default runtime configuration of containerd's containers, and the order in which its fields are written.

Source: runtime-spec 1.0, and what `ctr oci spec` of containerd 1.6 prints.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "1.0.2-dev"
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)
NAMESPACES = ("pid", "ipc", "uts", "mount", "network")
MASKED = ("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
CAPABILITY_SETS = ("bounding", "effective", "permitted")
FILES = 1024
# c 1:3 null, 1:8 random, 1:7 full, 5:0 tty, 1:5 zero, 1:9 urandom, 5:1 console, 136:* the terminals, 5:2 ptmx
DEVICES = ((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 1), (136, None), (5, 2))

_ORDER = ("ociVersion", "process", "root", "hostname", "domainname", "mounts", "hooks", "annotations", "linux")
_PROCESS_ORDER = ("terminal", "consoleSize", "user", "args", "env", "cwd", "capabilities", "rlimits", "noNewPrivileges",
                  "apparmorProfile", "oomScoreAdj", "selinuxLabel")
_LINUX_ORDER = ("uidMappings", "gidMappings", "sysctl", "resources", "cgroupsPath", "namespaces", "devices", "seccomp",
                "rootfsPropagation", "maskedPaths", "readonlyPaths", "mountLabel", "intelRdt", "personality")


def default(namespace: str, name: str) -> dict[str, Any]:
    """The configuration of a container before any option."""
    return {
        "ociVersion": VERSION,
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/",
            "capabilities": {one: list(CAPABILITIES) for one in CAPABILITY_SETS},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": FILES, "soft": FILES}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "cgroupsPath": "/".join(("", namespace, name)) if name else f"/{namespace}",
            "namespaces": [{"type": one} for one in NAMESPACES],
            "maskedPaths": list(MASKED), "readonlyPaths": list(READ_ONLY),
        },
    }


def _mounts() -> list[dict[str, Any]]:
    def mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
        return {"destination": destination, "type": kind, "source": source, "options": list(options)}

    safe = ("nosuid", "noexec", "nodev")
    return [
        mount("/proc", "proc", "proc", *safe),
        mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("/dev/shm", "tmpfs", "shm", *safe, "mode=1777", "size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", *safe),
        mount("/sys", "sysfs", "sysfs", *safe, "ro"),
        mount("/run", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    ]


def device_rules() -> list[dict[str, Any]]:
    """What the device cgroup allows each container beside what the runtime allows by itself."""
    rules = []
    for major, minor in DEVICES:
        numbers = {"major": major} if minor is None else {"major": major, "minor": minor}
        rules.append({"allow": True, "type": "c", **numbers, "access": "rwm"})
    return rules


def ordered(spec: dict[str, Any]) -> dict[str, Any]:
    """The same configuration with its fields in the specification's order."""
    sections = {**spec, "process": _sorted(spec.get("process") or {}, _PROCESS_ORDER)}
    if "linux" in spec:
        sections["linux"] = _sorted(spec["linux"], _LINUX_ORDER)
    return _sorted(sections, _ORDER)


def _sorted(fields: dict[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    known = {name: fields[name] for name in order if name in fields}
    return {**known, **fields}
