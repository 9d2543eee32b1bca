"""The architectures of system calls: their tokens for the kernel, the width of arguments, and how names become numbers.

Two calls of old ABIs stand for many: `socketcall` and `ipc`, whose first argument says which. A rule for `socket` there means the
call of its own and that argument of `socketcall`.

Sources: linux/audit.h, runtime-spec «Seccomp», seccomp(2), socketcall(2), ipc(2).
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.linux.seccomp.tables import entries
from wherry.record import Record

X32_BIT = 0x40000000


class Architecture(Record):
    """One ABI. `audit` is what `seccomp_data.arch` holds; x32 shares it with x86_64 and sets a bit in the number."""

    name: str
    audit: int
    table: str
    is_64_bit: bool = True
    big_endian: bool = False
    bit: int = 0
    multiplexed: bool = False


_ALL = {
    "SCMP_ARCH_X86_64": Architecture(name="SCMP_ARCH_X86_64", audit=0xC000003E, table="x86_64"),
    "SCMP_ARCH_X86": Architecture(name="SCMP_ARCH_X86", audit=0x40000003, table="x86", is_64_bit=False, multiplexed=True),
    "SCMP_ARCH_X32": Architecture(name="SCMP_ARCH_X32", audit=0xC000003E, table="x32", is_64_bit=False, bit=X32_BIT),
    "SCMP_ARCH_AARCH64": Architecture(name="SCMP_ARCH_AARCH64", audit=0xC00000B7, table="aarch64"),
    "SCMP_ARCH_ARM": Architecture(name="SCMP_ARCH_ARM", audit=0x40000028, table="arm", is_64_bit=False),
    "SCMP_ARCH_RISCV64": Architecture(name="SCMP_ARCH_RISCV64", audit=0xC00000F3, table="riscv64"),
    "SCMP_ARCH_PPC64LE": Architecture(name="SCMP_ARCH_PPC64LE", audit=0xC0000015, table="ppc64le", multiplexed=True),
    "SCMP_ARCH_S390X": Architecture(
        name="SCMP_ARCH_S390X", audit=0x80000016, table="s390x", big_endian=True, multiplexed=True),
}
NAMES = tuple(_ALL)
# Named by the specification, but without a table here.
_KNOWN = ("SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
          "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_S390", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
          "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB")
_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "i686": "SCMP_ARCH_X86", "i586": "SCMP_ARCH_X86", "i386": "SCMP_ARCH_X86",
           "aarch64": "SCMP_ARCH_AARCH64", "armv7l": "SCMP_ARCH_ARM", "armv6l": "SCMP_ARCH_ARM", "armv8l": "SCMP_ARCH_ARM",
           "riscv64": "SCMP_ARCH_RISCV64", "ppc64le": "SCMP_ARCH_PPC64LE", "s390x": "SCMP_ARCH_S390X"}
_SOCKETCALL = {
    "socket": 1, "bind": 2, "connect": 3, "listen": 4, "accept": 5, "getsockname": 6, "getpeername": 7, "socketpair": 8,
    "send": 9, "recv": 10, "sendto": 11, "recvfrom": 12, "shutdown": 13, "setsockopt": 14, "getsockopt": 15, "sendmsg": 16,
    "recvmsg": 17, "accept4": 18, "recvmmsg": 19, "sendmmsg": 20,
}
_IPC = {"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14,
        "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24}


def architecture(name: str) -> Architecture:
    """The architecture with the specification's name (`SCMP_ARCH_X86_64`). Raises InvalidArgument for an unknown one."""
    try:
        return _ALL[name]
    except KeyError:
        if name in _KNOWN:
            raise InvalidArgument(f"seccomp: architecture {name!r} is not supported (no table of its system calls yet)") from None
        raise InvalidArgument(f"string {name} is not a valid arch for seccomp") from None


def native(machine: str) -> str:
    """The specification's name for what uname(2) calls the machine. Raises InvalidArgument."""
    try:
        return _NATIVE[machine]
    except KeyError:
        raise InvalidArgument(f"seccomp: machine {machine!r} is not supported") from None


def numbers(architecture: Architecture) -> dict[str, int]:
    """The number of each system call of the architecture, with x32's bit."""
    module = __import__(f"wherry.linux.seccomp.tables.{architecture.table}", fromlist=["NAMES"])
    return {name: number | architecture.bit for name, number in entries(module.NAMES)}


def multiplexer(architecture: Architecture, name: str) -> tuple[str, int] | None:
    """The call that stands for `name` on this architecture, and the first argument that says so; None where there is none."""
    if architecture.multiplexed:
        if name in _SOCKETCALL:
            return "socketcall", _SOCKETCALL[name]
        if name in _IPC:
            return "ipc", _IPC[name]
    return None
