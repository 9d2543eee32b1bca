"""Who the container's program is: ids, groups, the five capability sets, limits. Plan, then apply in the order that works."""

from __future__ import annotations

import errno
import os

from wherry.errors import InvalidArgument
from wherry.linux import capability, process
from wherry.oci.runtime import Capabilities
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Process


class Credentials(Record):
    """What a process is when it executes. Capabilities are bit masks: bounding, effective, permitted, inheritable, ambient."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None
    umask: int
    capabilities: tuple[int, int, int, int, int]
    no_new_privileges: bool
    oom_score_adj: int | None
    rlimits: tuple[tuple[str, int, int], ...]


def plan_credentials(config: Process) -> Credentials:
    """The credentials of a process. InvalidArgument for limits with no such name or twice the same."""
    seen: set[str] = set()
    for limit in config.rlimits:
        if limit.type not in process.LIMITS:
            raise InvalidArgument(f"wrong rlimit value: {limit.type}")
        if limit.type in seen:
            raise InvalidArgument(f'rlimit "{limit.type}" given twice')
        seen.add(limit.type)
    # Who names none gets none. What this runtime does not know is left out, as with runc: a newer caller on an older kernel.
    given = config.capabilities or Capabilities()
    bounding, effective, permitted, inheritable, ambient = (
        capability.mask(names)[0]
        for names in (given.bounding, given.effective, given.permitted, given.inheritable, given.ambient))
    return Credentials(
        uid=config.user.uid, gid=config.user.gid, groups=config.user.additional_gids,
        umask=0o022 if config.user.umask is None else config.user.umask,
        capabilities=(bounding, effective, permitted, inheritable, ambient),
        no_new_privileges=config.no_new_privileges, oom_score_adj=config.oom_score_adj,
        rlimits=tuple((limit.type, limit.soft, limit.hard) for limit in config.rlimits))


def apply_limits(plan: Credentials) -> None:
    """Resource limits of this process. OSError as runc words it."""
    for name, soft, hard in plan.rlimits:
        try:
            process.set_limit(name, soft, hard)
        except OSError as error:
            number = process.LIMITS[name]
            raise OSError(error.errno, f"error setting rlimit type {number}: {(error.strerror or '').lower()}", name) from error


def apply_identity(plan: Credentials, change_folder: str) -> None:
    """Bounding set, groups, ids, working folder, then the other four sets: the order of capabilities(7).

    The folder may be reachable only as root or only as the user (NFS with root squash), so both are tried. Afterwards it
    is checked to be inside the root: CVE-2024-21626.
    """
    entered = _enter(change_folder, final=False)
    capability.limit_bounding(plan.capabilities[0])
    process.set_keep_capabilities(True)
    _set_ids(plan)
    if not entered:
        _enter(change_folder, final=True)
    _check_folder()
    process.set_keep_capabilities(False)
    _, effective, permitted, inheritable, ambient = plan.capabilities
    own = capability.get()[1]
    try:
        # What the caller itself lacks cannot be given on; runc leaves it out as well.
        capability.set_(effective & own, permitted & own, inheritable & own)
        capability.set_ambient(ambient & permitted & inheritable & own)
    except OSError as error:
        raise OSError(error.errno, f"unable to apply caps: {(error.strerror or '').lower()}") from error


def set_groups(groups: tuple[int, ...]) -> None:
    """Sets the supplementary groups. A user namespace may deny that: then no groups can be asked for (user_namespaces(7)).

    The kernel is asked by trying: `/proc/self/setgroups` would be the container's to answer.
    """
    try:
        os.setgroups(groups)
    except PermissionError:
        if groups:
            raise InvalidArgument("cannot set any additional groups in a rootless container") from None


def _set_ids(plan: Credentials) -> None:
    if plan.groups is not None:
        set_groups(plan.groups)
    for kind, change, value in (("gid", os.setresgid, plan.gid), ("uid", os.setresuid, plan.uid)):
        try:
            change(value, value, value)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise OSError(error.errno, f"unable to setup user: cannot set {kind} to unmapped user in user namespace") from error


def _enter(folder: str, final: bool) -> bool:
    try:
        os.chdir(folder)
    except PermissionError as error:
        if not final:
            return False
        raise OSError(error.errno, f'chdir to cwd ("{folder}") set in config.json failed: permission denied') from error
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise OSError(error.errno, f'chdir to cwd ("{folder}") set in config.json failed: {reason}') from error
    return True


def _check_folder() -> None:
    """getcwd(2) gives a path that starts with «(unreachable)» when the folder is outside the root, or ENOENT."""
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    if not here.startswith("/"):
        raise OSError(1, "current working directory is outside of container mount namespace root -- possible container "
                         "breakout detected")
