"""`tasks attach`."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def attach(call: Invocation) -> int:
    """Takes over the streams of a running container; its exit code, once it has ended."""
    from wherry.ctr import containers, task
    from wherry.ctr.session import Session
    from wherry.ctr.stdio import Stdio

    name, client = call.argument(0), call.client
    if not name:
        raise CommandFailed("container id must be provided")
    spec = containers.spec_of(containers.load(client, name))
    terminal = bool((spec.get("process") or {}).get("terminal"))
    with task.raw_terminal(call.streams, wanted=terminal):
        found = containers.task_of(client, name)
        stdio = Stdio(stdin=found.stdin, stdout=found.stdout, stderr=found.stderr, terminal=terminal)
        session = Session(client, call.streams, name, stdio)
        try:
            status = session.run(session.wait())
            client.tasks.Delete(container_id=name)
            return status
        finally:
            session.close()


ATTACH = Command(usage="CONTAINER", action=attach)
