"""The container's program: found in the container's PATH, or refused in the words that scripts match on."""

from __future__ import annotations

import os
import stat

from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def merge_environment(entries: tuple[str, ...]) -> dict[str, str]:
    """NAME=value entries as a mapping; a later one wins. Entries without «=» or a name are left out."""
    environment: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if equals and name:
            environment.pop(name, None)
            environment[name] = value
    return environment


def home_of(uid: int) -> str:
    """The home folder of a user by /etc/passwd of the root that this process is in; «/» when there is none."""
    try:
        with open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                fields = line.rstrip("\n").split(":")
                if len(fields) >= 6 and fields[2] == str(uid):
                    return fields[5] or "/"
    except OSError:
        pass
    return "/"


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """The path to execute for `name`. StartFailed with 127 (not found) or 126 (not executable).

    A name with a slash is taken as it is, another one is looked for in PATH. The wording is that of Go's exec.LookPath.
    """
    if "/" in name:
        _check(name)
        return name
    for folder in environment.get("PATH", "").split(":"):
        candidate = f"{folder or '.'}/{name}"
        if is_executable(candidate):
            # Go refuses what it would find in the current folder only: such a PATH is rarely meant.
            if not candidate.startswith("/"):
                raise StartFailed(f'{_START}exec: "{name}": cannot run executable found relative to current directory', 126)
            return candidate
    raise StartFailed(f'{_START}exec: "{name}": executable file not found in $PATH', 127)


_START = "unable to start container process: "


def is_executable(path: str) -> bool:
    """Whether a file may be executed by this process, as its effective user."""
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISDIR(kind) and bool(kind & 0o111) and os.access(path, os.X_OK, effective_ids=True)


def _check(path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        code = 126 if error.errno == 13 else 127
        raise StartFailed(f'{_START}exec: "{path}": stat {path}: {(error.strerror or "").lower()}', code) from error
    if not is_executable(path):  # a folder too is EACCES for execve(2); by this text docker 20.10 knows that 126 is meant
        raise StartFailed(f'{_START}exec: "{path}": permission denied', 126)


def exec_failed(path: str, code: int) -> bytes:
    """The line that a program's standard error gets when execve(2) refuses it, in runc's words."""
    return os.fsencode(f"exec {path}: {os.strerror(code).lower()}\n")
