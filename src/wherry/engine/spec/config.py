"""The runtime-spec's config for a container, from what was asked for and what the engine found: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.engine.spec.capabilities import capabilities
from wherry.engine.spec.devices import device_nodes, device_rules
from wherry.engine.spec.limits import supported
from wherry.engine.spec.mounts import mounts, root_propagation
from wherry.engine.spec.namespaces import namespaces, sysctls
from wherry.engine.spec.process import process
from wherry.engine.spec.resources import resources
from wherry.engine.spec.security import MASKED_PATHS, READONLY_PATHS, parse_security, seccomp_section

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wherry.engine.model import ContainerConfig, HostConfig
    from wherry.engine.records import MountRecord
    from wherry.engine.spec.devices import Found
    from wherry.engine.spec.facts import Facts
    from wherry.engine.spec.places import Places, User

OCI_VERSION = "1.0.2-dev"


def oci_config(
    config: ContainerConfig, host: HostConfig, *, places: Places, facts: Facts, user: User, found: Found,
    asked: Iterable[MountRecord] = (), ulimits: Mapping[str, tuple[int, int]] | None = None,
    seccomp_profile: str = "", no_new_privileges: bool = False,
) -> dict[str, Any]:
    """The document. `config` has the image's settings merged in, `host` the defaults of `adapt`.

    `asked`: mounts as planned, volumes with their folder as source. `found`: `devices.look_up(host)`. `ulimits`,
    `seccomp_profile` (text, `unconfined` or empty) and `no_new_privileges` are the daemon's own defaults.
    """
    host, _ = supported(host, facts)
    asked = tuple(asked)
    security = parse_security(host.security_opt)
    allowed = capabilities(host, facts.capabilities)
    nnp = no_new_privileges if security.no_new_privileges is None else security.no_new_privileges
    linux: dict[str, Any] = {
        "resources": {"devices": device_rules(host, found.devices), **resources(host, found.numbers)},
        "cgroupsPath": places.cgroups_path,
        "namespaces": namespaces(host, places.joined),
    }
    if values := sysctls(config, host):
        linux["sysctl"] = values
    if nodes := device_nodes(found.devices):
        linux["devices"] = nodes
    seccomp = seccomp_section(security, host.privileged, allowed, facts, seccomp_profile)
    if seccomp is not None:
        linux["seccomp"] = seccomp
    masked, readonly = hidden_paths(host)
    if masked:
        linux["maskedPaths"] = list(masked)
    if readonly:
        linux["readonlyPaths"] = list(readonly)
    if propagation := root_propagation(asked):
        linux["rootfsPropagation"] = propagation
    document: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process(config, host, places, user, allowed, ulimits or {}, nnp),
        "root": {"path": places.rootfs, **({"readonly": True} if host.readonly_rootfs else {})},
        "mounts": mounts(host, places, asked),
        "linux": linux,
    }
    if host.uts_mode != "host":
        document["hostname"] = config.hostname
    if security.apparmor and facts.apparmor:
        document["process"]["apparmorProfile"] = security.apparmor
    if host.annotations:
        document["annotations"] = dict(host.annotations)
    return document


def hidden_paths(host: HostConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Masked and read-only paths. Given ones win, also when they are none; a privileged container has none by default."""
    if host.privileged or parse_security(host.security_opt).system_paths_unconfined:
        masked, readonly = (), ()
    else:
        masked, readonly = MASKED_PATHS, READONLY_PATHS  # type: ignore[assignment]
    return (masked if host.masked_paths is None else host.masked_paths,
            readonly if host.readonly_paths is None else host.readonly_paths)
