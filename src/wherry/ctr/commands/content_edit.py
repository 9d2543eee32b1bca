"""`content edit`."""

from __future__ import annotations

from wherry.ctr.blobs import Blobs, checked
from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation



def edit(call: Invocation) -> None:
    """Lets an editor change a copy of a blob, stores what comes of it, and prints its digest."""
    import os
    import tempfile

    if call.options.text("validate"):
        raise CommandFailed("validating the edit result not supported")
    digest = checked(call.argument(0))
    blobs = Blobs(call.client)
    with tempfile.NamedTemporaryFile(prefix=f"edit-{digest.rpartition(':')[2]}-") as file:
        for data in blobs.chunks(digest):
            file.write(data)
        file.flush()
        _run_editor(call.options.text("editor"), file.name)
        with open(file.name, "rb") as edited:  # an editor may have put another file in its place
            data = edited.read()
    call.streams.line(blobs.put(f"edit-{digest}-{os.urandom(4).hex()}", data))


def _run_editor(editor: str, path: str) -> None:
    import subprocess

    code = subprocess.call(["sh", "-c", f'{editor} "$1"', "sh", path])
    if code:
        raise CommandFailed(f"exit status {code}")


EDIT = Command(usage="[flags] <digest>", action=edit, description="edit a blob and print the digest of the result", flags=(
    Flag(names=("validate",), kind="string", help="check the result by a format (json, mediatype)"),
    Flag(names=("editor",), kind="string", variable="EDITOR", help="editor to use"),
))
