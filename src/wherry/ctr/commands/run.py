"""`run`: a container made, run, and with --rm removed."""

from __future__ import annotations

from wherry import errors
from wherry.ctr import log
from wherry.ctr.command import Command, CommandFailed
from wherry.ctr.commands.container_flags import RUN_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def run(call: Invocation) -> int:
    """The exit code is that of the container's process."""
    from wherry.ctr import containers
    from wherry.ctr.create import create

    options = call.options
    _check(call)
    name = create(call, running=True)
    try:
        return _run(call, name)
    finally:
        if options.on("rm"):
            try:
                containers.delete(call.client, name, with_snapshot=True)
            except errors.WherryError as problem:
                log.write("error", "failed to cleanup container", error=problem.message)


def _check(call: Invocation) -> None:
    options = call.options
    if options.given("config"):
        if len(call.arguments) > 1:
            raise CommandFailed("with spec config file, only container id should be provided")
        name = call.argument(0)
    else:
        if not call.argument(0):
            raise CommandFailed("image ref must be provided")
        name = call.argument(1)
    if not name:
        raise CommandFailed("container id must be provided")
    if options.on("rm") and options.on("detach"):
        raise CommandFailed("flags --detach and --rm cannot be specified together")


def _run(call: Invocation, name: str) -> int:
    from wherry.ctr import task

    options = call.options
    terminal = options.on("tty")
    network = None
    if options.on("cni"):
        from wherry.ctr.cni import Network

        network = Network.from_folder(f"{call.client.namespace}-{name}")
    with task.raw_terminal(call.streams, wanted=terminal):
        stdio = task.streams_of(options, name, terminal=terminal)
        try:
            return task.run(call, name, stdio, network.set_up if network else lambda _: None, no_pivot=options.on("no-pivot"))
        finally:
            if network is not None and not options.on("detach"):
                network.tear_down()


RUN = Command(usage="[flags] Image|RootFS ID [COMMAND] [ARG...]", action=run, flags=RUN_FLAGS, reorders=False)
