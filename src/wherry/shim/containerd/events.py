"""What happened, told to containerd: one `Forward` call after the other on its ttrpc socket, in order.

containerd may be away (it is restarted while containers run): events then wait, and are sent when it answers again. Where it
has no such socket, its own program publishes them (`containerd publish`), as shims of the first kind do it.
"""

from __future__ import annotations

import os
import time

from wherry.linux import unixsocket
from wherry.shim.containerd import messages, ttrpc
from wherry.shim.containerd.protobuf import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from wherry.shim.containerd.protobuf import Message
    from wherry.shim.loop import Loop, Timer

SERVICE: Final = "containerd.services.events.ttrpc.v1.Events"
KEPT: Final = 2048  # events; of what is older nobody will ask
PAUSES_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
ANSWER_S: Final = 10.0


class Publisher:
    """The events of one shim. `address` is containerd's gRPC socket, `ttrpc_address` its other one ("": there is none)."""

    def __init__(self, loop: Loop, *, namespace: str, address: str, ttrpc_address: str, binary: str,
                 complain: Callable[[str], None]) -> None:
        self._loop, self._namespace, self._address, self._binary = loop, namespace, address, binary
        self._ttrpc_address = ttrpc_address.removeprefix("unix://")
        self._complain = complain
        self._waiting: list[tuple[str, bytes]] = []
        self._peer: ttrpc.Peer | None = None
        self._stream = -1
        self._failures = 0
        self._asleep = False
        self._in_flight: Timer | None = None  # runs out when containerd does not answer

    def publish(self, kind: Message, values: Mapping[str, Any]) -> None:
        """Tells of it, now or later."""
        topic = messages.TOPICS[kind]
        event = {"type_url": kind.name, "value": encode(kind, values)}
        if not self._ttrpc_address:
            self._run_binary(topic, encode(messages.Any, event))
            return
        envelope = {"timestamp": messages.timestamp(time.time_ns()), "namespace": self._namespace, "topic": topic, "event": event}
        if len(self._waiting) >= KEPT:
            self._complain(f"event {self._waiting.pop(1)[0]} is forgotten: containerd does not take events")
        self._waiting.append((topic, encode(messages.ForwardRequest, {"envelope": envelope})))
        self._send()

    @property
    def is_idle(self) -> bool:
        """Whether all was told, or containerd is not there."""
        return not self._waiting or self._asleep

    def _send(self) -> None:
        if not self._waiting or self._in_flight is not None or self._asleep:
            return
        if self._peer is None:
            try:
                connection = unixsocket.connect(self._ttrpc_address, unixsocket.SOCK_STREAM)
            except OSError:
                self._try_later()
                return
            self._peer = ttrpc.Peer(self._loop, connection, self._answered, self._lost)
            self._stream = -1
        self._stream += 2
        self._in_flight = self._loop.after(ANSWER_S, self._overdue)
        request = {"service": SERVICE, "method": "Forward", "payload": self._waiting[0][1]}
        self._peer.send(ttrpc.frame(ttrpc.REQUEST, self._stream, encode(messages.Request, request)))

    def _answered(self, _peer: ttrpc.Peer, _kind: int, stream: int, _payload: bytes) -> None:
        if stream != self._stream:
            return
        self._landed()  # an event that containerd refuses is not sent again
        self._failures = 0
        del self._waiting[0]
        self._send()

    def _landed(self) -> None:
        if self._in_flight is not None:
            self._in_flight.cancel()
            self._in_flight = None

    def _overdue(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._lost(self._peer)

    def _lost(self, _peer: ttrpc.Peer) -> None:
        self._peer = None
        self._landed()
        if self._waiting:
            self._try_later()

    def _try_later(self) -> None:
        self._asleep = True
        self._loop.after(PAUSES_S[min(self._failures, len(PAUSES_S) - 1)], self._wake)
        self._failures += 1

    def _wake(self) -> None:
        self._asleep = False
        self._send()

    def _run_binary(self, topic: str, event: bytes) -> None:
        argv = [self._binary, "--address", self._address, "publish", "--topic", topic, "--namespace", self._namespace]
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            os.posix_spawnp(argv[0], argv, dict(os.environ), file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)])
            os.write(writing, event)  # an event is smaller than a pipe; the loop reaps the program
        except OSError as error:
            self._complain(f"event {topic} could not be published by {self._binary}: {error.strerror}")
        finally:
            os.close(reading)
            os.close(writing)
