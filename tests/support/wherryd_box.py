"""wherryd as a program, with a root, a run folder and a socket of its own, for the length of a test."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from busybox_image import archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_S = 240.0  # the virtual machine is ten times slower, and its host may be busy
PROGRAM = (str(Path(sys.executable).parent / "wherryd"),)
IMAGE = "busybox:latest"


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Wherryd:
    """A running wherryd."""

    def __init__(self, folder: Path, data_root: str) -> None:
        self.folder = folder
        self.data_root = data_root
        self.path = str(folder / "wherry.sock")
        self.socket = f"unix://{self.path}"
        self.log = folder / "log"
        self.program = PROGRAM
        self.process: subprocess.Popen[bytes]

    def start(self, *flags: str, hosts: tuple[str, ...] = (), environment: Mapping[str, str] | None = None,
              pass_fds: tuple[int, ...] = (), wait: bool = True) -> None:
        """Starts it and waits until it answers. Raises AssertionError with its log when it ends instead."""
        arguments = [*self.program, "--data-root", self.data_root, "--exec-root", str(self.folder / "exec"),
                     "--pidfile", str(self.folder / "pid")]
        for host in hosts or (self.socket,):
            arguments += ["-H", host]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*arguments, *flags], stdout=log, stderr=log, pass_fds=pass_fds,
                                            env={**os.environ, **(environment or {})})
        began = time.monotonic()
        while wait and not self.answers():
            waited = time.monotonic() - began
            assert self.process.poll() is None, self.log.read_text()
            assert waited < START_S, self.log.read_text()
            time.sleep(max(0.01, waited / 10))  # who asks all the time takes a slow machine's processor from who starts

    def answers(self) -> bool:
        """Whether a request is answered."""
        try:
            return self.get("/_ping")[0] == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(START_S)

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """One request; the status, and the body: parsed where it is one JSON value, else as bytes."""
        connection = Connection(self.path)
        try:
            given = dict(headers or {})
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
                given.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(data) if data else None
        except ValueError:
            return answer.status, data

    def get(self, path: str) -> tuple[int, Any]:
        """A GET."""
        return self.request("GET", path)

    def load(self, data: bytes | None = None) -> None:
        """Loads an image, busybox unless another one is given."""
        status, _ = self.request("POST", "/images/load", data or archive(IMAGE), {"Content-Type": "application/x-tar"})
        assert status == 200

    def docker(self, *words: str, client: str = "docker", fails: bool = False, data: bytes | None = None) -> str:
        """Runs a docker command line on it; what it printed (both outputs)."""
        done = subprocess.run([client, "-H", self.socket, *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = done.stdout.decode(errors="replace").strip()
        assert (done.returncode != 0) == fails, f"docker {' '.join(words)}: {text}"
        return text


@contextlib.contextmanager
def folders() -> Iterator[Wherryd]:
    """A wherryd that is not started yet; it is ended, and its folders are removed, at the end."""
    with tempfile.TemporaryDirectory(prefix="wherry-test-", dir="/var/tmp") as root, \
            tempfile.TemporaryDirectory(prefix="wherryd-", dir="/run") as run:
        daemon = Wherryd(Path(run), root)
        try:
            yield daemon
        finally:
            if hasattr(daemon, "process") and daemon.process.poll() is None:
                for container in daemon.get("/containers/json?all=1")[1] if daemon.answers() else ():
                    daemon.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
                daemon.stop()
            # A bridge outlives its daemon, and belongs to its data root: the next daemon of these tests has another one.
            subprocess.run(["ip", "link", "delete", "wherry0"], capture_output=True, check=False)


@contextlib.contextmanager
def wherryd(*flags: str) -> Iterator[Wherryd]:
    """A wherryd that answers and has the busybox image."""
    with folders() as daemon:
        daemon.start(*flags)
        daemon.load()
        yield daemon
