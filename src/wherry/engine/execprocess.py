"""The runtime-spec's process of an exec: its own command, with what the container gives where it names nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from wherry.engine.links import linked_environment
from wherry.engine.spec.capabilities import capabilities
from wherry.engine.spec.process import capability_sets, environment, rlimits
from wherry.engine.spec.security import parse_security
from wherry.engine.spec.user import find_user

if TYPE_CHECKING:
    from wherry.engine.container import Container
    from wherry.engine.model import ExecRequest
    from wherry.engine.options import EngineOptions
    from wherry.engine.spec.facts import Facts


def exec_process(container: Container, request: ExecRequest, rootfs: str, facts: Facts, options: EngineOptions) -> dict[str, Any]:
    """The process. `rootfs` is a path at which the container's tree is found; its passwd and group files are read.

    Raises InvalidArgument for a user or group that the container does not have.
    """
    config, host = container.record.config, container.host
    user = find_user(rootfs, request.user or config.user, () if request.user else host.group_add or ())
    asked = replace(host, privileged=True) if request.privileged else host
    allowed = capabilities(asked, facts.capabilities)
    security = parse_security(host.security_opt)
    env = environment(replace(config, tty=request.tty, env=(*(config.env or ()), *(request.env or ()))),
                      linked_environment(container.linked))
    found: dict[str, Any] = {
        "user": {"uid": user.uid, "gid": user.gid},
        "args": list(request.cmd or ()),
        "env": env,
        "cwd": request.working_dir or config.working_dir or "/",
        "capabilities": capability_sets(allowed, user),
        "oomScoreAdj": host.oom_score_adj,
        "terminal": request.tty,
    }
    if user.additional_gids:
        found["user"]["additionalGids"] = list(user.additional_gids)
    if options.no_new_privileges if security.no_new_privileges is None else security.no_new_privileges:
        found["noNewPrivileges"] = True
    if security.apparmor and facts.apparmor:
        found["apparmorProfile"] = security.apparmor
    if limits := rlimits(host, options.default_ulimits):
        found["rlimits"] = limits
    return found
