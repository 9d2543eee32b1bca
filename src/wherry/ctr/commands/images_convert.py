"""`images convert`."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def convert(call: Invocation) -> None:
    """Makes an image of another form under another name, and prints its digest."""
    from wherry.ctr.blobs import Blobs
    from wherry.ctr.commands.images_archive import chosen_platform, put_image
    from wherry.ctr.converting import Form
    from wherry.ctr.converting import convert as make
    from wherry.ctr.lease import held
    from wherry.transfer import manifests

    source, target, client, options = call.argument(0), call.argument(1), call.client, call.options
    if not source or not target:
        raise CommandFailed("src and target image need to be specified")
    form = Form(oci_types=options.on("oci"), uncompress=options.on("uncompress"), platform=chosen_platform(call))
    with held(client):
        image = client.images.Get(name=source).image
        made = make(Blobs(client), manifests.from_message(image.target), form)
        put_image(client, target, made, dict(image.labels))
    call.streams.line(made.digest)


CONVERT = Command(usage="[flags] <source_ref> <target_ref>", action=convert, description="""Make an image of another form.

e.g., 'ctr images convert --uncompress --oci example.com/foo:orig example.com/foo:converted'

--platform chooses one platform's image; with --all-platforms all content of an index must be here.
""", flags=(
    Flag(names=("uncompress",), help="write compressed layers without compression"),
    Flag(names=("oci",), help="use OCI's media types instead of Docker's"),
    Flag(names=("platform",), kind="string", help="platform whose image is converted"),
    Flag(names=("all-platforms",), help="convert the images of all platforms"),
))
