"""`images mount` and `unmount`."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.main import SNAPSHOTTER
from wherry.ctr.resolver import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def mount(call: Invocation) -> None:
    """Mounts an image at a folder, by a snapshot whose key is the folder's path."""
    from wherry import errors
    from wherry.ctr.lease import create_lease, held
    from wherry.ctr.mounting import mount_all
    from wherry.ctr.unpack import snapshotter_name, unpack
    from wherry.oci.platform import host_platform, parse_platform
    from wherry.transfer import manifests

    options, client = call.options, call.client
    name, target = call.argument(0), call.argument(1)
    if not name:
        raise CommandFailed("please provide an image reference to mount")
    if not target:
        raise CommandFailed("please provide a target path to mount to")
    snapshotter = snapshotter_name(client, options.text("snapshotter"))
    platform = parse_platform(options.text("platform")) if options.text("platform") else host_platform()
    image = manifests.from_message(client.images.Get(name=name).image.target)
    try:
        create_lease(client, target, 0)  # it holds the snapshot until it is unmounted with --rm
    except errors.AlreadyExists:
        pass
    with held(client):
        chain = unpack(client, image, snapshotter, platform)
        make = client.snapshots.Prepare if options.on("rw") else client.snapshots.View
        try:
            client.lease, before = target, client.lease
            try:
                mounts = make(snapshotter=snapshotter, key=target, parent=chain).mounts
            finally:
                client.lease = before
        except errors.AlreadyExists:
            mounts = client.snapshots.Mounts(snapshotter=snapshotter, key=target).mounts
    try:
        mount_all(mounts, target)
    except OSError:
        client.snapshots.Remove(snapshotter=snapshotter, key=target)
        raise
    call.streams.line(chain)
    call.streams.line(target)


def unmount(call: Invocation) -> None:
    """Unmounts an image, and removes its snapshot where that is asked for. What is not mounted is left as it is."""
    import errno

    from wherry import errors
    from wherry.ctr.mounting import unmount as take_down
    from wherry.ctr.unpack import snapshotter_name

    target, client = call.argument(0), call.client
    if not target:
        raise CommandFailed("please provide a target path to unmount from")
    try:
        take_down(target)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
    if call.options.on("rm"):
        snapshotter = snapshotter_name(client, call.options.text("snapshotter"))
        try:
            client.snapshots.Remove(snapshotter=snapshotter, key=target)
        except errors.NotFound:
            pass
        try:
            client.leases.Delete(id=target)
        except errors.NotFound:
            pass
    call.streams.line(target)


_LABEL = Flag(names=("label",), kind="strings", help="label for the image")
MOUNT = Command(usage="[flags] <ref> <target>", action=mount, flags=(
    *REGISTRY_FLAGS, SNAPSHOTTER, _LABEL, Flag(names=("rw",), help="let the mount be written to"),
    Flag(names=("platform",), kind="string", default="linux/amd64", help="platform whose image is mounted"),
), description="""Mount an image's root at a folder.

The unmount command takes it down.
""")
UNMOUNT = Command(usage="[flags] <target>", action=unmount, flags=(
    *REGISTRY_FLAGS, SNAPSHOTTER, _LABEL, Flag(names=("rm",), help="remove the snapshot once it is unmounted"),
), description="Unmount an image's root from a folder.")
