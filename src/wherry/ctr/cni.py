"""A container's network by CNI plugins: programs that are called one behind the other, each with the result of the one before.

Source: the Container Network Interface specification 1.0, sections 2 to 5.
"""

from __future__ import annotations

import json
import os

from wherry.errors import Internal, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CONFIGURATIONS = "/etc/cni/net.d"
PLUGINS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
SUFFIXES = (".conf", ".conflist", ".json")
INTERFACE = "eth0"


def load(folder: str) -> dict[str, Any]:
    """The first network configuration of a folder, as a list of plugins. Raises NotFound where there is none."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES))
    except FileNotFoundError:
        names = []
    if not names:
        raise NotFound(f"cni config load failed: no network config found in {folder}: cni plugin not initialized: "
                       "failed to load cni config")
    with open(f"{folder}/{names[0]}", encoding="utf-8") as file:
        try:
            found: dict[str, Any] = json.load(file)
        except ValueError as problem:
            raise Internal(f"cni config load failed: {folder}/{names[0]}: {problem}") from None
    if "plugins" not in found:
        found = {"name": found.get("name", ""), "cniVersion": found.get("cniVersion", ""), "plugins": [found]}
    return found


class Network:
    """One container's place in a network. `set_up` and `tear_down` raise Internal with what the plugin says."""

    def __init__(self, container: str, network: Mapping[str, Any]) -> None:
        self._container = container
        self._network = network
        self._result: dict[str, Any] | None = None

    @classmethod
    def from_folder(cls, container: str, folder: str = CONFIGURATIONS) -> Network:
        """By the machine's configuration."""
        return cls(container, load(folder))

    def set_up(self, pid: int) -> None:
        """Brings up loopback, and calls each plugin for the network namespace of a process."""
        namespace = f"/proc/{pid}/ns/net"
        _call({"type": "loopback", "name": "cni-loopback", "cniVersion": "0.3.1"}, "ADD", self._container, namespace, "lo")
        for plugin in self._network["plugins"]:
            out = _call(self._for(plugin), "ADD", self._container, namespace, INTERFACE)
            self._result = json.loads(out) if out.strip() else self._result

    def tear_down(self) -> None:
        """Calls each plugin, the last one first; the namespace may be gone by now."""
        for plugin in reversed(self._network["plugins"]):
            _call(self._for(plugin), "DEL", self._container, "", INTERFACE)

    def _for(self, plugin: Mapping[str, Any]) -> dict[str, Any]:
        found = {**plugin, "name": self._network.get("name", ""), "cniVersion": self._network.get("cniVersion", "")}
        if self._result is not None:
            found["prevResult"] = self._result
        return found


def _call(config: Mapping[str, Any], command: str, container: str, namespace: str, interface: str) -> str:
    """Runs one plugin; what it writes to stdout."""
    import subprocess

    folders = [*filter(None, os.environ.get("CNI_PATH", "").split(":")), *PLUGINS]
    kind = str(config.get("type", ""))
    program = next((f"{folder}/{kind}" for folder in folders if os.access(f"{folder}/{kind}", os.X_OK)), "")
    if not program or "/" in kind:
        raise NotFound(f'failed to find plugin "{kind}" in path {folders}')
    environment = {**os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": namespace,
                   "CNI_IFNAME": interface, "CNI_PATH": ":".join(folders)}
    done = subprocess.run([program], input=json.dumps(config), env=environment, capture_output=True, text=True)
    if done.returncode:
        try:
            said = json.loads(done.stdout)
            message = f"{said.get('msg', '')}{': ' + said['details'] if said.get('details') else ''}"
        except (ValueError, AttributeError):
            message = (done.stdout + done.stderr).strip()
        raise Internal(f'plugin type="{kind}" failed ({"add" if command == "ADD" else "delete"}): {message}')
    return done.stdout
