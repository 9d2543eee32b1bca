"""A container's bundle: `config.json` in its run folder, made from its record by `spec`, and what only the engine knows.

Synchronous, for worker threads. The root file system of the bundle is the overlay mounted under the data root.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.engine.links import linked_environment
from wherry.engine.spec.config import oci_config
from wherry.engine.spec.devices import look_up
from wherry.engine.spec.places import Places
from wherry.engine.spec.user import find_user
from wherry.errors import Conflict, Internal, InvalidArgument
from wherry.linux import mount as mounting
from wherry.linux.file import replace as replace_file

if TYPE_CHECKING:
    from wherry.engine.container import Container
    from wherry.engine.containers import Containers
    from wherry.engine.mounts import MountPoints
    from wherry.engine.options import EngineOptions
    from wherry.engine.records import Records
    from wherry.engine.spec.facts import Facts

INITS = ("docker-init", "tini")


class BundleMaker:
    """Writes bundles."""

    def __init__(self, options: EngineOptions, facts: Facts, containers: Containers, records: Records) -> None:
        self._options = options
        self._facts = facts
        self._containers = containers
        self._records = records

    def write(self, container: Container, rootfs: str, mounts: MountPoints) -> dict[str, Any]:
        """Writes `config.json`, and returns it. NotFound, Conflict and InvalidArgument for other containers, Internal else."""
        record, host, options = container.record, container.host, self._options
        places = Places(
            rootfs=rootfs,
            cgroups_path=container.cgroups_path,
            hostname_path=record.hostname_path,
            hosts_path=record.hosts_path,
            resolv_conf_path=record.resolv_conf_path,
            shm_path=self._shm(container),
            init_path=self._init() if host.init else "",
            joined=self._joined(container),
            links_env=linked_environment(container.linked),
            recursive_read_only=self._is_builtin(host.runtime),
        )
        try:
            document = oci_config(
                record.config, host, places=places, facts=self._facts,
                user=find_user(rootfs, record.config.user, host.group_add or ()), found=look_up(host),
                asked=mounts.values(), ulimits=options.default_ulimits, seccomp_profile=options.read_seccomp_profile(),
                no_new_privileges=options.no_new_privileges)
        except InvalidArgument as error:
            raise Internal(str(error)) from error  # the container is wrong, not the request to start it
        replace_file(f"{container.run_folder}/config.json", msgspec.json.encode(document))
        return document

    def unmount(self, container: Container) -> None:
        """Takes the shared /dev/shm away, if there is one."""
        if container.host.ipc_mode == "shareable":
            path = self._shm_place(container)
            if os.path.ismount(path):
                mounting.umount2(path, mounting.MNT_DETACH)

    def _is_builtin(self, runtime: str) -> bool:
        known = self._options.runtimes.get(runtime or self._options.default_runtime)
        return known is None or not known.path

    def _joined(self, container: Container) -> dict[str, str]:
        """The namespaces of other containers that this one lives in."""
        host = container.host
        joined = {}
        modes = ((host.network_mode, "network", "net"), (host.ipc_mode, "ipc", "ipc"), (host.pid_mode, "pid", "pid"))
        for mode, kind, file in modes:
            if mode.startswith("container:"):
                joined[kind] = f"/proc/{self._owner(mode, container, kind)}/ns/{file}"
        return joined

    def _owner(self, mode: str, container: Container, kind: str) -> int:
        other = self._containers.find(mode.partition(":")[2])
        if other is container:
            raise InvalidArgument(f"cannot join own {kind} namespace")
        if other.shim is None or not other.state.running:
            raise Conflict(f"cannot join {kind} of a non running container: {other.id}")
        theirs = other.host.ipc_mode
        if kind == "ipc" and theirs not in ("shareable", "host") and not theirs.startswith("container:"):
            raise InvalidArgument(f"cannot join IPC of container {other.id}: non-shareable IPC (hint: use IpcMode:shareable "
                                  "for the donor container)")
        return other.shim.pid

    def _shm(self, container: Container) -> str:
        """The tmpfs that is /dev/shm where it is shared with others."""
        mode = container.host.ipc_mode
        if mode == "host":
            return "/dev/shm"
        if mode.startswith("container:"):
            return self._shm_place(self._containers.find(mode.partition(":")[2]))
        if mode != "shareable":
            return ""
        path = self._shm_place(container)
        os.makedirs(path, 0o700, exist_ok=True)
        if not os.path.ismount(path):
            flags = mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
            mounting.mount("shm", path, "tmpfs", flags, f"mode=1777,size={container.host.shm_size}")
        return path

    def _shm_place(self, container: Container) -> str:
        return str(self._records.place(container.id) / "mounts" / "shm")

    def _init(self) -> str:
        found = self._options.init_path or next((path for name in INITS if (path := shutil.which(name))), None)
        if not found:
            raise InvalidArgument('exec: "docker-init": executable file not found in $PATH')
        return found
