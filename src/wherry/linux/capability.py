"""Capabilities: names, the five sets of a process, the bounding set. capabilities(7), capget(2)."""

from __future__ import annotations

import struct

from wherry.linux import syscall

NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)
_VERSION_3 = 0x20080522
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def mask(names: tuple[str, ...] | list[str]) -> tuple[int, tuple[str, ...]]:
    """The names as a bit mask, and those that are not known."""
    bits, unknown = 0, []
    for name in names:
        try:
            bits |= 1 << NAMES.index(name)
        except ValueError:
            unknown.append(name)
    return bits, tuple(unknown)


def names(bits: int) -> tuple[str, ...]:
    """The names in a bit mask; a bit without a name is «CAP_<number>»."""
    return tuple(NAMES[n] if n < len(NAMES) else f"CAP_{n}" for n in range(64) if bits >> n & 1)


def get() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this process. capget(2)."""
    data = syscall.Buffer(24)
    syscall.call("capget", "self", struct.pack("Ii", _VERSION_3, 0), data)
    words = struct.unpack("6I", data.data)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def set_(effective: int, permitted: int, inheritable: int) -> None:
    """Sets the three sets of this process. capset(2)."""
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "6I", effective & low, permitted & low, inheritable & low, effective >> high, permitted >> high, inheritable >> high
    )
    syscall.call("capset", f"e={effective:x} p={permitted:x} i={inheritable:x}", struct.pack("Ii", _VERSION_3, 0), data)


def bounding() -> int:
    """The bounding set of this process, of the capabilities that this kernel knows."""
    bits = 0
    for number in range(64):
        try:
            bits |= syscall.call("prctl", f"PR_CAPBSET_READ {number}", _PR_CAPBSET_READ, number) << number
        except OSError:
            break
    return bits


def limit_bounding(keep: int) -> None:
    """Drops all capabilities but `keep` from the bounding set; cannot be undone. prctl(2)."""
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            syscall.call("prctl", f"PR_CAPBSET_DROP {number}", _PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == 22:  # EINVAL: past the last one that this kernel knows
                break
            raise


def set_ambient(bits: int) -> None:
    """Makes the ambient set exactly `bits` (each must be permitted and inheritable). prctl(2)."""
    syscall.call("prctl", "PR_CAP_AMBIENT_CLEAR_ALL", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(64):
        if bits >> number & 1:
            subject = f"PR_CAP_AMBIENT_RAISE {names(1 << number)[0]}"
            syscall.call("prctl", subject, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)
