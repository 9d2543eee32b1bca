"""`content fetch`, `fetch-object`, `push-object`: a registry's content without unpacking it."""

from __future__ import annotations

from wherry.ctr.command import Command, Flag
from wherry.ctr.commands.images_pull import pull_flags
from wherry.ctr.resolver import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def fetch(call: Invocation) -> None:
    """Fetches an image's content and names it."""
    from wherry.ctr.commands.images_pull import fetch_image

    fetch_image(call, call.argument(0), metadata_only=call.options.on("metadata-only"))


def fetch_object(call: Invocation) -> None:
    """Writes to stdout what a registry's name points to."""
    from wherry.console.streams import write_all
    from wherry.ctr.resolver import repositories
    from wherry.transfer.hosts import Remote, resolve

    name = call.argument(0)
    remote = Remote.parse(name)
    _, fetched = resolve(repositories(call, remote, "pull"), remote, name)
    write_all(call.streams.stdout, fetched.data)


def push_object(call: Invocation) -> None:
    """Sends one blob."""
    from wherry.ctr.blobs import Blobs, checked
    from wherry.ctr.resolver import repositories
    from wherry.oci.image import Descriptor
    from wherry.transfer.hosts import Remote, reachable
    from wherry.transfer.pushing import Choice, Push

    name, digest, kind = (call.argument(at) for at in range(3))
    blobs = Blobs(call.client)
    digest = checked(digest)
    remote = Remote.parse(name)
    blob = Descriptor(media_type=kind, digest=digest, size=int(blobs.info(digest).size))
    Push(blobs, reachable(repositories(call, remote, "push")), remote, Choice()).blob(blob)
    call.streams.line(f"Pushed {digest} {kind}")


FETCH = Command(usage="[flags] <remote> <object>", action=fetch, flags=(
    *pull_flags("labels for the image"), Flag(names=("metadata-only",), help="fetch manifests and configurations only"),
), description="""Fetch an image into containerd, without unpacking it.""")
FETCH_OBJECT = Command(usage="[flags] <remote> <object> [<hint>, ...]", action=fetch_object, flags=REGISTRY_FLAGS,
                       description="Print what a registry's name points to.")
PUSH_OBJECT = Command(usage="[flags] <remote> <object> <type>", action=push_object, flags=REGISTRY_FLAGS,
                      description="Send a blob of the content store to a registry.")
