"""Bind mounts that the creator makes, who has the rights that a user namespace takes away, and that the init attaches.

Those that show other owners, and those of a container in a user namespace, whose root may not be let to the source. A mapping is
that of a user namespace: the container's own, or one made for the mount by a child that lives just so long.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.linux import mount, namespace, process
from wherry.runtime.usernamespace import write_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Config, IdMapping
    from wherry.runtime.mountplan import MountStep

_KILL = 9


def open_sources(steps: tuple[MountStep, ...], config: Config, fds: list[int]) -> tuple[MountStep, ...]:
    """The steps with a detached, mapped mount for each that asks for one; the descriptors go to `fds` as well.

    InvalidArgument when there is no mapping to take; OSError names the mount.
    """
    return tuple(step if step.id_map is None else step.replace(source_fd=_open_source(step, config, fds)) for step in steps)


def open_plain_sources(steps: tuple[MountStep, ...], fds: list[int]) -> tuple[MountStep, ...]:
    """The steps with a detached mount for each bind mount that has none yet and that this process can make."""
    opened = []
    for step in steps:
        if step.kind == "bind" and step.source_fd < 0:
            try:
                fds.append(mount.open_tree(step.source, recursive=step.recursive))
                opened.append(step.replace(source_fd=fds[-1]))
                continue
            except OSError:
                pass  # an ordinary user's init has the rights that its creator lacks; or it says why not
        opened.append(step)
    return tuple(opened)


def _open_source(step: MountStep, config: Config, fds: list[int]) -> int:
    assert step.id_map is not None
    try:
        users = _open_mapping(step, config)
        try:
            fds.append(mount.open_tree(step.source, recursive=step.recursive))
            mount.mount_setattr(fds[-1], mount.MOUNT_ATTR_IDMAP, recursive=step.id_map.recursive, userns_fd=users)
        finally:
            os.close(users)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise OSError(error.errno, f'failed to id-map "{step.source}" for "{step.destination}": {reason}') from error
    return fds[-1]


def _open_mapping(step: MountStep, config: Config) -> int:
    assert step.id_map is not None
    uids, gids = step.id_map.uids, step.id_map.gids
    if not uids:
        user = config.linux.namespace("user")
        if user is not None and user.path:
            return namespace.open_namespace(user.path)
        uids, gids = config.linux.uid_mappings, config.linux.gid_mappings
    if not uids or not gids:
        raise InvalidArgument(
            f'mount at "{step.destination}": id-mapped without mappings, and the container has no user namespace')
    return make_user_namespace(uids, gids)


def make_user_namespace(uids: tuple[IdMapping, ...], gids: tuple[IdMapping, ...]) -> int:
    """A descriptor of a new user namespace with these mappings; nobody is in it."""
    pid, pidfd = namespace.clone3(namespace.CLONE_NEWUSER)
    if pid == 0:
        while True:
            os.kill(os.getpid(), 19)  # SIGSTOP: it has nothing to do but to be there
    try:
        write_maps(pid, uids, gids)
        return namespace.open_namespace(f"/proc/{pid}/ns/user")
    finally:
        process.pidfd_send_signal(pidfd, _KILL)
        process.reap(pidfd)
        os.close(pidfd)
