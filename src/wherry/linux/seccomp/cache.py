"""Compiled filters on disk, by the hash of their profile: compiling costs more than starting the program that needs it.

A file is a line `wherry-seccomp flags notifies length` and then the instructions. It is written under another name and renamed,
so a reader finds all of it or nothing; a file that is not what it should be counts as missing and is written anew.
"""

from __future__ import annotations

import os

from wherry import trace
from wherry.linux.seccomp import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# What is hashed beside the profile: to be raised when the same profile compiles to something else.
_VERSION = 1


def compile_cached(section: Mapping[str, Any], folder: str) -> Program:
    """The compiled profile, from `folder` or put there. A folder that cannot be written is no error: it is compiled each time.

    The folder must belong to the caller alone: whoever writes there decides what containers may do.
    """
    machine = os.uname().machine
    path = f"{folder}/{_hash(f'{_VERSION} {machine} {section!r}')}"
    program = _read(path)
    if program is None:
        from wherry.linux.seccomp.compiler import compile_program  # not needed as long as the cache has it

        program = compile_program(section, machine)
        _write(folder, path, program)
    return program


def _hash(text: str) -> str:
    # hashlib would bring OpenSSL along: 3 ms of a cold start.
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:
        try:
            from _sha2 import sha256  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha256
    digest: str = sha256(text.encode(errors="surrogatepass")).hexdigest()
    return digest


def _read(path: str) -> Program | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        owner = os.fstat(descriptor)
        data = os.read(descriptor, 1 << 17)
    finally:
        os.close(descriptor)
    if owner.st_uid != os.geteuid() or owner.st_mode & 0o022:
        return None
    try:
        return Program.unpack(data)
    except ValueError:
        return None


def _write(folder: str, path: str, program: Program) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, program.pack())
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError as error:
        trace.step("seccomp cache not written", str(error))
