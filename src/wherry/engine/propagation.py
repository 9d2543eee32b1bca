"""Whether a folder of the host can be given to a container such that mounts below it go from one to the other.

For `-v x:y:shared` the mount that the folder lies on must be shared, for `slave` shared or a slave itself; the container's own
root is then made such (`spec.mounts.root_propagation`). Kinds: mount_namespaces(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.engine.spec.mounts import SHARED, SLAVE
from wherry.errors import Internal
from wherry.linux import mountinfo

if TYPE_CHECKING:
    from wherry.engine.records import MountRecord


def check(mount: MountRecord) -> None:
    """Raises Internal, as dockerd does, where the mount of a bind's source passes nothing on. Its source is there."""
    if mount.propagation not in SHARED | SLAVE:
        return
    under = mountinfo.covering(mount.source)
    if not (under.is_shared or (under.is_slave and mount.propagation in SLAVE)):
        kind = "shared" if mount.propagation in SHARED else "shared or slave"
        raise Internal(f"path {mount.source} is mounted on {under.path} but it is not a {kind} mount")
