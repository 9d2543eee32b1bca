"""What the engine says about itself and the machine: `docker version` and `docker info`, as plain data.

What cannot change while the daemon runs is read once, when first asked for; what can (counts, forwarding, memory
limits that the kernel offers) each time.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from wherry import __version__
from wherry.engine.records import timestamp
from wherry.linux import mountinfo
from wherry.linux.cgroup.layout import read_layout
from wherry.linux.file import replace_durably
from wherry.oci.platform import host_platform

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.engine.containers import Containers
    from wherry.engine.options import EngineOptions

INDEX_SERVER = "https://index.docker.io/v1/"


class Info:
    """Answers questions about one engine. For worker threads and the event loop alike: it changes nothing."""

    def __init__(self, options: EngineOptions, containers: Containers, *, images: Callable[[], int],
                 listeners: Callable[[], int], warnings: Callable[[], tuple[str, ...]], containerd_version: str) -> None:
        """`images` counts them, `listeners` counts who follows events, `warnings` are the network room's.

        `containerd_version` is that of the containerd which runs the containers, if one does.
        """
        self._options = options
        self._containers = containers
        self._images = images
        self._listeners = listeners
        self._warnings = warnings
        self._containerd_version = containerd_version
        self._guard = threading.Lock()
        self._id = ""
        self.debug = False
        """Set by the daemon, which may change it while it runs."""

    @property
    def id(self) -> str:
        """The engine's id."""
        with self._guard:
            if not self._id:
                self._id = engine_id(self._options.data_root)
            return self._id

    def reload(self, options: EngineOptions) -> None:
        """Speaks of these options from now on."""
        self._options = options

    def version(self) -> dict[str, Any]:
        """Everything of `GET /version` but the API's versions, which the API knows."""
        machine = os.uname()
        python = ".".join(str(number) for number in sys.version_info[:3])
        common = {"Os": "linux", "Arch": host_platform().architecture, "KernelVersion": machine.release,
                  "GitCommit": "", "GoVersion": "", "BuildTime": ""}
        return {
            "Platform": {"Name": "wherry"},
            "Components": [{"Name": "Engine", "Version": __version__,
                            "Details": {**common, "PythonVersion": python, "Experimental": "false"}}],
            "Version": __version__,
            **common,
        }

    def info(self) -> dict[str, Any]:
        """`GET /info` of the newest API."""
        options = self._options
        states = [container.state.status for container in self._containers]
        cgroups = _cgroups()
        network = options.network
        shown: dict[str, Any] = {
            "ID": self.id,
            "Containers": len(states),
            "ContainersRunning": states.count("running"),
            "ContainersPaused": states.count("paused"),
            "ContainersStopped": len(states) - states.count("running") - states.count("paused"),
            "Images": self._images(),
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", _filesystem_of(options.data_root)], ["Supports d_type", "true"],
                             ["Using metacopy", "false"], ["Native Overlay Diff", "true"], ["userxattr", "false"]],
            "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": None,
                        "Log": ["json-file", "none"]},
            **cgroups,
            "IPv4Forwarding": _flag("/proc/sys/net/ipv4/ip_forward"),
            "BridgeNfIptables": _flag("/proc/sys/net/bridge/bridge-nf-call-iptables"),
            "BridgeNfIp6tables": _flag("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
            "Debug": self.debug,
            "NFd": len(os.listdir("/proc/self/fd")),
            "OomKillDisable": cgroups["CgroupVersion"] == "1",
            "NGoroutines": len(os.listdir("/proc/self/task")),
            "SystemTime": timestamp(time.time_ns()),
            "LoggingDriver": options.log_driver,
            "CgroupDriver": options.cgroup_driver,
            "NEventsListener": self._listeners(),
            "KernelVersion": os.uname().release,
            "OperatingSystem": _operating_system()[0],
            "OSVersion": _operating_system()[1],
            "OSType": "linux",
            "Architecture": os.uname().machine,
            "IndexServerAddress": INDEX_SERVER,
            "RegistryConfig": _registries(options),
            "NCPU": len(os.sched_getaffinity(0)),
            "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "GenericResources": None,
            "DockerRootDir": options.data_root,
            "HttpProxy": os.environ.get("HTTP_PROXY", ""),
            "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
            "NoProxy": os.environ.get("NO_PROXY", ""),
            "Name": os.uname().nodename,
            "Labels": list(options.labels),
            "ExperimentalBuild": False,
            "ServerVersion": __version__,
            "Runtimes": self._runtimes(),
            "DefaultRuntime": options.default_runtime,
            "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
                      "RemoteManagers": None},
            "LiveRestoreEnabled": options.live_restore,
            "Isolation": "",
            "InitBinary": os.path.basename(options.init_path) or "docker-init",
            "ContainerdCommit": {"ID": self._containerd_version, "Expected": self._containerd_version},
            "RuncCommit": {"ID": "", "Expected": ""},
            "InitCommit": {"ID": "", "Expected": ""},
            "SecurityOptions": self._security(cgroups["CgroupVersion"]),
            "FirewallBackend": {"Driver": network.firewall_backend if network.iptables else "none"},
            "CDISpecDirs": [],
            "Warnings": [*_limit_warnings(cgroups), *self._warnings()] or None,
        }
        if containerd := options.containerd.address:
            shown["Containerd"] = {"Address": containerd,
                                   "Namespaces": {"Containers": options.containerd.namespace, "Plugins": "plugins.moby"}}
        if network.default_address_pools:
            shown["DefaultAddressPools"] = [{"Base": base, "Size": size} for base, size in network.default_address_pools]
        return shown

    def _runtimes(self) -> dict[str, dict[str, Any]]:
        shown: dict[str, dict[str, Any]] = {}
        for name, runtime in self._options.runtimes.items():
            shown[name] = {"path": runtime.path or name}
            if runtime.arguments:
                shown[name]["runtimeArgs"] = list(runtime.arguments)
        shown.setdefault(self._options.default_runtime, {"path": self._options.default_runtime})
        return shown

    def _security(self, cgroup_version: str) -> list[str]:
        profile = self._options.seccomp_profile or "default"
        shown = [f"name=seccomp,profile={profile}"] if profile != "unconfined" else []
        private = self._options.cgroupns_mode == "private" or (not self._options.cgroupns_mode and cgroup_version == "2")
        return [*shown, "name=cgroupns"] if private else shown


def engine_id(data_root: str) -> str:
    """The id that a data root keeps for life, made when first asked for; dockerd's file."""
    place = f"{data_root}/engine-id"
    try:
        with open(place) as file:
            if text := file.read().strip():
                return text
    except FileNotFoundError:
        pass
    fresh = str(uuid.uuid4())
    replace_durably(place, fresh.encode())
    return fresh


def _cgroups() -> dict[str, Any]:
    """The version, and which limits this kernel can set."""
    layout = read_layout()
    if layout.kind == "v2":
        with open(f"{layout.unified.mount}/cgroup.controllers" if layout.unified else "/dev/null") as file:
            controllers = set(file.read().split())
        swap = os.path.exists("/proc/swaps")
        return {"CgroupVersion": "2", "MemoryLimit": "memory" in controllers, "SwapLimit": "memory" in controllers and swap,
                "CpuCfsPeriod": "cpu" in controllers, "CpuCfsQuota": "cpu" in controllers, "CPUShares": "cpu" in controllers,
                "CPUSet": "cpuset" in controllers, "PidsLimit": "pids" in controllers}

    def has(controller: str, file: str = "") -> bool:
        return any(controller in one.names and os.path.exists(f"{one.mount}/{file}") for one in layout.v1)

    return {"CgroupVersion": "1", "MemoryLimit": has("memory"), "SwapLimit": has("memory", "memory.memsw.limit_in_bytes"),
            "CpuCfsPeriod": has("cpu", "cpu.cfs_period_us"), "CpuCfsQuota": has("cpu", "cpu.cfs_quota_us"),
            "CPUShares": has("cpu", "cpu.shares"), "CPUSet": has("cpuset"), "PidsLimit": has("pids")}


def _limit_warnings(cgroups: dict[str, Any]) -> list[str]:
    texts = {"MemoryLimit": "No memory limit support", "SwapLimit": "No swap limit support",
             "CpuCfsPeriod": "No cpu cfs period support", "CpuCfsQuota": "No cpu cfs quota support",
             "CPUShares": "No cpu shares support", "CPUSet": "No cpuset support", "PidsLimit": "No pids limit support"}
    found = [f"WARNING: {text}" for name, text in texts.items() if not cgroups[name]]
    if not _flag("/proc/sys/net/ipv4/ip_forward"):
        found.append("WARNING: IPv4 forwarding is disabled")
    return found


def _registries(options: EngineOptions) -> dict[str, Any]:
    mirrors = [mirror if mirror.endswith("/") else mirror + "/" for mirror in options.registry_mirrors]
    named = [one for one in options.insecure_registries if "/" not in one]
    networks = [one for one in options.insecure_registries if "/" in one]
    return {
        "InsecureRegistryCIDRs": [*networks, "::1/128", "127.0.0.0/8"],
        "IndexConfigs": {
            "docker.io": {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True},
            **{name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in named},
        },
        "Mirrors": mirrors,
    }


def _operating_system() -> tuple[str, str]:
    """The distribution's name and version: os-release(5)."""
    try:
        fields = platform.freedesktop_os_release()
    except OSError:
        return "linux", ""
    return fields.get("PRETTY_NAME", "Linux"), fields.get("VERSION_ID", "")


def _filesystem_of(path: str) -> str:
    """The type of the file system that a path is on, in Docker's words."""
    kind = mountinfo.covering(path).filesystem
    return "extfs" if kind in ("ext2", "ext3", "ext4") else kind


def _flag(path: str) -> bool:
    try:
        with open(path) as file:
            return file.read(1) == "1"
    except OSError:
        return False
