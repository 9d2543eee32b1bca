"""`wherry-runc start`: executes the program of a created container."""

from __future__ import annotations

import os

from wherry.runtime import container
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="start", usage="execute the program of a created container", arguments="<container-id>",
    description="Executes the program that the container's config.json names.")


def run(context: Context) -> int:
    """Starts."""
    found = container.load(context.root, context.arguments[0])
    host = os.environ.get("NOTIFY_SOCKET", "")
    if not host:
        container.start(found)
        return 0
    from wherry.linux import process
    from wherry.runtime.notify import Proxy

    proxy = Proxy(found.root, found.id, host)
    pidfd = process.pidfd_open(found.saved.pid)
    container.start(found)
    proxy.wait(pidfd, found.saved.pid)
    return 0
