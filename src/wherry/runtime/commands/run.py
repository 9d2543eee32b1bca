"""`wherry-runc run`: creates a container and starts it; stays with it unless it is to run on its own."""

from __future__ import annotations

import os

from wherry.runtime import container
from wherry.runtime.commands import creation
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="run", usage="create and start a container", arguments="<container-id>",
    flags=(*creation.FLAGS,
           Flag(names=("detach", "d"), kind="switch", help="do not wait for the container's end"),
           Flag(names=("keep",), kind="switch", help="keep the container's state after its end"),
           Flag(names=("no-subreaper",), kind="switch", help="do not adopt orphans of the container")),
    description="Without --detach the exit status is that of the container's program, and the container is removed.")


def run(context: Context) -> int:
    """Runs."""
    detached = context.flags["detach"]
    bundle, config = creation.load_config(context)
    init = creation.create(context, bundle, config, detached)
    found = container.load(context.root, context.arguments[0])
    if not detached and not context.flags["no-subreaper"]:
        from wherry.linux import process

        process.set_child_subreaper()
    try:
        if detached:
            if init.console is not None:
                creation.send_console(context.flags["console-socket"], init.console)
            container.start(found)
            return 0
        from wherry.runtime.commands.foreground import stay_with

        code = stay_with(init.pidfd, init.console, lambda: container.start(found))
    except BaseException:
        container.delete(found, force=True)
        raise
    finally:
        if context.flags["pid-file"] and not detached:
            try:
                os.unlink(context.flags["pid-file"])
            except FileNotFoundError:
                pass
    if not context.flags["keep"]:
        container.delete(found)
    return code
