"""`wherry-runc checkpoint`: its face is whole, its work is refused by name (see `criu`); the container stays as it is."""

from __future__ import annotations

from wherry.errors import Conflict
from wherry.runtime import container, criu, state
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from wherry.runtime.main import Context

# What `checkpoint` and `restore` share.
FLAGS = (
    Flag(names=("image-path",), kind="text", help="folder of criu's images"),
    Flag(names=("work-path",), kind="text", help="folder of criu's work files and log"),
    Flag(names=("tcp-established",), kind="switch", help="open TCP connections are allowed"),
    Flag(names=("ext-unix-sk",), kind="switch", help="Unix sockets that lead out are allowed"),
    Flag(names=("shell-job",), kind="switch", help="a terminal of somebody else's is allowed"),
    Flag(names=("lazy-pages",), kind="switch", help="restore memory when it is used"),
    Flag(names=("file-locks",), kind="switch", help="keep file locks"),
    Flag(names=("manage-cgroups-mode",), kind="text", help="soft, full, strict or ignore", default="soft"),
    Flag(names=("empty-ns",), kind="list", help="make this namespace, without what was in it"),
    Flag(names=("auto-dedup",), kind="switch", help="punch out of the images what was restored"),
    Flag(names=("lsm-profile",), kind="text", help="security profile, TYPE:NAME"),
    Flag(names=("lsm-mount-context",), kind="text", help="security context of mounts"),
)
COMMAND = Command(
    name="checkpoint", usage="write a running container to images (refused)", arguments="<container-id>",
    flags=(*FLAGS[:-2],
           Flag(names=("parent-path",), kind="text", help="images of an earlier --pre-dump"),
           Flag(names=("leave-running",), kind="switch", help="let the container go on"),
           Flag(names=("status-fd",), kind="number", help="descriptor that is told when lazy pages are ready", default="-1"),
           Flag(names=("page-server",), kind="text", help="address:port of a page server"),
           Flag(names=("pre-dump",), kind="switch", help="memory only; the container goes on")))


def run(context: Context) -> NoReturn:
    """Refuses: first what could not be checkpointed anyhow."""
    found = container.load(context.root, context.arguments[0])
    now = state.status(context.root, found.saved)
    if now in ("created", "creating", "stopped"):
        raise Conflict(f"Container cannot be checkpointed in {now} state")
    criu.refuse(context.criu, "checkpoint")
