"""Raw system calls by number: the one place where Python meets `syscall(2)`.

`os` has no mount(2), clone3(2), openat2(2) and the like. They are called through `_ctypes`, which costs a cold start a
third of what `ctypes` costs; where the private module differs, `ctypes` is the fallback. The interpreter's lock is held
during a call (as with `PyDLL`), so that the child of a raw clone3(2) comes back into a Python that holds its own lock;
so nothing that may block for long belongs here.

Next door: `mount`, `namespace`, `process` … give these calls their types and names.
"""

from __future__ import annotations

import errno
import os

from wherry import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MACHINE = os.uname().machine

# Calls younger than 2019 have one number everywhere; the older ones have one per architecture
# (asm/unistd_64.h of x86, asm-generic/unistd.h for arm64 and riscv64).
_COMMON = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437, "pidfd_getfd": 438,
    "mount_setattr": 442,
}
_X86_64 = {
    "prctl": 157, "mount": 165, "umount2": 166, "pivot_root": 155, "setdomainname": 171, "setns": 308, "unshare": 272,
    "capget": 125, "capset": 126, "keyctl": 250, "execveat": 322, "seccomp": 317, "personality": 135, "prlimit64": 302,
    "ioprio_set": 251, "sched_setattr": 314, "syslog": 103, "bpf": 321, "inotify_init1": 294, "inotify_add_watch": 254,
    "fstatfs": 138, "set_mempolicy": 238,
}
_GENERIC = {
    "prctl": 167, "mount": 40, "umount2": 39, "pivot_root": 41, "setdomainname": 162, "setns": 268, "unshare": 97,
    "capget": 90, "capset": 91, "keyctl": 219, "execveat": 281, "seccomp": 277, "personality": 92, "prlimit64": 261,
    "ioprio_set": 30, "sched_setattr": 274, "syslog": 116, "bpf": 280, "inotify_init1": 26, "inotify_add_watch": 27,
    "fstatfs": 44, "set_mempolicy": 237,
}
NUMBERS = {**_COMMON, **(_X86_64 if MACHINE == "x86_64" else _GENERIC)}


def _bind() -> tuple[Any, Any, Any]:
    """The function `long syscall(...)` with seven word-sized arguments, how to read its errno, and the type `char`."""
    try:
        import _ctypes

        simple: Any = _ctypes._SimpleCData  # noqa: SLF001

        class Word(simple):  # type: ignore[misc]
            _type_ = "P"

        class Long(simple):  # type: ignore[misc]
            _type_ = "l"

        class Char(simple):  # type: ignore[misc]
            _type_ = "c"

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = Long

        function: Any = Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "syscall"))  # type: ignore[arg-type]
        function.argtypes = (Word,) * 7
    except (ImportError, AttributeError, TypeError):
        import ctypes

        function = ctypes.PyDLL(None, use_errno=True).syscall
        function.restype = ctypes.c_long
        function.argtypes = (ctypes.c_void_p,) * 7
        return function, ctypes.get_errno, ctypes.c_char
    return function, _ctypes.get_errno, Char


# What `_bind` found, at the first call: who only asks what is there (`state`, `delete`) need not load a foreign function library.
_bound: tuple[Any, Any, Any] | None = None


def _door() -> tuple[Any, Any, Any]:
    global _bound
    if _bound is None:
        _bound = _bind()
    return _bound


def call(name: str, subject: str, *arguments: int | bytes | Buffer | None) -> int:
    """Does the system call `name` and returns its result.

    Arguments are integers, bytes (ended with NUL where the kernel reads a string) or a `Buffer` that it may write to.
    Raises OSError with the kernel's errno and, as its filename, the operation and `subject`. EINTR is not retried here:
    what may be repeated differs from call to call.
    """
    trace.step(name, subject)
    function, last_errno, _ = _bound or _door()
    words = [item.address if isinstance(item, Buffer) else item for item in arguments]
    result: int = function(NUMBERS[name], *words, *(0,) * (6 - len(words)))
    if result == -1:
        code = last_errno()
        raise OSError(code, os.strerror(code) + _missing(code), f"{name} {subject}".rstrip())
    return result


def _missing(code: int) -> str:
    return " (this kernel does not have it, or a seccomp filter hides it)" if code == errno.ENOSYS else ""


class Buffer:
    """Memory that the kernel may write to, `size` bytes long, first filled with `content`."""

    __slots__ = ("_array", "address", "data")

    def __init__(self, size: int, content: bytes = b"") -> None:
        self.data = bytearray(size)
        self.data[: len(content)] = content
        self._array = (_door()[2] * size).from_buffer(self.data)
        self.address = _address_of(self._array)


def write_memory(address: int, content: bytes) -> None:
    """Writes into this process's own memory. Only for places that the kernel names, such as its argument area."""
    # Through proc(5): a ctypes array of this size would be a type of its own, and making one dirties 400 kB of a fork's memory.
    fd = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, content, address)
    finally:
        os.close(fd)


def _address_of(array: Any) -> int:
    try:
        from _ctypes import addressof
    except ImportError:
        from ctypes import addressof
    return addressof(array)
