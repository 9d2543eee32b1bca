"""Calls to a container's shim without containerd between: ttrpc on the shim's own socket."""

from __future__ import annotations

import hashlib
import os
import socket

from wherry import errors
from wherry.ctr.command import CommandFailed
from wherry.shim.containerd import messages
from wherry.shim.containerd.protobuf import decode, encode
from wherry.shim.containerd.ttrpc import REQUEST, frame, take_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from wherry.shim.containerd.protobuf import Message

SERVICE = "containerd.task.v2.Task"
SOCKETS = "/run/containerd/s"
ANSWER_S = 60.0


class Shim:
    """A connection to the shim of one container. Raises CommandFailed where there is none."""

    def __init__(self, address: str, namespace: str, container: str) -> None:
        self._namespace = namespace
        self._stream = -1
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        place = os.path.join(address.removeprefix("unix://"), namespace, container)
        try:
            self._socket.connect(f"{SOCKETS}/{hashlib.sha256(place.encode()).hexdigest()}")
        except OSError as problem:
            self._socket.close()
            raise CommandFailed(f"fail to connect to container {container}'s shim") from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str, request: Message, answer: Message, **fields: Any) -> dict[str, Any]:
        """One call's answer. Raises what the shim answers with."""
        self._stream += 2
        body = encode(messages.Request, {
            "service": SERVICE, "method": method, "payload": encode(request, fields),
            "metadata": [{"key": "containerd-namespace-ttrpc", "value": self._namespace}]})
        self._socket.sendall(frame(REQUEST, self._stream, body))
        received = bytearray()
        while (found := take_frame(received)) is None:
            data = self._socket.recv(1 << 16)
            if not data:
                raise errors.Unavailable("ttrpc: closed")
            received += data
        response = decode(messages.Response, found[2])
        status = response["status"]
        if status and status["code"]:
            raise errors.Internal(status["message"])
        return decode(answer, response["payload"])
