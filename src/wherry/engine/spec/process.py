"""`process` of the runtime-spec: what is executed, as whom, in which environment, with which limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.engine.model import ContainerConfig, HostConfig
    from wherry.engine.spec.places import Places, User

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT = "/sbin/docker-init"
UNLIMITED = 2**64 - 1


def process(
    config: ContainerConfig, host: HostConfig, places: Places, user: User, capabilities: tuple[str, ...],
    ulimits: Mapping[str, tuple[int, int]], no_new_privileges: bool,
) -> dict[str, Any]:
    """The whole section. `ulimits` are the daemon's defaults, (soft, hard) by name."""
    found: dict[str, Any] = {
        "user": {"uid": user.uid, "gid": user.gid},
        "args": arguments(config, init=bool(host.init) and not _shares_pid(host)),
        "env": environment(config, places.links_env),
        "cwd": config.working_dir or "/",
        "capabilities": capability_sets(capabilities, user),
        "oomScoreAdj": host.oom_score_adj,
    }
    if user.additional_gids:
        found["user"]["additionalGids"] = list(user.additional_gids)
    if config.tty:
        found["terminal"] = True
        if any(host.console_size):
            found["consoleSize"] = {"height": host.console_size[0], "width": host.console_size[1]}
    if no_new_privileges:
        found["noNewPrivileges"] = True
    if limits := rlimits(host, ulimits):
        found["rlimits"] = limits
    return found


def _shares_pid(host: HostConfig) -> bool:
    """Whether there is an init already: that of the host or of the other container."""
    return host.pid_mode == "host" or host.pid_mode.startswith("container:")


def arguments(config: ContainerConfig, init: bool) -> list[str]:
    """Entrypoint and command, behind the init where one is asked for."""
    command = [*(config.entrypoint or ()), *(config.cmd or ())]
    if not command:
        raise InvalidArgument("no command specified")
    return [INIT, "--", *command] if init else command


def environment(config: ContainerConfig, links: tuple[str, ...] = ()) -> list[str]:
    """PATH, HOSTNAME, TERM with a terminal, then what was asked for, in an earlier one's place; a bare name removes one."""
    found = [DEFAULT_PATH, f"HOSTNAME={config.hostname}", *(["TERM=xterm"] if config.tty else []), *links]
    for text in config.env or ():
        name, given, _ = text.partition("=")
        place = next((index for index, one in enumerate(found) if one.partition("=")[0] == name), None)
        if not given:
            if place is not None:
                del found[place]
        elif place is not None:
            found[place] = text
        else:
            found.append(text)
    return found


def capability_sets(names: tuple[str, ...], user: User) -> dict[str, list[str]]:
    """Without root only the bounding set: a program with file capabilities may still get at them."""
    if not names:
        return {}
    found = {"bounding": list(names)}
    if user.uid == 0:
        found |= {"effective": list(names), "permitted": list(names)}
    return found


def rlimits(host: HostConfig, defaults: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """`process.rlimits`, by name: the container's, and the daemon's where the container has none of that name."""
    wanted = {name: (soft, hard) for name, (soft, hard) in defaults.items()}
    wanted |= {one.name: (one.soft, one.hard) for one in host.ulimits or ()}
    return [{"type": f"RLIMIT_{name.upper()}", "hard": _limit(hard), "soft": _limit(soft)}
            for name, (soft, hard) in sorted(wanted.items())]


def _limit(value: int) -> int:
    return UNLIMITED if value == -1 else value
