"""What a shim that is gone has left of its container: processes, mounts, cgroups, state."""

from __future__ import annotations

import os

from wherry.errors import NotFound, WherryError
from wherry.oci.jsontext import loads
from wherry.shim.containerd import rootfs, settings
from wherry.shim.driver import make_driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGKILL = 9


def clear(container_id: str, bundle: str) -> int:
    """Ends and removes it; the pid that its init had, 0 when it never came to that. Raises WherryError, OSError."""
    pid = 0
    try:
        request = settings.load(container_id, bundle)
    except NotFound:
        pass  # it never came to a container
    else:
        folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            driver = make_driver(request, folder)
            pid = _pid_of(request.runtime_root, container_id)
            try:
                driver.kill_all(SIGKILL)
            except (WherryError, OSError):
                pass  # it has ended
            try:
                driver.delete()
            except NotFound:
                pass
        finally:
            os.close(folder)
    rootfs.unmount(f"{bundle}/rootfs")
    return pid


def _pid_of(root: str, container_id: str) -> int:
    """The init's pid by the state of wherry's runtime or of runc."""
    try:
        with open(f"{root}/{container_id}/state.json", encoding="utf-8") as file:
            state: Any = loads(file.read())
    except (OSError, ValueError):
        return 0
    return int(state.get("init_process_pid") or state.get("pid") or 0) if isinstance(state, dict) else 0
