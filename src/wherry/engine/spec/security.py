"""`--security-opt`, taken apart: no-new-privileges, seccomp, AppArmor, SELinux labels, system paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wherry.errors import InvalidArgument, Unsupported
from wherry.oci.seccomp import default_section, parse_profile, resolve_profile

if TYPE_CHECKING:
    from wherry.engine.model import HostConfig
    from wherry.engine.spec.facts import Facts

MASKED_PATHS = ("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                "/sys/devices/virtual/powercap")
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
UNCONFINED = "unconfined"
_LABELS = ("disable", "user", "role", "type", "level", "filetype", "nested")


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """The options. `seccomp` is the profile's text, `unconfined`, or empty for the default; `apparmor` a profile's name."""

    no_new_privileges: bool | None = None
    seccomp: str = ""
    apparmor: str = ""
    system_paths_unconfined: bool = False


def parse_security(options: tuple[str, ...] | None) -> Security:
    """The options of a HostConfig. Raises InvalidArgument in Docker's words (1: no value, 2: no such option)."""
    found = Security()
    for option in options or ():
        if option == "no-new-privileges":
            found = msgspec.structs.replace(found, no_new_privileges=True)
            continue
        key, separator, value = _split(option)
        if option == "disable":  # the oldest spelling of label=disable
            continue
        if not separator:
            raise InvalidArgument(f'invalid --security-opt 1: "{option}"')
        if key == "label":
            if value.partition(":")[0] not in _LABELS:
                raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
        elif key == "apparmor":
            found = msgspec.structs.replace(found, apparmor=value)
        elif key == "seccomp":
            found = msgspec.structs.replace(found, seccomp="" if value == "builtin" else value)
        elif key == "no-new-privileges":
            found = msgspec.structs.replace(found, no_new_privileges=_boolean(value, option))
        elif key == "systempaths" and value == UNCONFINED:
            found = msgspec.structs.replace(found, system_paths_unconfined=True)
        else:
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
    return found


def _split(option: str) -> tuple[str, str, str]:
    """`key=value`, or `key:value` as long ago."""
    return option.partition("=") if "=" in option else option.partition(":")


def _boolean(value: str, option: str) -> bool:
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise InvalidArgument(f'invalid --security-opt value: "{option}"')


def check_security(host: HostConfig, facts: Facts) -> Security:
    """The options, checked against the machine: InvalidArgument, or Unsupported for what it cannot enforce."""
    security = parse_security(host.security_opt)
    for option in host.security_opt or ():
        key, _, value = _split(option)
        if key == "label" and value.partition(":")[0] != "disable" and not facts.selinux:
            raise Unsupported(f"--security-opt {option}: SELinux is not enabled on this machine")
        if key == "label" and value.partition(":")[0] != "disable":
            raise Unsupported(f"--security-opt {option}: SELinux labels are not supported")
    if security.apparmor not in ("", UNCONFINED) and not facts.apparmor:
        raise Unsupported(f"--security-opt apparmor={security.apparmor}: AppArmor is not enabled on this machine")
    if security.seccomp not in ("", UNCONFINED):
        section = resolve_profile(parse_profile(security.seccomp), (), facts.machine, facts.kernel)
        if section.get("listenerPath") or "SCMP_ACT_NOTIFY" in str(section):
            raise Unsupported("--security-opt seccomp: SCMP_ACT_NOTIFY is not supported")
    return security


def seccomp_section(
    security: Security, privileged: bool, capabilities: tuple[str, ...], facts: Facts, daemon_profile: str = "",
) -> dict[str, Any] | None:
    """`linux.seccomp`, None where calls are not filtered. `daemon_profile`: the text that replaces the default, or `unconfined`.

    A privileged container is filtered only by a profile that was asked for.
    """
    wanted = security.seccomp or ("" if privileged else daemon_profile)
    if wanted == UNCONFINED or (privileged and not wanted):
        return None
    if wanted:
        return resolve_profile(parse_profile(wanted), capabilities, facts.machine, facts.kernel)
    return default_section(capabilities, facts.machine, facts.kernel)
