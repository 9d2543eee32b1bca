"""`images push`."""

from __future__ import annotations

import time

from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.resolver import REGISTRY_FLAGS
from wherry.oci.image import OCI_MANIFEST, Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def push(call: Invocation) -> None:
    """Sends a local image, or a manifest by its digest, to a registry under a name."""
    from wherry import errors
    from wherry.ctr.blobs import Blobs, checked
    from wherry.ctr.progress import summary
    from wherry.ctr.resolver import repositories
    from wherry.oci.platform import parse_platform
    from wherry.transfer import manifests
    from wherry.transfer.hosts import Remote, reachable
    from wherry.transfer.pushing import PARALLEL, Choice, Push

    name, options, client = call.argument(0), call.options, call.client
    if not name:
        raise CommandFailed("please provide a remote image reference to push")
    blobs = Blobs(client)
    platform = parse_platform(options.text("platform")) if options.text("platform") else None
    if options.text("manifest"):
        digest = checked(options.text("manifest"))
        target = Descriptor(media_type=options.text("manifest-type"), digest=digest, size=int(blobs.info(digest).size))
    else:
        local = call.argument(1) or name
        try:
            target = manifests.from_message(client.images.Get(name=local).image.target)
        except errors.WherryError as problem:
            raise CommandFailed(f"unable to resolve image to manifest: {problem.message}") from problem
        if platform is not None:
            target = manifests.find(blobs.document, target, platform).descriptor
    remote = Remote.parse(name)
    choice = Choice(platform=platform, non_distributable=options.on("allow-non-distributable-blobs"),
                    parallel=options.number("max-concurrent-uploaded-layers") or PARALLEL)
    sending = Push(blobs, reachable(repositories(call, remote, "push")), remote, choice)
    started = time.monotonic()
    sending.run(target)
    call.streams.out(summary([(one, "done") for one in sending.done], time.monotonic() - started, sending.sent))


PUSH = Command(usage="[flags] <remote> [<local>]", action=push, flags=(
    *REGISTRY_FLAGS,
    Flag(names=("manifest",), kind="string", help="digest of a manifest to send instead of an image"),
    Flag(names=("manifest-type",), kind="string", default=OCI_MANIFEST, help="media type of that manifest"),
    Flag(names=("platform",), kind="string", help="platform whose content is sent"),
    Flag(names=("max-concurrent-uploaded-layers",), kind="int", help="how many layers to send at once; 0 for the default"),
    Flag(names=("allow-non-distributable-blobs",), help="send layers too that may not be passed on"),
), description="""Send an image to a registry: all content of the local image, then its manifest under the remote name.""")
