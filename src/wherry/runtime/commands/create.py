"""`wherry-runc create`: makes a container whose program waits for `start`."""

from __future__ import annotations

from wherry.runtime.commands import creation
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="create", usage="create a container", arguments="<container-id>", flags=creation.FLAGS,
    description="Creates a container from the bundle's config.json. Its program is executed by wherry-runc start.\n"
                "The id must be unique on this host.")


def run(context: Context) -> int:
    """Creates; the terminal's master goes to the console socket, the init's descriptor to the pidfd socket."""
    bundle, config = creation.load_config(context)
    with creation.Sockets(context.flags) as sockets:
        init = creation.create(context, bundle, config, detached=True)
        try:
            sockets.hand_over(init.console, init.pidfd, "standard")
        except OSError:
            from wherry.runtime import container

            container.delete(container.load(context.root, context.arguments[0]), force=True)
            raise
    return 0
