"""The last hop into a container: a tiny static ELF in a sealed memfd that does a list of system calls, the last being execve.

While a process of ours is visible to a container's programs, it must not be the Python interpreter: `/proc/<pid>/exe` would
lead them to the host's file (CVE-2019-5736). In a cold start the creator therefore plans the remaining system calls as data:
to wait on the exec fifo, to fork into the pid namespace, to load the late filter, to execute the program. What is visible is
this ELF, in memory that nobody can write to. It also does not keep an interpreter's megabytes while it waits.

    file and memory:  0x400000  ELF header, program headers, code (x86_64.s, aarch64.s)       read, execute
                      0x401000  steps, failure tables, messages, argv, environment, filter     read, write

When it is executed by a script of the container («#!/proc/self/exe») its first step finds its descriptor closed, and it ends.
"""

from __future__ import annotations

import errno
import os
import struct

from wherry.errors import Unsupported
from wherry.linux import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

# The assembled sources beside this file; a test assembles them again where there is an assembler.
CODE = {
    "x86_64": bytes.fromhex(
        "bb00104000488b03488b7b08488b7310488b53184c8b53204c8b43284c8b4b300f05488b4b384885c97403488901483d01f0ffff73194885c07e0e48"
        "8b4b404885c974054889cbebbc4883c350ebb6488b6b484885ed74f148f7d8488b55004885d2740b4839d074064883c528ebec488b7d08488b751048"
        "8b5518b8010000000f05488b7d20b8e70000000f05"),
    "aarch64": bytes.fromhex(
        "130082d21308a0f2680240f9608640a9628e41a9649642a9010000d4691e40f9490000b4200100f91ffc3fb1220100541f0000f1ad000054692240f9"
        "690000b4f30309aaf1ffff1773420191efffff17742640f9b4ffffb4f50300cb890240f9a90000b43f0115eb6000005494a20091fbffff17808640a9"
        "820e40f9080880d2010000d4801240f9c80b80d2010000d4"),
}
_EM = {"x86_64": 62, "aarch64": 183}
NUMBERS = {
    "x86_64": {"read": 0, "write": 1, "close": 3, "ioctl": 16, "clone": 56, "execve": 59, "exit_group": 231, "fcntl": 72,
               "setsid": 112, "seccomp": 317, "unshare": 272, "mount": 165, "mount_setattr": 442, "fsopen": 430, "wait4": 61},
    "aarch64": {"read": 63, "write": 64, "close": 57, "ioctl": 29, "clone": 220, "execve": 221, "exit_group": 94, "fcntl": 25,
                "setsid": 157, "seccomp": 277, "unshare": 97, "mount": 40, "mount_setattr": 442, "fsopen": 430, "wait4": 260},
}
_BASE, _DATA = 0x400000, 0x401000
_STEP, _LINE = 80, 40
_F_ADD_SEALS, _F_SEAL_ALL = 1033, 0x1 | 0x2 | 0x4 | 0x8
_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_EXEC = 1, 2, 0x10


class Hop:
    """The data of a last hop in the making: steps in order, and what their arguments point to.

    Addresses are known when they are handed out, because the number of steps is given at the beginning.
    """

    def __init__(self, steps: int, machine: str = "") -> None:
        self.machine = machine or syscall.MACHINE
        if self.machine not in CODE:
            raise Unsupported(f"the cold start is not supported on {self.machine}")
        self._limit = steps
        self._steps: list[bytes] = []
        self._data = bytearray()

    def put(self, content: bytes) -> int:
        """Places bytes in the data, aligned for the kernel; returns their address."""
        self._data += b"\0" * (-len(self._data) % 8)
        address = _DATA + self._limit * _STEP + len(self._data)
        self._data += content
        return address

    def put_strings(self, strings: Sequence[bytes]) -> int:
        """Places a NULL-terminated array of NUL-terminated strings; returns the array's address."""
        addresses = [self.put(text + b"\0") for text in strings]
        return self.put(struct.pack(f"{len(addresses) + 1}Q", *addresses, 0))

    def put_failures(self, lines: Sequence[tuple[int, int, bytes, int]]) -> int:
        """A table of (errno or 0 for any, descriptor, message, exit status); the last line must be for any errno."""
        packed = b""
        for code, fd, message, status in lines:
            packed += struct.pack("5Q", code, fd, self.put(message) if message else 0, len(message), status)
        return self.put(packed)

    def address_of_step(self, number: int) -> int:
        """Where a step is, counted from 0: a place to go on at."""
        return _DATA + number * _STEP

    def step(self, name: str, *arguments: int, store: int = 0, positive: int = 0, failures: int = 0) -> None:
        """Adds a system call; see the head of x86_64.s for what the three addresses mean."""
        words = (*arguments, *(0,) * (6 - len(arguments)))
        words = tuple(word & 0xFFFFFFFFFFFFFFFF for word in words)
        self._steps.append(struct.pack("10Q", NUMBERS[self.machine][name], *words, store, positive, failures))

    def image(self) -> bytes:
        """The ELF file. elf(5)."""
        if len(self._steps) != self._limit:
            raise ValueError(f"{len(self._steps)} steps instead of {self._limit}")
        code = CODE[self.machine]
        headers = 64 + 3 * 56
        data = b"".join(self._steps) + self._data
        identity = b"\x7fELF\x02\x01\x01" + b"\0" * 9
        header = struct.pack(
            "<16sHHIQQQIHHHHHH", identity, 2, _EM[self.machine], 1, _BASE + headers, 64, 0, 0, 64, 56, 3, 0, 0, 0)
        text = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, headers + len(code), headers + len(code), 0x1000)
        rest = struct.pack("<IIQQQQQQ", 1, 6, 0x1000, _DATA, _DATA, len(data), len(data), 0x1000)
        stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
        return (header + text + rest + stack + code).ljust(0x1000, b"\0") + data


def seal(image: bytes) -> int:
    """A descriptor of an executable file in memory that nobody can change any more. memfd_create(2), fcntl(2)."""
    import fcntl

    flags = _MFD_CLOEXEC | _MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("wherry-init", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:  # kernels before 6.3 do not know the flag, and need none
            raise
        fd = os.memfd_create("wherry-init", flags)
    try:
        view = memoryview(image)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_ALL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def execute_hop(fd: int, title: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Becomes the last hop. OSError when the kernel refuses; a filter that hides execveat(2) is gone round by the path."""
    try:
        os.execve(fd, list(title), environment)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise
    os.execve(f"/proc/self/fd/{fd}", list(title), environment)
