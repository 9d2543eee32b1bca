"""A daemon that records what a command line asks of it, and answers just enough for `create`, `ps` and `version`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

WHERRY = str(Path(__file__).resolve().parents[2] / "bin/wherry")


class Recorder:
    """Requests as (method, target, body), in the order in which they came. `answers` maps the end of a path to (status, body)."""

    def __init__(self, path: str, version: str) -> None:
        self.url = f"unix://{path}"
        self.path = path
        self.version = version
        self.requests: list[tuple[str, str, bytes]] = []
        self.answers: dict[str, tuple[int, bytes]] = {
            "/_ping": (200, b"OK"), "/containers/create": (201, b'{"Id":"abc","Warnings":[]}'), "/containers/json": (200, b"[]")}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                method, target, _ = line.decode().split()
                headers = {}
                while field := stream.readline().strip():
                    name, _, value = field.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length") or 0))
                self.requests.append((method, target, body))
                connection.sendall(self._answer(method, target))

    def _answer(self, method: str, target: str) -> bytes:
        path = target.partition("?")[0]
        asked = path.split("/")[1].removeprefix("v")
        if asked[:1].isdecimal() and tuple(map(int, asked.split("."))) > tuple(map(int, self.version.split("."))):
            status, data = 400, f'{{"message":"client version {asked} is too new. Maximum supported API version is {self.version}"}}'.encode()
        else:
            status, data = next((answer for end, answer in self.answers.items() if path.endswith(end)), (404, b'{"message":"no such thing"}'))
        head = f"HTTP/1.1 {status} X\r\nApi-Version: {self.version}\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        return head.encode() + (b"" if method == "HEAD" else data)

    def call(self, program: str, *words: str, environment: dict[str, str] | None = None) -> Call:
        """Runs a command line against this daemon."""
        self.requests.clear()
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": self.url, **(environment or {})}
        done = subprocess.run([program, *words], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/")
        bodies = [json.loads(body) for _, target, body in self.requests if body and "/containers/create" in target]
        targets = [target.partition("?") for _, target, body in self.requests if "/containers/create" in target]
        return Call(done.returncode, done.stdout, done.stderr, bodies[0] if bodies else None, targets[0][2] if targets else "")


class Call:
    """What came out of one call, with the program's own name taken out of its messages."""

    def __init__(self, code: int, out: str, err: str, body: Any, query: str) -> None:
        self.code = code
        self.out = out
        self.err = err.replace("docker", "wherry").replace("Docker", "Wherry")
        self.body = body
        self.query = query
        if body is not None and body.get("Env"):
            body["Env"].sort()  # docker's own order is that of a Go map


@contextlib.contextmanager
def recorder(version: str = "1.50") -> Iterator[Recorder]:
    """A recording daemon on a socket of its own."""
    with tempfile.TemporaryDirectory() as folder:
        one = Recorder(f"{folder}/docker.sock", version)
        try:
            yield one
        finally:
            one.close()
