"""`containers checkpoint` and `restore`, `tasks checkpoint`: a container as an image of what it is made of."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.blobs import Blobs
    from wherry.ctr.command import Invocation
    from wherry.oci.image import Descriptor, Index

OPTIONS_TYPE = "application/vnd.containerd.container.checkpoint.runtime.options+proto"
SPEC_TYPE = "application/vnd.containerd.container.checkpoint.config.v1+proto"
RUNTIME, SNAPSHOTTER = "io.containerd.checkpoint.runtime", "io.containerd.checkpoint.snapshotter"


def checkpoint(call: Invocation) -> None:
    """Writes an index of the container's options and, as asked for, its task, image and changes; then names it."""
    from wherry import errors
    from wherry.ctr import containers
    from wherry.ctr.blobs import Blobs
    from wherry.ctr.lease import held
    from wherry.oci.image import Index
    from wherry.transfer.names import REFERENCE_NAME

    client, (name, reference) = call.client, _names(call)
    record, blobs = containers.load(client, name), Blobs(client)
    with held(client):
        running = call.options.on("task")
        if running:
            try:
                client.tasks.Pause(container_id=name)
            except errors.NotFound:
                raise CommandFailed(f"task {name} not found: not found") from None
        try:
            entries = _parts(call, blobs, record)
        finally:
            if running:
                client.tasks.Resume(container_id=name)
        _store(call, reference, Index(manifests=entries, annotations={
            RUNTIME: record.runtime.name, SNAPSHOTTER: record.snapshotter, REFERENCE_NAME: record.image}))


def _names(call: Invocation) -> tuple[str, str]:
    """The container and the image that the arguments name."""
    name, reference = call.argument(0), call.argument(1)
    if not name:
        raise CommandFailed("container id must be provided")
    if not reference:
        raise CommandFailed("ref must be provided")
    return name, reference


def _store(call: Invocation, name: str, index: Index) -> None:
    """Writes the index of a checkpoint, with the labels that hold its parts, and gives it an image's name."""
    from wherry.ctr.blobs import Blobs
    from wherry.ctr.commands.images_archive import put_image
    from wherry.oci import image as oci
    from wherry.transfer import manifests
    from wherry.transfer.holding import labels_of

    data = manifests.index_json(index)
    made = oci.descriptor(data, oci.OCI_INDEX)
    Blobs(call.client).write(f"checkpoint-{made.digest}", (data,), size=made.size, digest=made.digest,
                             labels=labels_of(made, index.manifests))
    put_image(call.client, name, made)


def _parts(call: Invocation, blobs: Blobs, record: Any) -> tuple[Descriptor, ...]:
    from wherry.ctr.commands.snapshots_diff import layer_of
    from wherry.oci.image import OCI_LAYER_GZIP, descriptor
    from wherry.oci.platform import host_platform
    from wherry.transfer import manifests, names

    options, client, here = call.options, call.client, host_platform()
    found: list[Descriptor] = []
    if record.runtime.HasField("options"):
        data = record.runtime.options.SerializeToString()
        one = descriptor(data, OPTIONS_TYPE, here)
        blobs.write(f"checkpoint-options-{one.digest}", (data,), size=one.size, digest=one.digest)
        found.append(one)
    if options.on("task"):
        found += [manifests.from_message(one).replace(platform=here)
                  for one in client.tasks.Checkpoint(container_id=record.id).descriptors]
    if options.on("image"):
        image = client.images.Get(name=record.image).image
        found.append(manifests.from_message(image.target).replace(annotations=names.as_annotations(record.image)))
    if options.on("rw"):
        layer = layer_of(client, record.snapshotter, record.snapshot_key, media_type=OCI_LAYER_GZIP)
        found.append(manifests.from_message(layer).replace(platform=here, annotations={}))
    return tuple(found)


def restore(call: Invocation) -> None:
    """Makes a container by a checkpoint that has its configuration."""
    from wherry.ctr.blobs import Blobs
    from wherry.ctr.lease import held
    from wherry.oci.image import Index
    from wherry.transfer import manifests

    client, (name, reference) = call.client, _names(call)
    blobs = Blobs(client)
    target = manifests.from_message(client.images.Get(name=reference).image.target)
    index = Index.from_json(blobs.document(target))
    spec = next((one for one in index.manifests if one.media_type == SPEC_TYPE), None)
    if spec is None:
        raise CommandFailed("media type not found")
    if call.options.on("live"):
        raise CommandFailed("containers restore --live is not supported")
    with held(client):
        _restore(call, name, index, blobs.document(spec))


def _restore(call: Invocation, name: str, index: Index, spec: bytes) -> None:
    from google.protobuf import any_pb2

    from wherry import errors
    from wherry.ctr.blobs import Blobs
    from wherry.ctr.unpack import unpack
    from wherry.oci.image import OCI_LAYER_GZIP
    from wherry.transfer import manifests
    from wherry.transfer.names import REFERENCE_NAME

    client = call.client
    blobs = Blobs(client)
    for key in (REFERENCE_NAME, SNAPSHOTTER, RUNTIME):
        if key not in index.annotations:
            raise CommandFailed(f"the checkpoint does not say its {key}")
    runtime: dict[str, Any] = {"name": index.annotations[RUNTIME]}
    for one in index.manifests:
        if one.media_type == OPTIONS_TYPE:
            runtime["options"] = any_pb2.Any.FromString(blobs.document(one))
    image = client.images.Get(name=index.annotations[REFERENCE_NAME]).image
    snapshotter = index.annotations[SNAPSHOTTER]
    chain = unpack(client, manifests.from_message(image.target), snapshotter)
    mounts = client.snapshots.Prepare(snapshotter=snapshotter, key=name, parent=chain).mounts
    try:
        for one in index.manifests if call.options.on("rw") else ():
            if one.media_type == OCI_LAYER_GZIP:
                client.diffs.Apply(diff=manifests.to_message(one), mounts=mounts)
        client.containers.Create(container={
            "id": name, "image": image.name, "runtime": runtime, "spec": any_pb2.Any.FromString(spec),
            "snapshotter": snapshotter, "snapshot_key": name})
    except errors.WherryError:
        client.snapshots.Remove(snapshotter=snapshotter, key=name)
        raise


def task_checkpoint(call: Invocation) -> None:
    """Writes the state of the processes to a folder, or to an image that is named after the container and the time."""
    import time

    from wherry.ctr import containers
    from wherry.ctr.containers import RUNC_OPTIONS
    from wherry.ctr.lease import held
    from wherry.oci.image import Index
    from wherry.oci.platform import host_platform
    from wherry.proto import runc_pb2
    from wherry.transfer import manifests

    client, name, options = call.client, call.argument(0), call.options
    if not name:
        raise CommandFailed("container id must be provided")
    record = containers.load(client, name)
    containers.task_of(client, name)
    fields: dict[str, Any] = {}
    if record.runtime.options.type_url in ("", RUNC_OPTIONS):
        message = runc_pb2.CheckpointOptions(exit=options.on("exit"), image_path=options.text("image-path"),
                                             work_path=options.text("work-path"))
        fields["options"] = {"type_url": "containerd.runc.v1.CheckpointOptions", "value": message.SerializeToString()}
    with held(client):
        found = client.tasks.Checkpoint(container_id=name, **fields).descriptors
        if options.text("image-path"):
            return
        entries = tuple(manifests.from_message(one).replace(platform=host_platform()) for one in found)
        image = f"containerd.io/checkpoint/{name}:{time.strftime('%m-%d-%Y-%H:%M:%S')}"
        _store(call, image, Index(manifests=entries))
        call.streams.line(image)


CHECKPOINT = Command(usage="CONTAINER REF", action=checkpoint, flags=(
    Flag(names=("rw",), help="put the container's changes into it"),
    Flag(names=("image",), help="put the image into it"),
    Flag(names=("task",), help="put the state of the processes into it"),
))
RESTORE = Command(usage="CONTAINER REF", action=restore, flags=(
    Flag(names=("rw",), help="apply the container's changes"),
    Flag(names=("live",), help="go on with the processes"),
))
TASK_CHECKPOINT = Command(usage="[flags] CONTAINER", action=task_checkpoint, flags=(
    Flag(names=("exit",), help="end the container behind it"),
    Flag(names=("image-path",), kind="string", help="folder for the images of CRIU"),
    Flag(names=("work-path",), kind="string", help="folder for the working files and logs of CRIU"),
))
