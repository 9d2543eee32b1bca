"""The container's user namespace: which ids it maps, how the maps are written, and who a process is that has come in.

user_namespaces(7). Root writes maps itself. An ordinary user may map nobody but itself, and only after giving up setgroups(2);
anything more is asked of newuidmap(1) and newgidmap(1), which know what /etc/subuid and /etc/subgid grant.
"""

from __future__ import annotations

import os

from wherry.linux import process
from wherry.oci.runtime import IdMapping, Namespace
from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Config

_START = "unable to start container process: "


def complete(config: Config) -> Config:
    """The config with the mappings that go without saying, as crun has it.

    An ordinary user's container has a user namespace in any case. Where it has no mappings, the caller is whom the config's
    process is, and the ids that the machine grants to the caller are the others.
    """
    linux = config.linux
    user = linux.namespace("user")
    if user is None and os.geteuid() != 0:
        user = Namespace(type="user")
        linux = linux.replace(namespaces=(*linux.namespaces, user))
    if user is None or user.path or linux.uid_mappings or linux.gid_mappings or config.process is None:
        return config.replace(linux=linux)
    own = config.process.user
    return config.replace(linux=linux.replace(
        uid_mappings=default_mappings(own.uid, os.geteuid(), granted("/etc/subuid", os.geteuid())),
        gid_mappings=default_mappings(own.gid, os.getegid(), granted("/etc/subgid", os.geteuid()))))


def default_mappings(inside: int, outside: int, grant: tuple[int, int] | None) -> tuple[IdMapping, ...]:
    """`inside` is `outside`; the ids around it are those of the grant (first, how many)."""
    own = IdMapping(container_id=inside, host_id=outside, size=1)
    if grant is None:
        return (own,)
    first, size = grant
    before = min(inside, size)
    parts = (IdMapping(container_id=0, host_id=first, size=before), own,
             IdMapping(container_id=inside + 1, host_id=first + before, size=size - before))
    return tuple(part for part in parts if part.size)


def granted(path: str, uid: int) -> tuple[int, int] | None:
    """(first, how many) of the ids that subuid(5) or subgid(5) grants to a user by its name or number; None: none."""
    names = {str(uid), _login(uid)}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                name, _, numbers = line.strip().partition(":")
                first, _, size = numbers.partition(":")
                if name in names and first.isdigit() and size.isdigit():
                    return int(first), int(size)
    except OSError:
        pass
    return None


def _login(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def write_maps(pid: int, uids: tuple[IdMapping, ...], gids: tuple[IdMapping, ...]) -> None:
    """Gives the new user namespace of a process its maps. StartFailed."""
    ordinary = os.geteuid() != 0
    if ordinary and not _is_only(uids, os.geteuid()):
        _ask("newuidmap", pid, uids)
    else:
        _write(pid, "uid_map", uids)
    if ordinary and not _is_only(gids, os.getegid()):
        _ask("newgidmap", pid, gids)
        return
    if ordinary:
        process.write_once(f"/proc/{pid}/setgroups", "deny")
    _write(pid, "gid_map", gids)


def _is_only(mappings: tuple[IdMapping, ...], own: int) -> bool:
    return len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host_id == own


def _write(pid: int, name: str, mappings: tuple[IdMapping, ...]) -> None:
    text = "".join(f"{one.container_id} {one.host_id} {one.size}\n" for one in mappings)
    try:
        process.write_once(f"/proc/{pid}/{name}", text)
    except OSError as error:
        raise StartFailed(f"{_START}failed to write {name}: {(error.strerror or '').lower()}") from error


def _ask(program: str, pid: int, mappings: tuple[IdMapping, ...]) -> None:
    from wherry.linux.program import run

    numbers = [str(number) for one in mappings for number in (one.container_id, one.host_id, one.size)]
    try:
        status, said = run([program, str(pid), *numbers])
    except OSError as error:
        why = "executable file not found in $PATH" if isinstance(error, FileNotFoundError) else (error.strerror or "").lower()
        raise StartFailed(f'{_START}failed to map ids: exec: "{program}": {why}') from error
    if status:
        raise StartFailed(f"{_START}failed to use {program}: {process.describe_end(status)}: {said.strip()}")


def become_root(uid: int, gid: int) -> None:
    """Makes this process, which is in the namespace by now, root in it; where that is not mapped, the user it is made for.

    Without an id of the namespace it could make no files in filesystems that belong to it.
    """
    for change, own in ((os.setresgid, gid), (os.setresuid, uid)):
        try:
            change(0, 0, 0)
        except OSError:
            change(own, own, own)
