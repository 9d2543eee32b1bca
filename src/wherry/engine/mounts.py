"""What a container has mounted: from `--volumes-from`, `-v`, `--mount` and the image's VOLUMEs to one list by destination.

All of this is planning: it reads nothing from the machine. The first to name a destination has it, in the order above;
`-v` and `--mount` on one destination are an error. What a volume's folder is, and copying an image's content into a
new one, is `volume_mounts`; how mounts look to the runtime is `spec`. Messages are Docker's.
"""

from __future__ import annotations

import posixpath
import re
import secrets
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine import gojson
from wherry.engine.records import MountRecord, MountSpec
from wherry.errors import InvalidArgument, NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wherry.engine.model import ContainerConfig, HostConfig, Mount

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_CONSISTENCIES = ("consistent", "cached", "delegated", "default")

MountPoints = dict[str, MountRecord]


def plan(config: ContainerConfig, host: HostConfig, mounts_of: Callable[[str], Mapping[str, MountRecord]],
         new_name: Callable[[], str] = lambda: secrets.token_hex(32)) -> MountPoints:
    """All mounts of a container by destination, volumes by name with an empty source.

    `mounts_of(reference)`: the mounts of another container, for `--volumes-from`. Anonymous volumes get names from
    `new_name`. Raises InvalidArgument and Unsupported.
    """
    found: MountPoints = {}
    for text in host.volumes_from or ():
        reference, mode = parse_volumes_from(text)
        try:
            taken = mounts_of(reference)
        except NotFound as error:  # of the request's own making: a client would take «not found» for the image, and pull it
            raise InvalidArgument(error.message) from error
        for destination, mount in taken.items():
            found[destination] = replace(mount, rw=mount.rw and mode != "ro",
                                         relabel=mode if mount.type == "bind" and mode else mount.relabel, copy_data=False)
    asked: MountPoints = {}
    for mount in (*(parse_bind(text, host.volume_driver) for text in host.binds or ()),
                  *(from_mount(one) for one in host.mounts or ())):
        if mount.destination in asked or mount.destination in _tmpfs(host):
            raise InvalidArgument(f"Duplicate mount point: {mount.destination}")
        asked[mount.destination] = _named(mount, new_name)
    found |= asked
    for text in config.volumes or {}:
        destination = clean_destination(text, text)
        if destination not in found and destination not in _tmpfs(host):
            # Nobody asked for a mount: dockerd notes neither a mode nor how it was asked for.
            anonymous = _volume("", destination, driver=host.volume_driver)
            found[destination] = _named(replace(anonymous, relabel="", spec=MountSpec()), new_name)
    return found


def parse_volumes_from(text: str) -> tuple[str, str]:
    """`container[:mode]` → (container, mode). Raises InvalidArgument."""
    reference, colon, mode = text.partition(":")
    if not reference:
        raise InvalidArgument("volumes-from specification cannot be an empty string" if not text
                              else f'malformed volume specification "{text}"')
    if colon and not all(word in ("ro", "rw", "z", "Z") for word in mode.split(",")):
        raise InvalidArgument(f"invalid mode: {mode}")
    return reference, "ro" if "ro" in mode.split(",") else mode


def parse_bind(text: str, volume_driver: str = "") -> MountRecord:
    """`source:destination[:mode]`, `name:destination[:mode]` or `destination`, as `-v` takes it. Raises InvalidArgument."""
    pieces = text.split(":")
    if not 1 <= len(pieces) <= 3 or not all(pieces):
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    mode = pieces[2] if len(pieces) == 3 else ""
    source, destination = ("", pieces[0]) if len(pieces) == 1 else (pieces[0], pieces[1])
    words = _mode_words(mode)
    destination = clean_destination(destination, text, "bind" if source.startswith("/") else "volume")
    writable = "ro" not in words
    if source.startswith("/"):
        if "nocopy" in words:
            raise InvalidArgument(f"invalid volume specification: '{text}': invalid mount config for type \"bind\": field "
                                  "VolumeOptions must not be specified")
        propagation = next((word for word in words if word in PROPAGATIONS), "rprivate")
        return MountRecord(type="bind", source=posixpath.normpath(source), destination=destination, rw=writable,
                           relabel=mode, propagation=propagation,
                           spec=MountSpec(type="bind", source=source, target=destination, read_only=not writable))
    if any(word in PROPAGATIONS for word in words):
        raise InvalidArgument(f"invalid volume specification: '{text}': invalid mount config for type \"volume\": field "
                              "BindOptions must not be specified")
    _check_name(source)
    return _volume(source, destination, driver=volume_driver, writable=writable, mode=mode, copy="nocopy" not in words)


def _check_name(volume: str) -> None:
    if len(volume) == 1:
        raise InvalidArgument(f"create {volume}: volume name is too short, names should be at least two alphanumeric characters")
    if volume and not VOLUME_NAME.fullmatch(volume):
        raise InvalidArgument(
            f'create {volume}: "{volume}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path')


def from_mount(mount: Mount) -> MountRecord:
    """A mount asked for with `--mount`. Raises InvalidArgument, and Unsupported for what is not done."""
    check_mount(mount)
    destination = posixpath.normpath(mount.target)
    spec = MountSpec(type=mount.type, source=mount.source, target=mount.target, read_only=mount.read_only,
                     bind_options=gojson.plain(mount.bind_options), volume_options=gojson.plain(mount.volume_options),
                     tmpfs_options=gojson.plain(mount.tmpfs_options))
    if mount.type == "bind":
        options = mount.bind_options
        return MountRecord(type="bind", source=posixpath.normpath(mount.source), destination=destination,
                           rw=not mount.read_only, propagation=(options.propagation if options else "") or "rprivate",
                           spec=spec, skip_mountpoint_creation=not (options and options.create_mountpoint))
    if mount.type == "tmpfs":
        return MountRecord(type="tmpfs", destination=destination, rw=not mount.read_only, spec=spec)
    volume = mount.volume_options
    driver = volume.driver_config.name if volume and volume.driver_config else ""
    return replace(_volume(mount.source, destination, driver=driver, writable=not mount.read_only,
                           copy=not (volume and volume.no_copy)), spec=spec)


def check_mount(mount: Mount) -> None:
    """Raises InvalidArgument in Docker's words for a `--mount` that makes no sense, Unsupported for kinds not done."""
    def wrong(why: str) -> InvalidArgument:
        return InvalidArgument(f'invalid mount config for type "{mount.type}": {why}')

    if not mount.target:
        raise wrong("field Target must not be empty")
    if not mount.target.startswith("/"):
        raise wrong(f"invalid mount path: '{mount.target}' mount path must be absolute")
    if posixpath.normpath(mount.target) in ("/", "//"):
        raise wrong("invalid specification: destination can't be '/'")
    options = {"bind": mount.bind_options, "volume": mount.volume_options, "tmpfs": mount.tmpfs_options,
               "image": mount.image_options, "cluster": mount.cluster_options}
    if mount.type in ("image", "cluster"):
        raise Unsupported(f'mounts of the type "{mount.type}" are not supported')
    if mount.type not in options:
        raise wrong("mount type unknown")
    for kind, given in options.items():
        if given is not None and kind != mount.type:
            raise wrong(f"field {kind.title()}Options must not be specified")
    _CHECKS[mount.type](mount, wrong)


def _check_bind(mount: Mount, wrong: Callable[[str], InvalidArgument]) -> None:
    if not mount.source:
        raise wrong("field Source must not be empty")
    if not mount.source.startswith("/"):
        raise wrong(f"invalid mount path: '{mount.source}' mount path must be absolute")
    if mount.bind_options and mount.bind_options.propagation not in ("", *PROPAGATIONS):
        raise wrong(f"invalid propagation mode: {mount.bind_options.propagation}")


def _check_volume(mount: Mount, wrong: Callable[[str], InvalidArgument]) -> None:
    _check_name(mount.source)
    if mount.volume_options and mount.volume_options.subpath:
        raise Unsupported("mounting a subpath of a volume is not supported")
    if not mount.source and mount.read_only:
        raise wrong("must not set ReadOnly mode when using anonymous volumes")


def _check_tmpfs(mount: Mount, wrong: Callable[[str], InvalidArgument]) -> None:
    if mount.source:
        raise wrong("field Source must not be specified")


_CHECKS = {"bind": _check_bind, "volume": _check_volume, "tmpfs": _check_tmpfs}


def clean_destination(destination: str, text: str, kind: str = "volume") -> str:
    """The normalised place inside. Raises InvalidArgument unless it is absolute and not the root."""
    if not destination.startswith("/"):
        raise InvalidArgument(f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": "
                              f"invalid mount path: '{destination}' mount path must be absolute")
    clean = posixpath.normpath("/" + destination.lstrip("/"))
    if clean == "/":
        raise InvalidArgument(f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": "
                              "invalid specification: destination can't be '/'")
    return clean


def volumes_of(points: Iterable[MountRecord]) -> tuple[str, ...]:
    """The names of the volumes among mounts."""
    return tuple(one.name for one in points if one.type == "volume" and one.name)


def is_anonymous(mount: MountRecord) -> bool:
    """Whether a volume was made for this container alone and goes with it (`rm -v`, `--rm`)."""
    return mount.type == "volume" and not mount.spec.source


def _mode_words(mode: str) -> tuple[str, ...]:
    """Each kind of word at most once. Raises InvalidArgument for others."""
    words = tuple(mode.split(",")) if mode else ()
    kinds = [next((kind for kind, known in enumerate((("ro", "rw"), ("z", "Z"), ("nocopy",), PROPAGATIONS, _CONSISTENCIES))
                   if word in known), -1) for word in words]
    if -1 in kinds or len(set(kinds)) < len(kinds):
        raise InvalidArgument(f"invalid mode: {mode}")
    return words


def _volume(name: str, destination: str, *, driver: str = "", writable: bool = True, mode: str = "",
            copy: bool = True) -> MountRecord:
    return MountRecord(type="volume", name=name, destination=destination, driver=driver or "local", rw=writable,
                       relabel=mode or "z", copy_data=copy,
                       spec=MountSpec(type="volume", source=name, target=destination, read_only=not writable))


def _named(mount: MountRecord, new_name: Callable[[], str]) -> MountRecord:
    if mount.type != "volume":
        return mount
    return replace(mount, name=mount.name or new_name(), id=secrets.token_hex(32))


def _tmpfs(host: HostConfig) -> frozenset[str]:
    return frozenset(posixpath.normpath(path) for path in host.tmpfs or {})
