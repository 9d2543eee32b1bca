"""CRIU, which checkpoints and restores processes: whether it is here. This runtime does not drive it yet and says so by name."""

from __future__ import annotations

import os

from wherry.errors import Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def refuse(program: str, verb: str) -> NoReturn:
    """Unavailable in runc's words where there is no criu, otherwise Unsupported."""
    folders = [""] if "/" in program else os.environ.get("PATH", "").split(":")
    if not any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders):
        why = f"stat {program}: no such file or directory" if "/" in program else "executable file not found in $PATH"
        raise Unavailable(f'CRIU version check failed: exec: "{program}": {why}')
    raise Unsupported(f"{verb} is not supported: {program} is there, but this runtime does not drive it")
