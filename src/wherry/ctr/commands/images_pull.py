"""`images pull`: fetched, named, unpacked."""

from __future__ import annotations

import time

from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.main import SNAPSHOTTER
from wherry.ctr.resolver import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation
    from wherry.oci.image import Descriptor


def pull_flags(label_help: str) -> tuple[Flag, ...]:
    """The options that say from where, and what of an image, is fetched."""
    return (
        *REGISTRY_FLAGS,
        Flag(names=("label",), kind="strings", help=label_help),
        Flag(names=("platform",), kind="strings", help="platform whose content is fetched"),
        Flag(names=("all-platforms",), help="fetch the content of all platforms"),
        Flag(names=("all-metadata",), help="fetch the manifests of all platforms"),
    )


def fetch_image(call: Invocation, name: str, *, metadata_only: bool = False, parallel: int = 0) -> Descriptor:
    """Fetches an image's content under a lease and gives it its name; says what was fetched."""
    from wherry.ctr.blobs import Blobs
    from wherry.ctr.commands.images_archive import put_image
    from wherry.ctr.lease import held
    from wherry.ctr.progress import summary
    from wherry.ctr.resolver import repositories
    from wherry.ctr.values import labels
    from wherry.oci.platform import host_platform, parse_platform
    from wherry.transfer.fetching import PARALLEL, Fetch, Wanted
    from wherry.transfer.hosts import Remote, resolve

    options, client = call.options, call.client
    started = time.monotonic()
    platforms = [parse_platform(one) for one in options.many("platform")] or [host_platform()]
    remote = Remote.parse(name)
    repository, fetched = resolve(repositories(call, remote, "pull"), remote, name)
    target, total, done = None, 0, {name: "resolved"}
    for platform in [None] if options.on("all-platforms") else platforms:
        wanted = Wanted(platform=platform, all_metadata=options.on("all-metadata") or metadata_only,
                        metadata_only=metadata_only, parallel=parallel or PARALLEL)
        with held(client):
            fetch = Fetch(Blobs(client), repository, remote, wanted)
            target = fetch.run(fetched)
            put_image(client, name, target, labels(options.many("label")))
        total += fetch.fetched
        done |= dict.fromkeys(fetch.done, "done")
    assert target is not None
    call.streams.out(summary(list(done.items()), time.monotonic() - started, total))
    return target


def pull(call: Invocation) -> None:
    """Fetches an image, unpacks it, and says so."""
    from wherry.ctr.lease import held
    from wherry.ctr.unpack import snapshotter_name, unpack
    from wherry.ctr.values import spelled_duration
    from wherry.oci.platform import host_platform, parse_platform

    name, options, client = call.argument(0), call.options, call.client
    if not name:
        raise CommandFailed("please provide an image reference to pull")
    with held(client):
        target = fetch_image(call, name, parallel=options.number("max-concurrent-downloads"))
        snapshotter = snapshotter_name(client, options.text("snapshotter"))
        for platform in [parse_platform(one) for one in options.many("platform")] or [host_platform()]:
            call.streams.line(f"unpacking {platform} {target.digest}...")
            started = time.monotonic()
            chain = unpack(client, target, snapshotter, platform)
            if options.on("print-chainid"):
                call.streams.line(f"image chain ID: {chain}")
            call.streams.line(f"done: {spelled_duration(time.monotonic() - started)}\t")


_FLAGS = pull_flags("label for the image")
PULL = Command(usage="[flags] <ref>", action=pull, flags=(
    *REGISTRY_FLAGS, SNAPSHOTTER, *_FLAGS[len(REGISTRY_FLAGS):],
    Flag(names=("print-chainid",), help="print the chain id of the image"),
    Flag(names=("max-concurrent-downloads",), kind="int", help="how many layers to fetch at once; 0 for the default"),
), description="""Fetch an image from a registry, so that run can use it.

1. All content is fetched into the content store.
2. The image gets its name.
3. Its layers are unpacked into snapshots.
""")
