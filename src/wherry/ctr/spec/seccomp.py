"""`linux.seccomp` for a container: the default profile for the capabilities that it has, or a file of one's own."""

from __future__ import annotations

import json
import os

from wherry.errors import InvalidArgument
from wherry.oci.seccomp import default_section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def section(spec: dict[str, Any], path: str) -> dict[str, Any]:
    """The section; `path` names a file with one, "" the default. Raises InvalidArgument in ctr's words."""
    if not path:
        bounding = tuple((spec["process"].get("capabilities") or {}).get("bounding") or ())
        system = os.uname()
        major, minor = system.release.split(".")[:2]
        return default_section(bounding, system.machine, (int(major), int(minor)))
    try:
        with open(path, "rb") as file:
            found: dict[str, Any] = json.loads(file.read())
    except OSError as problem:
        raise InvalidArgument(f"cannot load seccomp profile {path}: open {path}: {(problem.strerror or '').lower()}") from problem
    except ValueError as problem:
        raise InvalidArgument(f"decoding seccomp profile failed {path}: {problem}") from problem
    return found
