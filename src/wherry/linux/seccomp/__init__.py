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


class Program(Record):
    """A compiled filter: `struct sock_filter`s, the flags for seccomp(2), and whether it has a listener (SCMP_ACT_NOTIFY)."""

    filter: bytes
    flags: int
    notifies: bool


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
