"""`tag`: another name for an image."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import Command, CommandFailed, Invocation
from wherry.errors import InvalidArgument
from wherry.oci.reference import parse_reference

TYPE_CHECKING = False


def tag(call: Invocation) -> int:
    """Gives the image the name."""
    source, target = call.arguments
    try:
        reference = parse_reference(target)
    except InvalidArgument as wrong:
        from wherry.cli.values import go_quote

        raise CommandFailed(
            f"Error parsing reference: {go_quote(target)} is not a valid repository/tag: {wrong.message}"
        ) from None
    if reference.digest:
        raise CommandFailed("refusing to create a tag with a digest reference")
    call.client.call(
        "POST", f"/images/{escape(source, '/:@')}/tag", {"repo": reference.familiar_name, "tag": reference.tag or "latest"}
    )
    return 0


TAG = Command(usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", action=tag, least=2, most=2)
