"""`wherry-runc run`: creates a container and starts it; stays with it unless it is to run on its own."""

from __future__ import annotations

import os

from wherry.runtime import container
from wherry.runtime.commands import create
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.container import Container, Init
    from wherry.runtime.main import Context

COMMAND = Command(
    name="run", usage="create and start a container", arguments="<container-id>",
    flags=(*create.FLAGS,
           Flag(names=("detach", "d"), kind="switch", help="do not wait for the container's end"),
           Flag(names=("keep",), kind="switch", help="keep the container's state after its end"),
           Flag(names=("no-subreaper",), kind="switch", help="do not adopt orphans of the container")),
    description="Without --detach the exit status is that of the container's program, and the container is removed.")


def run(context: Context) -> int:
    """Runs."""
    detached = context.flags["detach"]
    with create.waking(context) as waking:
        bundle, config = create.load_config(context)
        with create.Sockets(context.flags, config.annotations) as sockets:
            init = create.create(context, bundle, config, detached, _import_the_rest)
            waking.end()
            found = container.load(context.root, context.arguments[0])
            try:
                sockets.hand_over(init.console if detached else None, init.pidfd, "standard")
                code = _start(found, init, detached, adopt=not context.flags["no-subreaper"])
            except BaseException:
                container.delete(found, force=True)
                raise
    if not detached and not context.flags["keep"]:
        for failure in container.delete(found):
            context.log.write("warning", failure)
    return code


def _import_the_rest() -> None:
    """What comes after the creation; read while the init mounts, and this process would only wait."""
    from wherry.runtime import delete, start  # noqa: F401
    from wherry.runtime.commands import foreground  # noqa: F401


def _start(found: Container, init: Init, detached: bool, adopt: bool) -> int:
    """Starts a created container; 0 when it is to run on its own, otherwise its exit status."""
    proxy = None
    if host := os.environ.get("NOTIFY_SOCKET", ""):
        from wherry.runtime.notify import Proxy

        proxy = Proxy(found.root, found.id, host)
    if detached:
        container.start(found)
        if proxy is not None:
            proxy.wait(init.pidfd, init.pid)
        return 0
    if adopt:
        from wherry.linux import process

        process.set_child_subreaper()
    from wherry.runtime.commands.foreground import stay_with

    return stay_with(init.pidfd, init.console, lambda: container.start(found), proxy)
