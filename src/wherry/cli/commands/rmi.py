"""`rmi`: removes names and images."""

from __future__ import annotations

from wherry.cli.client import ApiError, escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.platforms import platform_json
from wherry.errors import WherryError

TYPE_CHECKING = False


def remove(call: Invocation) -> int:
    """Removes each image and prints what went."""
    options = call.options
    platforms = [platform_json(one) for one in options.many("platform")] or None
    query = {"force": options.on("force") or None, "noprune": options.on("no-prune") or None, "platforms": platforms}
    failed, fatal = [], False
    for name in call.arguments:
        try:
            gone = call.client.call("DELETE", f"/images/{escape(name, '/:@')}", query)
        except WherryError as wrong:
            fatal = fatal or not (isinstance(wrong, ApiError) and wrong.status == 404)
            failed.append(wrong.message)
            continue
        for one in gone or ():
            call.streams.line(f"Deleted: {one['Deleted']}" if one.get("Deleted") else f"Untagged: {one['Untagged']}")
    if failed:
        message = "\n".join(failed)
        if not options.on("force") or fatal:
            raise CommandFailed(message)
        call.streams.error_line(message)
    return 0


RMI = Command(
    usage="[OPTIONS] IMAGE [IMAGE...]",
    action=remove,
    least=1,
    most=UNLIMITED,
    flags=(
        Flag(name="force", short="f", help="Remove it also where containers use it or it has other names"),
        Flag(name="no-prune", help="Leave parents that have no name"),
        Flag(name="platform", kind="strings", since="1.50", help="Remove only this platform (os[/arch[/variant]])"),
    ),
)
