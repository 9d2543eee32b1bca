"""Images as data: descriptors, manifests, indexes and configs of the image-spec, and Docker's spelling of them.

Values are read with `from_json` and written with `to_json`. Fields that the specification does not name survive in
`unknown`. What carries a digest is its bytes: keep the bytes that came, and write new ones only for something new.

Source: image-spec (descriptor.md, manifest.md, image-index.md, config.md), Docker image manifest V2 schema 2.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.oci.digest import InvalidDigest, chain_id, parse_digest
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_V1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_MANIFEST_V1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})

_NOTHING: Mapping[str, Any] = type(type.__dict__)({})  # an empty read-only mapping, without importing `types`


class Platform(Record):
    """Where an image runs; Go's names (`amd64`, `linux`)."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(Record):
    """Names content: its type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = _NOTHING
    platform: Platform | None = None
    unknown: Mapping[str, Any] = _NOTHING


class Manifest(Record):
    """One image for one platform: its config and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = _NOTHING
    unknown: Mapping[str, Any] = _NOTHING

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Raises InvalidArgument when it is not a manifest of schema 2."""
        fields = _object(_loads(data, "manifest"), "manifest")
        if fields.pop("schemaVersion", None) != 2:
            raise InvalidArgument("invalid manifest: schemaVersion is not 2")
        return cls(
            media_type=_take(fields, "mediaType", str, OCI_MANIFEST),
            config=_descriptor(_take(fields, "config", dict, None), "manifest.config"),
            layers=tuple(_descriptor(one, "manifest.layers") for one in _take(fields, "layers", list, [])),
            annotations=_strings(fields, "annotations"),
            unknown=fields,
        )

    def to_json(self) -> bytes:
        """The manifest as JSON, without spaces."""
        return _dumps(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": _of_descriptor(self.config),
                "layers": [_of_descriptor(layer) for layer in self.layers],
                **({"annotations": dict(self.annotations)} if self.annotations else {}),
                **self.unknown,
            }
        )


class Index(Record):
    """Several manifests, usually one for each platform."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX
    annotations: Mapping[str, str] = _NOTHING
    unknown: Mapping[str, Any] = _NOTHING

    @classmethod
    def from_json(cls, data: bytes) -> Index:
        """Raises InvalidArgument when it is not an index of schema 2."""
        fields = _object(_loads(data, "index"), "index")
        if fields.pop("schemaVersion", None) != 2:
            raise InvalidArgument("invalid index: schemaVersion is not 2")
        return cls(
            media_type=_take(fields, "mediaType", str, OCI_INDEX),
            manifests=tuple(_descriptor(one, "index.manifests") for one in _take(fields, "manifests", list, [])),
            annotations=_strings(fields, "annotations"),
            unknown=fields,
        )

    def to_json(self) -> bytes:
        """The index as JSON, without spaces."""
        return _dumps(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "manifests": [_of_descriptor(one) for one in self.manifests],
                **({"annotations": dict(self.annotations)} if self.annotations else {}),
                **self.unknown,
            }
        )


class History(Record):
    """How one layer, or one step without a layer, came to be. `created` is RFC 3339 text."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False
    unknown: Mapping[str, Any] = _NOTHING


class ImageConfig(Record):
    """An image's configuration; the SHA-256 of its bytes is the image's id.

    `config` is the section of defaults for containers as Docker spells it (`Env`, `Cmd`, `ExposedPorts` …), None
    where absent: the engine turns it into its own types. `unknown` keeps Docker's further fields (`container_config`,
    `docker_version`, `parent` …).
    """

    architecture: str
    os: str
    diff_ids: tuple[str, ...]
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    created: str = ""
    author: str = ""
    config: Mapping[str, Any] | None = None
    history: tuple[History, ...] = ()
    unknown: Mapping[str, Any] = _NOTHING

    @property
    def platform(self) -> Platform:
        """Where the image runs."""
        return Platform(
            architecture=self.architecture,
            os=self.os,
            variant=self.variant,
            os_version=self.os_version,
            os_features=self.os_features,
        )

    @property
    def chain_id(self) -> str:
        """The chain id of the topmost layer; "" for an image without layers."""
        return chain_id(self.diff_ids)

    @classmethod
    def from_json(cls, data: bytes) -> ImageConfig:
        """Raises InvalidArgument when it is not the configuration of an image."""
        fields = _object(_loads(data, "image config"), "image config")
        if not isinstance(fields.get("rootfs"), dict):
            raise InvalidArgument("invalid image JSON, no RootFS key")
        rootfs = fields.pop("rootfs")
        if rootfs.get("type") not in ("layers", "", None):
            raise InvalidArgument(f'invalid image config: rootfs of the type "{rootfs.get("type")}"')
        return cls(
            architecture=_take(fields, "architecture", str, ""),
            os=_take(fields, "os", str, ""),
            variant=_take(fields, "variant", str, ""),
            os_version=_take(fields, "os.version", str, ""),
            os_features=tuple(_take(fields, "os.features", list, [])),
            created=_take(fields, "created", str, ""),
            author=_take(fields, "author", str, ""),
            config=_take(fields, "config", dict, None),
            diff_ids=tuple(_digest(one, "rootfs.diff_ids") for one in _take(rootfs, "diff_ids", list, [])),
            history=tuple(_history(one) for one in _take(fields, "history", list, [])),
            unknown=fields,
        )

    def to_json(self) -> bytes:
        """The configuration as JSON, in the order of Docker's fields, without spaces."""
        given = {
            "architecture": self.architecture,
            "variant": self.variant,
            "os": self.os,
            "os.version": self.os_version,
            "os.features": list(self.os_features),
            "created": self.created,
            "author": self.author,
        }
        fields: dict[str, Any] = {key: value for key, value in given.items() if value or key in ("architecture", "os")}
        if self.config is not None:
            fields["config"] = dict(self.config)
        fields["rootfs"] = {"type": "layers", "diff_ids": list(self.diff_ids)}
        if self.history:
            fields["history"] = [_of_history(one) for one in self.history]
        return _dumps({**fields, **self.unknown})


def descriptor(data: bytes, media_type: str, platform: Platform | None = None) -> Descriptor:
    """The descriptor of these bytes."""
    from wherry.oci.digest import digest_of

    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data), platform=platform)


# Reading: each helper takes what it knows out of the object, so that the rest is `unknown`.


def _loads(data: bytes, subject: str) -> object:
    import json  # late: only programs that handle images need it

    try:
        return json.loads(data)
    except (ValueError, RecursionError) as err:
        raise InvalidArgument(f"invalid {subject}: {err}") from err


def _dumps(value: object) -> bytes:
    import json

    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _object(value: object, subject: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"invalid {subject}: not an object")
    return dict(value)


def _take(fields: dict[str, Any], key: str, kind: Callable[..., T], default: Any) -> Any:
    value = fields.pop(key, None)
    if value is None:
        return default
    if not isinstance(value, kind):  # type: ignore[arg-type]  # `kind` is always a class here
        raise InvalidArgument(f'invalid image data: the field "{key}" has the wrong type')
    return value


def _strings(fields: dict[str, Any], key: str) -> Mapping[str, str]:
    value = _take(fields, key, dict, _NOTHING)
    if not all(isinstance(one, str) for one in value.values()):
        raise InvalidArgument(f'invalid image data: the field "{key}" holds something other than text')
    return value  # type: ignore[no-any-return]  # checked in the line before


def _digest(value: object, subject: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"invalid image data: {subject} is not a digest")
    try:
        return parse_digest(value)
    except InvalidDigest as err:
        raise InvalidArgument(f'invalid image data: {subject} "{value}": {err}') from err


def _platform(value: object) -> Platform:
    fields = _object(value, "platform")
    return Platform(
        architecture=_take(fields, "architecture", str, ""),
        os=_take(fields, "os", str, ""),
        variant=_take(fields, "variant", str, ""),
        os_version=_take(fields, "os.version", str, ""),
        os_features=tuple(_take(fields, "os.features", list, [])),
    )


def _descriptor(value: object, subject: str) -> Descriptor:
    fields = _object(value, subject)
    platform = _take(fields, "platform", dict, None)
    size = _take(fields, "size", int, None)
    if size is None or size < 0:
        raise InvalidArgument(f"invalid image data: {subject} has no size")
    return Descriptor(
        media_type=_take(fields, "mediaType", str, ""),
        digest=_digest(fields.pop("digest", None), subject + ".digest"),
        size=size,
        urls=tuple(_take(fields, "urls", list, [])),
        annotations=_strings(fields, "annotations"),
        platform=None if platform is None else _platform(platform),
        unknown=fields,
    )


def _history(value: object) -> History:
    fields = _object(value, "history")
    return History(
        created=_take(fields, "created", str, ""),
        created_by=_take(fields, "created_by", str, ""),
        author=_take(fields, "author", str, ""),
        comment=_take(fields, "comment", str, ""),
        empty_layer=_take(fields, "empty_layer", bool, False),
        unknown=fields,
    )


def _of_platform(platform: Platform) -> dict[str, Any]:
    given = {
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
    }
    return {key: value for key, value in given.items() if value or key in ("architecture", "os")}


def _of_descriptor(one: Descriptor) -> dict[str, Any]:
    fields: dict[str, Any] = {"mediaType": one.media_type, "digest": one.digest, "size": one.size}
    if one.urls:
        fields["urls"] = list(one.urls)
    if one.annotations:
        fields["annotations"] = dict(one.annotations)
    if one.platform is not None:
        fields["platform"] = _of_platform(one.platform)
    return {**fields, **one.unknown}


def _of_history(one: History) -> dict[str, Any]:
    given = {
        "created": one.created,
        "author": one.author,
        "created_by": one.created_by,
        "comment": one.comment,
        "empty_layer": one.empty_layer,
    }
    return {**{key: value for key, value in given.items() if value}, **one.unknown}
