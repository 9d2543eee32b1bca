"""What only the engine knows about a container that is about to start: paths, joined namespaces, its user."""

from __future__ import annotations

import msgspec


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who the container's program is, by numbers."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Paths on the host; an empty one is not mounted.

    `joined`: namespaces of others (`network`, `ipc`, `pid`) by the runtime-spec's name, as paths. `shm_path`: the folder or mount
    that is /dev/shm, for ipc modes that share it. `init_path`: docker-init or tini. `recursive_read_only`: the runtime knows the
    mount option `rro`.
    """

    rootfs: str
    cgroups_path: str
    hostname_path: str = ""
    hosts_path: str = ""
    resolv_conf_path: str = ""
    shm_path: str = ""
    init_path: str = ""
    joined: dict[str, str] = {}
    links_env: tuple[str, ...] = ()
    recursive_read_only: bool = True
