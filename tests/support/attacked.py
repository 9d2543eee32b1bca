"""The two ways into a container that attacks are tried on: `wherry-runc` by its command line, and the shim through the API of wherryd."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from busybox_image import archive, unpacked
from containers_by_api import Api, until
from slots_seen import slots

from wherry.runtime.commands.spec import example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherryd_box import Wherryd

RUNC = Path(__file__).resolve().parents[2] / "bin/wherry-runc"
END_S = 60
TRIES = 20


@dataclass(frozen=True)
class Attack:
    """What is run, and what was prepared. `links`, `files`: what the image has besides busybox (a link takes a folder's place)."""

    args: tuple[str, ...]
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    binds: tuple[str, ...] = ()  # source:destination[:ro]
    cwd: str = "/"
    terminal: bool = False
    sysctls: dict[str, str] = field(default_factory=dict)
    groups: tuple[int, ...] = ()
    capabilities: tuple[str, ...] = ()  # more than the usual ones
    joins: int = 0  # a process in whose pid namespace it runs


class Cold:
    """`wherry-runc run`, with the configuration that `wherry-runc spec` writes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, str(folder / "state")
        self.bundle = folder / "bundle"

    def run(self, attack: Attack) -> tuple[int, str]:
        """Exit status and output; what a refusal says is output as well."""
        self.prepare(attack)
        command = [str(RUNC), "--root", self.root, "run", "-b", str(self.bundle), "attack"]
        if attack.terminal:
            return _in_terminal(command)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=END_S, check=False)
        assert not os.path.isdir(self.root) or os.listdir(self.root) == []
        return done.returncode, done.stdout.decode(errors="replace").replace('\\"', '"')

    @contextlib.contextmanager
    def running(self, attack: Attack) -> Iterator[None]:
        """A container that runs for the length of the block, for `exec`."""
        self.prepare(attack)
        self._call("run", "-d", "-b", str(self.bundle), "attack")
        try:
            yield
        finally:
            self._call("delete", "--force", "attack")

    def exec(self, *command: str) -> int:
        """Runs a command in the container; its status."""
        return self._call("exec", "attack", *command, check=False)

    def _call(self, *arguments: str, check: bool = True) -> int:
        return subprocess.run([str(RUNC), "--root", self.root, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=END_S, check=check).returncode

    def pid(self) -> int:
        """The first process of what is running."""
        done = subprocess.run([str(RUNC), "--root", self.root, "state", "attack"], capture_output=True, timeout=END_S, check=True)
        return int(json.loads(done.stdout)["pid"])

    def prepare(self, attack: Attack) -> None:
        """Writes the bundle."""
        shutil.rmtree(self.bundle, ignore_errors=True)
        rootfs = unpacked(self.bundle / "rootfs")
        for name, target in attack.links.items():
            place = rootfs / name
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            place.unlink(missing_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
        for name, text in attack.files.items():
            (rootfs / name).parent.mkdir(parents=True, exist_ok=True)
            (rootfs / name).write_text(text)
            (rootfs / name).chmod(0o755)
        document = example()
        process, linux = document["process"], document["linux"]
        process.update(terminal=attack.terminal, args=list(attack.args), cwd=attack.cwd, env=["PATH=/bin"])
        process["user"]["additionalGids"] = list(attack.groups)
        for name in ("bounding", "effective", "permitted"):
            process["capabilities"][name] = [*process["capabilities"][name], *attack.capabilities]
        document["root"]["readonly"] = False
        linux["sysctl"] = attack.sysctls
        linux["cgroupsPath"] = f"/wherry-attacked/{self.folder.name}-{os.getpid()}"
        if attack.joins:
            for one in linux["namespaces"]:
                if one["type"] == "pid":
                    one["path"] = f"/proc/{attack.joins}/ns/pid"
        binds = {destination: {"source": source, "destination": destination, "type": "bind", "options": ["rbind", *rest]}
                 for source, destination, *rest in (bind.split(":") for bind in attack.binds)}
        document["mounts"] = [binds.pop(one["destination"], one) for one in document["mounts"]]
        document["mounts"] += binds.values()
        (self.bundle / "config.json").write_text(json.dumps(document))


class Engine:
    """Containers of wherryd, from an image of their own, that begin in no slot: a sysctl is not of most containers."""

    of_its_own: ClassVar[dict[str, str]] = {"net.ipv4.ip_default_ttl": "64"}

    def __init__(self, daemon: Wherryd) -> None:
        self.daemon = daemon
        self.api = Api(daemon)

    def run(self, attack: Attack) -> tuple[int, str]:
        """As `Cold.run`; a refusal has the status 125."""
        self.daemon.load(archive("attack:latest", (_layer(attack),)))
        status, body = self.daemon.request("POST", "/containers/create", {
            "Image": "attack", "Cmd": list(attack.args), "WorkingDir": attack.cwd, "Tty": attack.terminal,
            "HostConfig": {"NetworkMode": "none", "Binds": list(attack.binds), "Sysctls": {**self.of_its_own, **attack.sysctls},
                           "GroupAdd": [str(one) for one in attack.groups], "CapAdd": list(attack.capabilities)}})
        if status != 201:
            return 125, body["message"]
        container = body["Id"]
        try:
            status, body = self.start(container)
            if status != 204:
                return 125, body["message"]
            code = self.api.wait(container)
            if attack.terminal:
                return code, self.daemon.get(f"/containers/{container}/logs?stdout=1")[1].decode()
            return code, self.api.logs(container)
        finally:
            self.api.remove(container)

    def start(self, container: str) -> tuple[int, Any]:
        """Starts a container: the status, and the body of a refusal."""
        return self.daemon.request("POST", f"/containers/{container}/start")


class Slot(Engine):
    """Containers of wherryd that begin in a slot, but for those with sysctls or capabilities (another filter) of their own."""

    of_its_own: ClassVar[dict[str, str]] = {}

    def run(self, attack: Attack) -> tuple[int, str]:
        """As `Cold.run`."""
        for _ in range(TRIES):  # what is seen of a slot is there some time before it can be used
            answer = super().run(attack)
            if self._has_begun_there or attack.sysctls or attack.capabilities:
                return answer
        raise AssertionError("no container was started in a slot")

    def start(self, container: str) -> tuple[int, Any]:
        """Starts a container once a slot is there."""
        until(lambda: bool(slots(self.daemon)))
        parked = slots(self.daemon)
        answer = self.daemon.request("POST", f"/containers/{container}/start")
        self._has_begun_there = not set(parked) & set(slots(self.daemon))
        return answer


def _layer(attack: Attack) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, target in attack.links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, text in attack.files.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(text), 0o755
            tar.addfile(file, io.BytesIO(text.encode()))
    return out.getvalue()


def _in_terminal(command: list[str]) -> tuple[int, str]:
    pid, master = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    text = b""
    try:
        while select.select([master], [], [], END_S)[0] and (part := os.read(master, 4096)):
            text += part
    except OSError:
        pass  # EIO: nobody has the terminal any more
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode(errors="replace")
