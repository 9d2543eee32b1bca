"""`--env-file` and `--label-file`."""

from __future__ import annotations

from wherry.cli.command import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def read_lines(path: str, kind: str) -> list[str]:
    """`NAME=value` and `NAME` lines; comments and empty lines are left out. Raises CommandFailed."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as wrong:
        raise CommandFailed(f"open {path}: {(wrong.strerror or '').lower()}", 125, hinted=True) from None
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.rstrip(b"\r").decode()
        except UnicodeDecodeError:
            raise CommandFailed(
                f"invalid {kind} file ({path}): invalid utf8 bytes at line {number}: {[*raw]}", 125, hinted=True
            ) from None
        line = line.lstrip(" \t\v\f")
        if not line or line.startswith("#"):
            continue
        name, _, _ = line.partition("=")
        if not name:
            raise CommandFailed(f"invalid {kind} file ({path}): no variable name on line '{line}'", 125, hinted=True)
        if any(one in name for one in " \t\n\v\f\r"):
            raise CommandFailed(f"invalid {kind} file ({path}): variable '{name}' contains whitespaces", 125, hinted=True)
        found.append(line)
    return found


def variables(files: Sequence[str], given: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Environment variables: those of the files, then those given.

    A name alone takes its value from here, or stays alone (files: left out).
    """
    found = []
    for path in files:
        for line in read_lines(path, "env"):
            if "=" in line:
                found.append(line)
            elif line in environment:
                found.append(f"{line}={environment[line]}")
    for one in given:
        name, equals, _ = one.partition("=")
        found.append(f"{one}={environment[one]}" if not equals and name in environment else one)
    return found


def labels(files: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """Labels of the files and those given; a name alone counts only where it is given."""
    lines = [line for path in files for line in read_lines(path, "label") if "=" in line]
    return {name: value for name, _, value in (one.partition("=") for one in (*lines, *given))}
