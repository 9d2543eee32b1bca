"""Slots: what most containers begin with, made ahead by a shim that waits for its container (`wherry.shim.slot`).

After each start one is made anew, when nobody waits. A container that is not like most is started as without them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.engine.model import ContainerConfig, HostConfig
from wherry.engine.spec.config import oci_config
from wherry.engine.spec.defaults import adapt
from wherry.engine.spec.devices import look_up
from wherry.engine.spec.places import Places, User
from wherry.errors import WherryError
from wherry.shim.protocol import ParkRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.engine.afterwards import Afterwards
    from wherry.engine.options import EngineOptions
    from wherry.engine.pool import Pool
    from wherry.engine.spec.facts import Facts
    from wherry.shim.client import Zygote

log = logging.getLogger(__name__)

PATIENCE = 3  # times in a row that a slot cannot be made


class Slots:
    """The next container's slot."""

    def __init__(self, zygote: Zygote, pool: Pool, afterwards: Afterwards, options: EngineOptions, facts: Facts) -> None:
        self._zygote = zygote
        self._pool = pool
        self._afterwards = afterwards
        self._options = options
        self._facts = facts
        self._common: dict[str, Any] | None = None  # the slot's part of the config, once there was one
        self._failures = 0

    def serves(self, config: Mapping[str, Any]) -> bool:
        """Whether it pays to start a container in the slot; the runtime, which knows best, may still decline."""
        return self._common is not None and begins_alike(kernel_part(config), self._common)

    def refill(self) -> None:
        """Has a slot made, if there is none, when nobody waits."""
        ours = any(not runtime.path for runtime in self._options.runtimes.values())
        if ours and self._options.cgroup_driver == "cgroupfs" and self._failures < PATIENCE:
            self._afterwards.later(self._park)

    async def _park(self) -> None:
        try:
            common = await self._pool.run(common_config, self._options, self._facts)
            request = ParkRequest(config=msgspec.json.encode(common), cgroup_parent=self._options.cgroup_parent,
                                  seccomp_cache=f"{self._options.run_folder}/seccomp")
            await self._zygote.park(request)
        except (WherryError, OSError) as error:
            self._failures += 1
            log.info("there is no slot for the next container, it will start without: %s", error)
            return
        self._common, self._failures = kernel_part(common), 0


def common_config(options: EngineOptions, facts: Facts) -> dict[str, Any]:
    """The runtime-spec's config of a container for which nothing was asked. Raises OSError for a profile that cannot be read."""
    host = adapt(HostConfig(), facts, shm_size=options.default_shm_size_bytes, ipc_mode=options.default_ipc_mode,
                 cgroupns_mode=options.cgroupns_mode)
    places = Places(rootfs="/", cgroups_path=options.cgroup_parent)
    return oci_config(
        ContainerConfig(cmd=("sh",)), host, places=places, facts=facts, user=User(), found=look_up(host),
        seccomp_profile=options.read_seccomp_profile(), no_new_privileges=options.no_new_privileges)


def begins_alike(own: Mapping[str, Any], common: Mapping[str, Any]) -> bool:
    """Whether two kernel parts are the same; the first may have no filter."""
    return own == {name: value for name, value in common.items() if name != "seccomp" or name in own}


def kernel_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a slot is made by: namespaces, sysctls, devices, hidden paths, filter. Not what is a container's own."""
    return {name: value for name, value in config["linux"].items() if name not in ("resources", "cgroupsPath")}
