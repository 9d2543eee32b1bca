"""System call filters: `linux.seccomp` of the runtime-spec as classic BPF, and into the kernel.

`compile(section)` is pure and gives a `Program`; with `cache="FOLDER"` it is kept on disk by hash. `load(program)` puts it
on the calling thread and gives the listener's descriptor where the profile notifies.
"""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


_MAGIC = b"wherry-seccomp"


class Program(Record):
    """A compiled filter: `struct sock_filter`s, the flags for seccomp(2), and whether it has a listener (SCMP_ACT_NOTIFY)."""

    filter: bytes
    flags: int
    notifies: bool

    def pack(self) -> bytes:
        """The program as a file's content."""
        return b"%s %d %d %d\n" % (_MAGIC, self.flags, self.notifies, len(self.filter)) + self.filter

    @classmethod
    def unpack(cls, data: bytes) -> Program:
        """The inverse of `pack`. ValueError for what is no whole program."""
        header, _, instructions = data.partition(b"\n")
        fields = header.split()
        if (len(fields) != 4 or fields[0] != _MAGIC or not all(field.isdigit() for field in fields[1:])
                or int(fields[3]) != len(instructions) or not instructions or len(instructions) % 8):
            raise ValueError("not a compiled filter")
        return cls(filter=instructions, flags=int(fields[1]), notifies=fields[2] == b"1")


def compile(section: Mapping[str, Any], cache: str = "") -> Program:  # noqa: A001 (the word of the field)
    """The filter for a profile, as parsed from JSON. Raises InvalidArgument naming what is unknown in it."""
    if cache:
        from wherry.linux.seccomp.cache import compile_cached

        return compile_cached(section, cache)
    from wherry.linux.seccomp.compiler import compile_program

    return compile_program(section)


def load(program: Program) -> int | None:
    """Filters the calling thread: see `loader.load`."""
    from wherry.linux.seccomp import loader

    return loader.load(program)
