"""Platforms: text in, values out, and which of an index's entries suits a machine.

Source: image-spec «platform» (image-index.md); containerd's platform matching for the variants of arm.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument, NotFound
from wherry.oci.image import Descriptor, Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "i386": ("386", ""), "i486": ("386", ""), "i586": ("386", ""),
    "i686": ("386", ""), "aarch64": ("arm64", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6"), "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"), "mips64el": ("mips64le", ""), "loongarch64": ("loong64", ""),
}
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd", "wasip1"})
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


def normalize(platform: Platform) -> Platform:
    """The same platform in Go's names: aarch64 → arm64, arm → arm/v7, arm64/v8 → arm64."""
    architecture, implied = _ARCHITECTURES.get(platform.architecture.lower(), (platform.architecture.lower(), ""))
    variant = (platform.variant or implied).lower()
    if architecture == "arm":
        variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
    elif (architecture, variant) in (("arm64", "8"), ("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    return platform.replace(os=platform.os.lower(), architecture=architecture, variant=variant)


def parse_platform(text: str) -> Platform:
    """`linux/arm64/v8`, `linux`, `arm64`: a part that is missing is Linux or this machine. Raises InvalidArgument."""
    for part in text.split("/"):
        if not part or not _WORD.issuperset(part.lower()):
            raise InvalidArgument(f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                                  '"^[A-Za-z0-9_.-]+$": invalid argument')
    parts = text.lower().split("/")
    if len(parts) > 3:
        raise InvalidArgument(f'"{text}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1:
        if parts[0] in _SYSTEMS:
            return host_platform().replace(os=parts[0])
        return normalize(Platform(os="linux", architecture=parts[0]))
    return normalize(Platform(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) == 3 else ""))


def host_platform() -> Platform:
    """What this machine runs."""
    import os

    return normalize(Platform(os="linux", architecture=os.uname().machine))


def _preference(wanted: Platform) -> tuple[Platform, ...]:
    """What runs on a machine of this platform, best first: an armv7 also runs v6 and v5, an arm64 nothing else."""
    order = ("v8", "v7", "v6", "v5")
    if wanted.architecture == "arm" and wanted.variant in order:
        return tuple(wanted.replace(variant=variant) for variant in order[order.index(wanted.variant):])
    if wanted.variant:
        return (wanted, wanted.replace(variant=""))
    return (wanted,)


def matches(wanted: Platform, offered: Platform) -> bool:
    """Whether an image for `offered` runs where `wanted` is asked for; an image that does not say runs anywhere."""
    if not offered.os or not offered.architecture:
        return True
    return _key(normalize(offered)) in [_key(one) for one in _preference(normalize(wanted))]


def select(entries: Iterable[Descriptor], wanted: Platform) -> Descriptor:
    """The best entry of an index for a platform, the first among equals. Raises NotFound in Docker's words."""
    entries = [entry for entry in entries if entry.platform is not None]
    for choice in _preference(normalize(wanted)):
        for entry in entries:
            if entry.platform is not None and _key(normalize(entry.platform)) == _key(choice):
                return entry
    raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")


def _key(platform: Platform) -> tuple[str, str, str]:
    return platform.os, platform.architecture, platform.variant
