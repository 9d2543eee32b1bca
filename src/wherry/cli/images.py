"""Pulling with progress, for `pull`, `run` and `create`."""

from __future__ import annotations

from wherry.cli.command import CommandFailed
from wherry.cli.credentials import auth_headers
from wherry.cli.output.progress import ProgressError, ProgressScreen
from wherry.errors import InvalidArgument
from wherry.oci.reference import Reference, parse_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.cli.command import Invocation


def named(text: str) -> Reference:
    """The reference that a person wrote, a missing tag left missing. Raises CommandFailed with docker's words."""
    try:
        return parse_name(text)
    except InvalidArgument as wrong:
        raise CommandFailed(wrong.message) from None


def pull(
    call: Invocation,
    reference: Reference,
    *,
    platform: str = "",
    every: bool = False,
    write: Callable[[str], None] | None = None,
    columns: int = 0,
) -> None:
    """Pulls an image; messages go to `write`, nowhere without it. Raises ApiError, CommandFailed."""
    tag = "" if every else reference.digest or reference.tag
    query = {"fromImage": reference.familiar_name, "tag": tag or None, "platform": platform.lower() or None}
    answer = call.client.stream("POST", "/images/create", query, headers=auth_headers(call.config, reference.domain))
    screen = ProgressScreen(write or (lambda _text: None), columns if write is not None else 0)
    try:
        screen.show_all(answer.values())
    except ProgressError as wrong:
        raise CommandFailed(wrong.message) from None
    call.client.done(answer)
