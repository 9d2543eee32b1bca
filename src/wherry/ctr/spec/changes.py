"""What options change in a container's configuration: each function takes the configuration and changes it in place."""

from __future__ import annotations

import os

from wherry.ctr.spec.default import CAPABILITY_SETS, ENVIRONMENT
from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Spec = dict[str, Any]

NAMESPACE_KINDS = ("pid", "network", "uts", "mount", "user", "ipc", "cgroup")
PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")


def environment(spec: Spec, words: Iterable[str]) -> None:
    """Adds or replaces variables; a name without `=` takes one away."""
    found = replaced(spec["process"].get("env") or (), words)
    if found:
        spec["process"]["env"] = found


def replaced(before: Iterable[str], words: Iterable[str]) -> list[str]:
    """The variables with others put in, each at the place that it had before."""
    found = list(before)
    for word in words:
        name, equals, _ = word.partition("=")
        at = next((at for at, one in enumerate(found) if one.partition("=")[0] == name), None)
        if at is not None and equals:
            found[at] = word
        elif at is not None:
            del found[at]
        elif equals:
            found.append(word)
    return found


def read_environment(path: str) -> list[str]:
    """The lines of an environment file: comments and empty ones left out."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            stripped = [line.strip() for line in lines]
    except OSError as problem:
        raise InvalidArgument(f"open {path}: {(problem.strerror or '').lower()}") from problem
    return [line for line in stripped if line and not line.startswith("#")]


def mounts(spec: Spec, words: Iterable[str]) -> None:
    """`type=bind,src=/a,dst=/b,options=rbind:ro`."""
    for word in words:
        spec["mounts"].append(parse_mount(word))


def parse_mount(text: str) -> dict[str, Any]:
    """One mount. Raises InvalidArgument in ctr's words."""
    found: dict[str, Any] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise InvalidArgument("invalid mount specification: expected key=val")
        if key == "type":
            found["type"] = value
        elif key in ("source", "src"):
            found["source"] = value
        elif key in ("destination", "dst"):
            found["destination"] = value
        elif key == "options":
            found["options"] = value.split(":")
        else:
            raise InvalidArgument(f"mount option {key!r} not supported".replace("'", '"'))
    order = ("destination", "type", "source", "options")
    return {"destination": "", **{key: found[key] for key in order if key in found}}


def terminal(spec: Spec) -> None:
    """A terminal, and the variable that names its kind."""
    spec["process"]["terminal"] = True
    environment(spec, ("TERM=xterm",))


def privileged(spec: Spec, capabilities: Sequence[str]) -> None:
    """All of the caller's capabilities, nothing masked, /sys writable, no filter and no profile."""
    set_capabilities(spec, capabilities)
    linux, process = spec["linux"], spec["process"]
    for field in ("maskedPaths", "readonlyPaths", "seccomp", "mountLabel"):
        linux.pop(field, None)
    for field in ("apparmorProfile", "selinuxLabel"):
        process.pop(field, None)
    for mount in spec["mounts"]:
        if mount.get("type") in ("sysfs", "cgroup"):
            mount["options"] = ["rw" if option == "ro" else option for option in mount.get("options") or ()]


def set_capabilities(spec: Spec, names: Sequence[str]) -> None:
    """The same list for each of the three sets."""
    spec["process"]["capabilities"] = {one: list(names) for one in CAPABILITY_SETS}


def add_capabilities(spec: Spec, names: Iterable[str]) -> None:
    """Further capabilities."""
    for held in _sets(spec):
        held += [name for name in names if name not in held]


def drop_capabilities(spec: Spec, names: Iterable[str]) -> None:
    """Fewer capabilities."""
    dropped = set(names)
    for held in _sets(spec):
        held[:] = [name for name in held if name not in dropped]


def _sets(spec: Spec) -> list[list[str]]:
    sets = spec["process"].setdefault("capabilities", {})
    return [sets.setdefault(one, []) for one in CAPABILITY_SETS]


def host_network(spec: Spec) -> None:
    """The machine's own network, with its hosts, resolv.conf and name."""
    spec["linux"]["namespaces"] = [one for one in spec["linux"]["namespaces"] if one["type"] != "network"]
    for path in ("/etc/hosts", "/etc/resolv.conf"):
        spec["mounts"].append({"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]})
    environment(spec, (f"HOSTNAME={os.uname().nodename}",))


def join_namespaces(spec: Spec, words: Iterable[str]) -> None:
    """`nstype:path`: a namespace of somebody else's in the place of the container's own."""
    for word in words:
        kind, colon, path = word.partition(":")
        if not colon or ":" in path:
            raise InvalidArgument("joining a Linux namespace using --with-ns requires the format 'nstype:path'")
        if kind not in NAMESPACE_KINDS:
            raise InvalidArgument(f"the Linux namespace type specified in --with-ns is not valid: {kind}")
        namespaces = spec["linux"]["namespaces"]
        at = next((at for at, one in enumerate(namespaces) if one["type"] == kind), len(namespaces))
        namespaces[at:at + 1] = [{"type": kind, "path": path}]


def user_namespace(spec: Spec, uids: Mapping[str, int], gids: Mapping[str, int]) -> None:
    """A user namespace with one range of users and one of groups."""
    namespaces = spec["linux"]["namespaces"]
    if not any(one["type"] == "user" for one in namespaces):
        namespaces.append({"type": "user"})
    spec["linux"]["uidMappings"] = [dict(uids)]
    spec["linux"]["gidMappings"] = [dict(gids)]


def processor(spec: Spec, **fields: int) -> None:
    """Fields of `linux.resources.cpu`."""
    resources = spec["linux"].setdefault("resources", {})
    found = {**resources.get("cpu", {}), **fields}
    resources["cpu"] = {key: found[key] for key in ("shares", "quota", "period") if key in found}


def memory(spec: Spec, limit: int) -> None:
    """The memory limit in bytes."""
    spec["linux"].setdefault("resources", {}).setdefault("memory", {})["limit"] = limit


def cgroup(spec: Spec, path: str) -> None:
    """The path of the cgroup; an empty one leaves it to the runtime."""
    if path:
        spec["linux"]["cgroupsPath"] = path
    else:
        spec["linux"].pop("cgroupsPath", None)


def annotate(spec: Spec, pairs: Mapping[str, str]) -> None:
    """Further annotations."""
    if pairs:
        spec.setdefault("annotations", {}).update(pairs)


def propagation(spec: Spec, word: str) -> None:
    """How mounts spread between the container's root and the machine."""
    if word in PROPAGATIONS:
        spec["linux"]["rootfsPropagation"] = word


def image_config(spec: Spec, config: Mapping[str, Any]) -> None:
    """Environment, command and folder of an image."""
    process = spec["process"]
    process["env"] = replaced(config.get("Env") or ENVIRONMENT, process.get("env") or ())
    process["args"] = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    process["cwd"] = config.get("WorkingDir") or "/"
