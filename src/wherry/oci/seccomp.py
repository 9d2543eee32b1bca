"""From a profile in Docker's form to `linux.seccomp` of the runtime-spec.

Docker's profiles say of each rule for which capabilities, machines and kernels it is; the runtime-spec has only what applies.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.oci.seccomp_default import default_profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# uname's machine → (Docker's, that is Go's, name of the architecture, the specification's)
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64"), "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "armv6l": ("arm", "SCMP_ARCH_ARM"), "i686": ("x86", "SCMP_ARCH_X86"), "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"), "s390x": ("s390x", "SCMP_ARCH_S390X"),
}


def default_section(capabilities: tuple[str, ...], machine: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """The default profile for a container with these capabilities (its bounding set)."""
    return resolve_profile(default_profile(), capabilities, machine, kernel)


def parse_profile(text: str) -> dict[str, Any]:
    """A profile from the text of `--security-opt seccomp=…`. Raises InvalidArgument when it is none."""
    import json

    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from None
    if not isinstance(profile, dict):
        raise InvalidArgument("Decoding seccomp profile failed: it is not a JSON object")
    return profile


def resolve_profile(
    profile: dict[str, Any], capabilities: tuple[str, ...], machine: str, kernel: tuple[int, int],
) -> dict[str, Any]:
    """The section of the runtime-spec. `kernel` is (major, minor). Raises InvalidArgument for contradictions."""
    if machine not in _MACHINES:
        raise InvalidArgument(f"seccomp: machine {machine!r} is not supported")
    go_arch, spec_arch = _MACHINES[machine]
    section: dict[str, Any] = {"defaultAction": _text(profile, "defaultAction")}
    if profile.get("defaultErrnoRet") is not None:
        section["defaultErrnoRet"] = profile["defaultErrnoRet"]
    if profile.get("architectures") and profile.get("archMap"):
        raise InvalidArgument("both 'architectures' and 'archMap' are specified in the seccomp profile, "
                              "use either 'architectures' or 'archMap'")
    architectures = list(profile.get("architectures") or ())
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == spec_arch:
            architectures = [spec_arch, *(entry.get("subArchitectures") or ())]
    if architectures:
        section["architectures"] = architectures
    for key in ("flags", "listenerPath", "listenerMetadata"):
        if profile.get(key):
            section[key] = profile[key]
    section["syscalls"] = [_rule(entry) for entry in profile.get("syscalls") or ()
                           if _applies(entry, set(capabilities), go_arch, kernel)]
    return section


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"seccomp profile: {key} must be given, as a text")
    return value


def _rule(entry: dict[str, Any]) -> dict[str, Any]:
    if entry.get("name") and entry.get("names"):
        raise InvalidArgument("both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'")
    names = [entry["name"]] if entry.get("name") else list(entry.get("names") or ())
    rule: dict[str, Any] = {"names": names, "action": _text(entry, "action")}
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        rule["args"] = [{key: one[key] for key in ("index", "value", "valueTwo", "op") if one.get(key) is not None}
                        for one in entry["args"]]
    return rule


def _applies(entry: dict[str, Any], capabilities: set[str], arch: str, kernel: tuple[int, int]) -> bool:
    """`includes` must all hold, `excludes` none. Of a list of architectures one is enough, of capabilities all are needed."""
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if (includes.get("arches") and arch not in includes["arches"]) or arch in (excludes.get("arches") or ()):
        return False
    if not capabilities.issuperset(includes.get("caps") or ()) or capabilities & set(excludes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise InvalidArgument(f"seccomp profile: invalid kernel version {text!r}, expected MAJOR.MINOR")
    return int(major), int(minor)
