"""Containers under real shims, for tests: bundles from busybox, a zygote, clients as socket pairs, events in a list."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from busybox_image import rootfs_tar

from wherry.shim.client import AttachRequest, ExecRequest, Exited, LaunchRequest, LogOptions, Shim, Zygote
from wherry.shim.stdcopy import Demultiplexer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wherry.shim.protocol import ShimEvent

DEADLINE_S = 30
ENVIRONMENT = ["PATH=/bin", "TERM=xterm"]


def make_bundle(folder: Path, rootfs: Path, cgroup: str, arguments: list[str], terminal: bool, change: Callable[[dict[str, Any]], None] | None) -> None:
    """A bundle whose root is shared; runc's own default config with what tests vary."""
    folder.mkdir(parents=True)
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"].update(args=arguments, terminal=terminal, env=ENVIRONMENT)
    config["root"] = {"path": str(rootfs), "readonly": False}
    config["linux"]["cgroupsPath"] = cgroup
    if change:
        change(config)
    (folder / "config.json").write_text(json.dumps(config))


class Client:
    """Our end of an attached connection, read by a thread; `theirs` is the descriptor to hand over."""

    def __init__(self, tcp: bool = False) -> None:
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as server:
                self.ours = socket.create_connection(server.getsockname())
                other, _ = server.accept()
        else:
            self.ours, other = socket.socketpair()
        self.theirs = other.detach()
        self.raw = b""
        self.ended = False
        self._thread: threading.Thread | None = None

    def read(self) -> None:
        """Begins to read."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        parts = []
        while data := self.ours.recv(1 << 16):
            parts.append(data)
            self.raw = self.raw + data if len(self.raw) < 1 << 16 else self.raw
        self.raw = b"".join(parts)
        self.ended = True

    def send(self, data: bytes) -> None:
        self.ours.sendall(data)

    def half_close(self) -> None:
        self.ours.shutdown(socket.SHUT_WR)

    def until(self, text: bytes) -> None:
        """Waits until the text has come."""
        wait_for(lambda: text in self.raw, lambda: f"{text!r} in {self.raw[-300:]!r}")

    def all(self) -> bytes:
        """Everything up to the end of the connection."""
        if self._thread is None:
            self.read()
        assert self._thread is not None
        self._thread.join(DEADLINE_S)
        assert self.ended, f"the connection is still open after {self.raw[-300:]!r}"
        self.ours.close()
        return self.raw

    def give_up(self) -> None:
        """Closes the connection."""
        if self.ours.fileno() >= 0:
            try:
                self.ours.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.all()

    def streams(self) -> tuple[bytes, bytes]:
        """Everything, taken apart: stdout and stderr."""
        taken = {1: [b""], 2: [b""]}
        demultiplexer = Demultiplexer()
        for stream, piece in demultiplexer.feed(self.all()):
            taken[stream].append(piece)
        assert demultiplexer.is_whole
        return b"".join(taken[1]), b"".join(taken[2])


class Running:
    """A launched container."""

    def __init__(self, box: Box, shim: Shim, folder: Path) -> None:
        self.box, self.shim, self.folder = box, shim, folder
        self.events: list[ShimEvent] = []
        self.clients: list[Client] = []
        shim.on_event = self.events.append

    def start(self) -> Running:
        self.box.run(self.shim.start())
        return self

    def attach(self, client: Client | None = None, **options: Any) -> Client:
        client = client or Client()
        wanted = {"stdout": True, "stderr": True, **options}
        self.box.run(self.shim.attach(AttachRequest(**wanted), client.theirs))
        client.read()
        self.clients.append(client)
        return client

    def exec(self, exec_id: str, command: str, client: Client | None = None, *, terminal: bool = False, **options: Any) -> int:
        process = {"args": ["sh", "-c", command], "env": ENVIRONMENT, "cwd": "/", "user": {"uid": 0, "gid": 0}}
        clients = ()
        if client:
            clients = ((AttachRequest(attach_id=exec_id, exec_id=exec_id, stdin=options.get("open_stdin", False), stdout=True, stderr=True,
                                      multiplex=not terminal), client.theirs),)
        pid = self.box.run(self.shim.exec(ExecRequest(exec_id=exec_id, process=process, terminal=terminal, attach=clients, **options)))
        if client:
            client.read()
            self.clients.append(client)
        return pid

    def event(self, kind: type[ShimEvent], **fields: Any) -> Any:
        """The first such event, now or soon."""

        def found() -> list[ShimEvent]:
            return [one for one in self.events if isinstance(one, kind) and all(getattr(one, name) == value for name, value in fields.items())]

        self.box.wait_for(lambda: bool(found()), lambda: f"{kind.__name__} {fields} in {self.events}")
        return found()[0]

    def exited(self, exec_id: str = "") -> Exited:
        found = self.event(Exited, exec_id=exec_id)
        assert isinstance(found, Exited)
        return found

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def release(self) -> None:
        self.box.run(self.shim.release())
        wait_for(lambda: not alive(self.shim.shim_pid), lambda: "the shim ends")


class Box:
    """One zygote, one event loop, many containers; `close` removes everything."""

    def __init__(self, base: Path, runtime: str = "builtin", arguments: tuple[str, ...] = ()) -> None:
        self.base, self.runtime, self.arguments = base, runtime, arguments
        self.rootfs = base / "rootfs"
        self.rootfs.mkdir()
        with tarfile.open(fileobj=io.BytesIO(rootfs_tar())) as tar:
            tar.extractall(self.rootfs)
        self.runner = asyncio.Runner()
        self.zygote = self.run(Zygote.start(str(base)))
        self.count = 0
        self.launched: list[Running] = []

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Does it in the loop, within a deadline."""
        return self.runner.run(asyncio.wait_for(work, DEADLINE_S))

    def wait_for(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        """Lets the loop run until it is so."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what()}"
            self.runner.run(asyncio.sleep(0.005))

    def request(self, command: str | list[str], *, change: Callable[[dict[str, Any]], None] | None = None, log: LogOptions | None = None,
                clients: tuple[tuple[AttachRequest, Client], ...] = (), **options: Any) -> LaunchRequest:
        """A bundle for the command, and the request to launch it."""
        self.count += 1
        name = f"{self.base.name}-{self.count}"
        folder = self.base / name
        arguments = ["sh", "-c", command] if isinstance(command, str) else command
        make_bundle(folder / "bundle", self.rootfs, f"/{name}", arguments, options.get("terminal", False), change)
        log = (log or LogOptions()).replace(path=str(folder / "log"))
        return LaunchRequest(id=name, bundle=str(folder / "bundle"), run_folder=str(folder), runtime=self.runtime, runtime_args=self.arguments,
                             log=log, attach=tuple((attach, client.theirs) for attach, client in clients), **options)

    def launch(self, command: str | list[str], **options: Any) -> Running:
        """A created container; it waits for start."""
        request = self.request(command, **options)
        shim = self.run(self.zygote.launch(request))
        running = Running(self, shim, Path(request.run_folder))
        for _, client in options.get("clients", ()):
            client.read()
            running.clients.append(client)
        self.launched.append(running)
        return running

    def start(self, command: str | list[str], **options: Any) -> Running:
        return self.launch(command, **options).start()

    def finish(self) -> None:
        """Kills what a test has left running."""
        for one in self.launched:
            for client in one.clients:
                client.give_up()
            if alive(one.shim.shim_pid):
                one.shim.close()
                kill(one.shim.pid)
                wait_for(lambda one=one: not alive(one.shim.shim_pid), lambda: "the shim ends without a daemon")
            one.shim.close()
        self.launched = []

    def close(self) -> None:
        self.finish()
        self.run(self.zygote.close())
        self.runner.close()
        shutil.rmtree(self.base)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


def wait_for(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Waits until it is so, without running the loop."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what()}"
        time.sleep(0.005)
