"""`version`."""

from __future__ import annotations

from wherry.ctr.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def version(call: Invocation) -> None:
    """The client's own version and the server's; a difference is pointed out."""
    import platform

    from wherry import __version__

    python = platform.python_version()
    call.streams.out(f"Client:\n  Version:  {__version__}\n  Revision: v{__version__}\n  Python version: {python}\n\n")
    server = call.client.version.Version()
    identity = call.client.introspection.Server().uuid
    call.streams.out(f"Server:\n  Version:  {server.version}\n  Revision: {server.revision}\n  UUID: {identity}\n")


VERSION = Command(usage="[arguments...]", action=version)
