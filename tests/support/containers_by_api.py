"""Containers through the API of a wherryd of the tests: a few words for what many tests do."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wherryd_box import Wherryd

DEADLINE_S = 60.0  # the virtual machine is ten times slower


class Api:
    """A daemon's containers."""

    def __init__(self, daemon: Wherryd) -> None:
        self.daemon = daemon

    def ask(self, method: str, path: str, body: Any = None, status: int | tuple[int, ...] = (200, 201, 204)) -> Any:
        """A request that must be answered with a status; the body."""
        got, answer = self.daemon.request(method, path, body)
        assert got in (status if isinstance(status, tuple) else (status,)), f"{method} {path}: {got} {answer}"
        return answer

    def refused(self, method: str, path: str, status: int, body: Any = None) -> str:
        """The message of a request that must be refused."""
        return str(self.ask(method, path, body, status)["message"])

    def create(self, *cmd: str, name: str = "", host: dict[str, Any] | None = None, **config: Any) -> str:
        """A container's id; without a network unless `host` says so."""
        body = {"Image": "busybox", "Cmd": list(cmd), "HostConfig": {"NetworkMode": "none", **(host or {})}, **config}
        return str(self.ask("POST", f"/containers/create?name={name}" if name else "/containers/create", body, 201)["Id"])

    def start(self, container: str) -> None:
        """Starts it."""
        self.ask("POST", f"/containers/{container}/start", status=204)

    def run(self, *cmd: str, **options: Any) -> tuple[int, str]:
        """Runs a command to its end and removes the container: exit code and what it printed."""
        container = self.create(*cmd, **options)
        try:
            self.start(container)
            return self.wait(container), self.logs(container)
        finally:
            self.remove(container)

    def wait(self, container: str, condition: str = "not-running") -> int:
        """Its exit code."""
        return int(self.ask("POST", f"/containers/{container}/wait?condition={condition}")["StatusCode"])

    def logs(self, container: str, query: str = "stdout=1&stderr=1") -> str:
        """Its output, without frames."""
        status, data = self.daemon.request("GET", f"/containers/{container}/logs?{query}")
        assert status == 200, data
        raw = data if isinstance(data, bytes) else b"" if data is None else json.dumps(data).encode()
        return b"".join(piece for _, piece in frames(raw)).decode()

    def inspect(self, container: str) -> Any:
        """Everything about it."""
        return self.ask("GET", f"/containers/{container}/json")

    def state(self, container: str) -> Any:
        """Its state."""
        return self.inspect(container)["State"]

    def remove(self, container: str) -> None:
        """Removes it, if it is there, with its volumes."""
        self.ask("DELETE", f"/containers/{container}?force=1&v=1", status=(204, 404))

    @contextlib.contextmanager
    def running(self, *cmd: str, **options: Any) -> Iterator[str]:
        """A container that runs for the length of the block."""
        container = self.create(*(cmd or ("sleep", "1000")), **options)
        try:
            self.start(container)
            yield container
        finally:
            self.remove(container)

    def exec(self, container: str, *cmd: str, **options: Any) -> tuple[int, str]:
        """Runs a command in a running container: exit code and output."""
        made = self.ask("POST", f"/containers/{container}/exec", {
            "Cmd": list(cmd), "AttachStdout": True, "AttachStderr": True, **options}, 201)["Id"]
        with self.hijacked(f"/exec/{made}/start", {"Detach": False, "Tty": bool(options.get("Tty"))}) as (stream, early):
            data = early + _rest(stream)
        until(lambda: self.ask("GET", f"/exec/{made}/json")["Running"] is False)
        text = data if options.get("Tty") else b"".join(piece for _, piece in frames(data))
        return int(self.ask("GET", f"/exec/{made}/json")["ExitCode"]), text.decode()

    @contextlib.contextmanager
    def hijacked(self, path: str, body: Any = None) -> Iterator[tuple[socket.socket, bytes]]:
        """A connection that has left HTTP, and what came right behind the answer's head."""
        payload = json.dumps(body).encode() if body is not None else b""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(DEADLINE_S)
            stream.connect(self.daemon.path)
            stream.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
                           f"Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = stream.recv(4096)
                assert piece, head
                head += piece
            head, _, early = head.partition(b"\r\n\r\n")
            assert b" 101 " in head.split(b"\r\n")[0], head
            yield stream, early


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a stdcopy stream: (1 stdout, 2 stderr; bytes)."""
    found = []
    while data:
        length = int.from_bytes(data[4:8], "big")
        assert data[0] in (0, 1, 2), data[:64]
        assert len(data) >= 8 + length, data[:64]
        found.append((data[0], data[8:8 + length]))
        data = data[8 + length:]
    return found


def _rest(stream: socket.socket) -> bytes:
    parts = []
    while piece := stream.recv(65536):
        parts.append(piece)
    return b"".join(parts)


def read_until(stream: socket.socket, wanted: bytes, got: bytes = b"") -> bytes:
    """Reads until something has come. Raises AssertionError at the end, TimeoutError when nothing comes."""
    while wanted not in got:
        piece = stream.recv(65536)
        assert piece, got
        got += piece
    return got


def until(condition: Callable[[], Any]) -> Any:
    """Asks again and again until the answer is true, with a deadline; the answer."""
    deadline = time.monotonic() + DEADLINE_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)
    return answer
