"""A new container by the options of `run` and `containers create`: its snapshot, then its configuration, then its record."""

from __future__ import annotations

import json
import os

from wherry import errors
from wherry.ctr import log
from wherry.ctr.blobs import Blobs
from wherry.ctr.command import CommandFailed
from wherry.ctr.containers import CONFIG_PATH_OPTIONS, RUNC, RUNC_OPTIONS, spec_message
from wherry.ctr.lease import held
from wherry.ctr.spec import changes, devices, user
from wherry.ctr.spec.default import default, device_rules
from wherry.ctr.unpack import has_snapshot, snapshotter_name, unpack
from wherry.ctr.values import labels
from wherry.linux import accounts, capability
from wherry.oci.platform import parse_platform
from wherry.record import Record
from wherry.transfer import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.ctr.client import Client
    from wherry.ctr.command import Invocation
    from wherry.ctr.flags import Options

LABEL_BYTES = 4096
STOP_SIGNAL_LABEL = "io.containerd.image.config.stop-signal"


class Root(Record):
    """Where a container's root comes from: an image's snapshot, or a folder."""

    image: str = ""
    snapshotter: str = ""
    key: str = ""
    folder: str = ""
    config: Mapping[str, Any] = {}
    labels: Mapping[str, str] = {}


def create(call: Invocation, *, running: bool) -> str:
    """Makes the container and returns its id; `running` is true for `run`, which has more options."""
    options, client = call.options, call.client
    name = call.argument(0) if options.given("config") else call.argument(1)
    runtime = runtime_options(options) if running else _plain_runtime(options)
    with held(client):
        if options.given("config"):
            root = Root(labels=labels(options.many("label")))
            given: dict[str, Any] | None = _read_spec(options.text("config"))
        else:
            root = _folder_root(call) if options.on("rootfs") else _image_root(call, name, running=running)
            given = None
        try:
            spec = _spec(call, name, root, running=running) if given is None else given
            changes.annotate(spec, labels(options.many("label")))
            client.containers.Create(container={
                "id": name, "labels": dict(root.labels), "image": root.image, "runtime": runtime, "spec": spec_message(spec),
                "snapshotter": root.snapshotter, "snapshot_key": root.key})
        except (errors.WherryError, OSError):
            if root.key:
                client.snapshots.Remove(snapshotter=root.snapshotter, key=root.key)
            raise
    return name


def _read_spec(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except OSError as problem:
        raise CommandFailed(f"cannot load spec config file: open {path}: {(problem.strerror or '').lower()}") from problem
    except ValueError as problem:
        raise CommandFailed(f"failed to unmarshal spec config file: {problem}") from problem
    if not isinstance(found, dict):
        raise CommandFailed("failed to unmarshal spec config file: it is no object")
    return found


def _folder_root(call: Invocation) -> Root:
    return Root(folder=os.path.abspath(call.argument(0)), labels=labels(call.options.many("label")))


def _image_root(call: Invocation, name: str, *, running: bool) -> Root:
    """Unpacks the image where it is not yet, and makes the container's snapshot on it."""
    options, client = call.options, call.client
    image = client.images.Get(name=call.argument(0)).image
    platform = parse_platform(options.text("platform")) if running and options.text("platform") else None
    target = manifests.from_message(image.target)
    snapshotter = snapshotter_name(client, options.text("snapshotter"))
    config = manifests.config(Blobs(client).document, target, platform)
    if not has_snapshot(client, snapshotter, config.chain_id):
        unpack(client, target, snapshotter, platform)
    section = config.config or {}
    _snapshot(client, options, (snapshotter, name, config.chain_id), running=running)
    found = {**_fitting(section.get("Labels") or {}), **_fitting(image.labels), **labels(options.many("label"))}
    found[STOP_SIGNAL_LABEL] = section.get("StopSignal") or "SIGTERM"
    return Root(image=image.name, snapshotter=snapshotter, key=name, config=section, labels=found)


def _fitting(found: Mapping[str, str]) -> dict[str, str]:
    """The labels that containerd takes; a longer one is left out with a warning."""
    kept = {}
    for key, value in found.items():
        if len(key) + len(value) > LABEL_BYTES:
            length = f"label key and value length ({len(key) + len(value)} bytes)"
            log.write("warning", f"unable to add image label with key {key} to the container",
                      error=f"{length} greater than maximum size ({LABEL_BYTES} bytes)")
        else:
            kept[key] = value
    return kept


def _snapshot(client: Client, options: Options, where: tuple[str, str, str], *, running: bool) -> None:
    """Prepares the container's snapshot on the image's, with owners shifted where users are mapped."""
    snapshotter, key, parent = where
    given = labels(options.many("snapshotter-label"))
    uids, gids = id_maps(options) if running else (None, None)
    if uids and gids:
        if not options.on("remap-labels"):
            from wherry.ctr.remap import remapped

            parent = remapped(client, snapshotter, parent, uids["hostID"], gids["hostID"])
        else:
            given |= {"containerd.io/snapshot/uidmapping": f"0:{uids['hostID']}:{uids['size']}",
                      "containerd.io/snapshot/gidmapping": f"0:{gids['hostID']}:{uids['size']}"}
    client.snapshots.Prepare(snapshotter=snapshotter, key=key, parent=parent, labels=given)


def id_maps(options: Options) -> tuple[dict[str, int] | None, dict[str, int] | None]:
    """`--uidmap` and `--gidmap`, where both are given."""
    if not (options.text("uidmap") and options.text("gidmap")):
        return None, None
    return parse_id_map(options.text("uidmap")), parse_id_map(options.text("gidmap"))


def parse_id_map(text: str) -> dict[str, int]:
    """`container:host:size`. Raises CommandFailed in ctr's words."""
    parts = text.split(":")
    if len(parts) != 3:
        raise CommandFailed("user namespace mappings require the format `container-id:host-id:size`")
    for part, what in zip(parts, ("container id", "host id", "size"), strict=True):
        if not part.isdigit() or int(part) >= 1 << 32:
            why = "value out of range" if part.isdigit() else "invalid syntax"
            raise CommandFailed(f'invalid {what} for user namespace remapping: strconv.ParseUint: parsing "{part}": {why}')
    return {"containerID": int(parts[0]), "hostID": int(parts[1]), "size": int(parts[2])}


def _spec(call: Invocation, name: str, root: Root, *, running: bool) -> dict[str, Any]:
    """The configuration: the default, then the image's, then what the options say, in ctr's order."""
    options = call.options
    spec = default(call.client.namespace, name)
    spec["linux"]["resources"]["devices"] += device_rules()
    if options.text("env-file"):
        changes.environment(spec, changes.read_environment(options.text("env-file")))
    changes.environment(spec, options.many("env"))
    changes.mounts(spec, options.many("mount"))
    arguments = call.arguments[2:]
    if root.folder:
        spec["root"] = {"path": root.folder}
    else:
        changes.image_config(spec, root.config)
        spec["process"]["user"] = _image_user(call.client, root)
    if options.on("read-only"):
        spec["root"]["readonly"] = True
    if arguments:
        spec["process"]["args"] = list(arguments)
    if options.text("cwd"):
        spec["process"]["cwd"] = options.text("cwd")
    if options.on("tty"):
        changes.terminal(spec)
    _rights(options, spec)
    if options.on("net-host"):
        changes.host_network(spec)
    changes.annotate(spec, _annotations(options))
    _limits(options, spec, running=running)
    changes.join_namespaces(spec, options.many("with-ns"))
    uids, gids = id_maps(options) if running else (None, None)
    if uids and gids:
        changes.user_namespace(spec, uids, gids)
    if running and options.given("cgroup"):
        changes.cgroup(spec, options.text("cgroup"))
    for path in options.many("device"):
        try:
            devices.allow(spec, devices.found(path))
        except OSError as problem:
            raise CommandFailed(f"error stating device path: stat {path}: {(problem.strerror or '').lower()}") from problem
    changes.propagation(spec, options.text("rootfs-propagation"))
    if options.text("rdt-class"):
        spec["linux"]["intelRdt"] = {"closID": options.text("rdt-class")}
    return spec


def _annotations(options: Options) -> dict[str, str]:
    found = {}
    for word in options.many("annotation"):
        key, equals, value = word.partition("=")
        if not equals:
            raise CommandFailed(f"invalid key=value format annotation: {word}")
        found[key] = value
    return found


def _rights(options: Options, spec: dict[str, Any]) -> None:
    """Capabilities, seccomp, AppArmor, new privileges."""
    if options.on("privileged"):
        changes.privileged(spec, capability.names(capability.get()[0]))
        spec["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
        spec["linux"]["devices"] = devices.found("/dev")
    for name, change in (("cap-add", changes.add_capabilities), ("cap-drop", changes.drop_capabilities)):
        if any(not word.startswith("CAP_") for word in options.many(name)):
            raise CommandFailed("capabilities must be specified with 'CAP_' prefix")
        change(spec, options.many(name))
    if options.text("seccomp-profile") and not options.on("seccomp"):
        raise CommandFailed("seccomp must be set to true, if using a custom seccomp-profile")
    if options.on("seccomp"):
        from wherry.ctr.spec.seccomp import section

        spec["linux"]["seccomp"] = section(spec, options.text("seccomp-profile"))
    if options.text("apparmor-default-profile"):
        raise errors.Unsupported("--apparmor-default-profile is not supported: load the profile yourself, use --apparmor-profile")
    if options.text("apparmor-profile"):
        spec["process"]["apparmorProfile"] = options.text("apparmor-profile")
    if options.given("gpus"):
        raise errors.Unsupported("--gpus is not supported")
    if options.given("allow-new-privs"):
        spec["process"].pop("noNewPrivileges", None)


def _limits(options: Options, spec: dict[str, Any], *, running: bool) -> None:
    """Processor and memory."""
    cpus = float(options.value("cpus")) if running else 0.0
    if cpus > 0:
        changes.processor(spec, quota=int(cpus * 100000), period=100000)
    if running and options.number("cpu-shares") > 0:
        changes.processor(spec, shares=options.number("cpu-shares"))
    quota, period = options.number("cpu-quota"), options.number("cpu-period")
    if quota != -1 or period != 0:
        if cpus > 0:
            raise CommandFailed("cpus and quota/period should be used separately")
        changes.processor(spec, quota=quota, period=period)
    if options.number("memory-limit"):
        changes.memory(spec, options.number("memory-limit"))


def _image_user(client: Client, root: Root) -> dict[str, Any]:
    """Who the image's program is: its files are read from the new snapshot, mounted for that moment."""
    from wherry.ctr.mounting import mounted

    mounts = client.snapshots.Mounts(snapshotter=root.snapshotter, key=root.key).mounts
    with mounted(mounts, read_only=True) as folder:
        texts = accounts.read(folder)
    return user.of_image(root.config.get("User") or "", *texts)


def runtime_options(options: Options) -> dict[str, Any]:
    """The runtime of a record with the options for it, as `run` gives them."""
    name = options.text("runtime")
    if (options.text("runc-binary") or options.on("runc-systemd-cgroup")) and name != RUNC:
        raise CommandFailed(f'specifying runc-binary and runc-systemd-cgroup is only supported for "{RUNC}" runtime')
    if name != RUNC:
        return _plain_runtime(options)
    if options.on("runc-systemd-cgroup") and not options.text("cgroup"):
        raise CommandFailed('option --runc-systemd-cgroup requires --cgroup to be set, e.g. "machine.slice:foo:deadbeef"')
    from wherry.proto import runc_pb2

    message = runc_pb2.Options(binary_name=options.text("runc-binary"), systemd_cgroup=options.on("runc-systemd-cgroup"),
                               root=options.text("runc-root"))
    return {"name": name, "options": {"type_url": RUNC_OPTIONS, "value": message.SerializeToString()}}


def _plain_runtime(options: Options) -> dict[str, Any]:
    name, path = options.text("runtime"), options.text("runtime-config-path")
    if name == RUNC:
        return {"name": name, "options": {"type_url": RUNC_OPTIONS, "value": b""}}
    if path:  # runtimeoptions.v1.Options: the path is field 2, a text
        encoded = path.encode()
        return {"name": name, "options": {"type_url": CONFIG_PATH_OPTIONS, "value": b"\x12" + _varint(len(encoded)) + encoded}}
    return {"name": name}


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))
