"""containerd's API twice, on the real containerd and on wherryd: one Python client makes the same calls on both and compares."""

from __future__ import annotations

import contextlib
import importlib
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from real_containerd import COLLECTS_WHEN_ASKED, containerd
from wherryd_box import PROGRAM

from wherry.proto.method import Method, methods
from wherry.proto.services import events_pb2 as events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from google.protobuf.message import Message

    from wherry.proto.services.events_pb2 import Envelope

PATIENCE_S = 60.0
OURS_COLLECTS_WHEN_ASKED = ("--containerd-gc=startup_delay=1h", "--containerd-gc=mutation_threshold=1000000")  # as the real one here
Answer = tuple[str, str, Any]
"""The code's name, the text, and the answer as a dictionary (a list of them of a stream)."""

_METHODS: dict[str, Method] = {}
for _module in ("containers", "content", "diff", "events", "images", "introspection", "leases", "namespaces", "sandbox",
                "snapshots", "streaming", "tasks", "transfer", "version"):
    for _service in importlib.import_module(f"wherry.proto.services.{_module}_pb2").DESCRIPTOR.services_by_name.values():
        for _method in methods(_service):
            _METHODS[f"{_service.name}.{_method.name}"] = _method


class Side:
    """One server, by its socket."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.channel = grpc.insecure_channel(f"unix:{socket}")

    def call(self, name: str, request: Message | bytes | Sequence[Message] = b"", namespace: str = "test", **metadata: str) -> Answer:
        """`Images.Get`: what is answered. Several messages are sent as a stream. `namespace` "": none is sent."""
        sent = [(key.replace("_", "-"), value) for key, value in metadata.items()]
        if namespace:
            sent.append(("containerd-namespace", namespace))
        method = _METHODS[name]
        answers: list[Message] = []
        try:
            answers.extend(self._answers(method, request, sent))
        except grpc.RpcError as error:
            return error.code().name, error.details(), [dictionary(one) for one in answers]
        found = [dictionary(one) for one in answers]
        return "OK", "", found if method.server_streams else found[0]

    def message(self, name: str, request: Message, namespace: str = "test") -> Any:
        """The answer itself of a call that is answered."""
        (answer,) = self._answers(_METHODS[name], request, [("containerd-namespace", namespace)])
        return answer

    def stream(self, name: str, request: Message) -> Any:
        """The messages of a stream as they come; `cancel` ends it."""
        method = _METHODS[name]
        return self.channel.unary_stream(method.path, method.request.SerializeToString, method.response.FromString)(request)

    def open(self, name: str, request: Any, namespace: str) -> Any:
        """A call that goes on: a stream both ways, or the future of an answer; `cancel` ends it."""
        method = _METHODS[name]
        coders = (method.path, method.request.SerializeToString, method.response.FromString)
        metadata = [("containerd-namespace", namespace)]
        if method.client_streams:
            return self.channel.stream_stream(*coders)(request, metadata=metadata)
        return self.channel.unary_unary(*coders).future(request, metadata=metadata)

    def ctr(self, *words: str, code: int | None = 0, data: bytes | None = None, namespace: str = "of-ctr") -> str:
        """What the real ctr prints (both outputs) on this server."""
        done = subprocess.run(["ctr", "-a", self.socket, "-n", namespace, *words], input=data, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE_S)
        text = done.stdout.decode(errors="replace")
        assert (done.returncode == 0) == (code == 0) or code is None, (words, text)
        return text

    def _answers(self, method: Method, request: Any, metadata: list[tuple[str, str]]) -> Iterator[Message]:
        def encode(message: Message | bytes) -> bytes:
            return message if isinstance(message, bytes) else message.SerializeToString()

        decode = method.response.FromString
        options: dict[str, Any] = {"metadata": metadata, "timeout": PATIENCE_S, "wait_for_ready": True}
        if method.client_streams:
            yield from self.channel.stream_stream(method.path, encode, decode)(iter(request), **options)
        elif method.server_streams:
            yield from self.channel.unary_stream(method.path, encode, decode)(request, **options)
        else:
            yield self.channel.unary_unary(method.path, encode, decode)(request, **options)


class Ours(Side):
    """wherryd with containerd's API alone."""

    def __init__(self, folder: Path, *flags: str, program: Sequence[str] = PROGRAM) -> None:
        self.folder = folder
        self._program, self._flags = program, flags
        self.process: subprocess.Popen[bytes]
        self.start()
        super().__init__(str(folder / "containerd.sock"))

    def start(self) -> None:
        """Starts it (again), and waits until its socket is there."""
        path = self.folder / "containerd.sock"
        path.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*self._program, "--no-docker-api", "--containerd-address", str(path), "--data-root",
                                             str(self.folder / "data"), "--exec-root", str(self.folder / "run"), "--pidfile",
                                             str(self.folder / "pid"), *self._flags], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def log(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]


@contextlib.contextmanager
def ours(*flags: str, program: Sequence[str] = PROGRAM) -> Iterator[Ours]:
    """A wherryd for a test."""
    with tempfile.TemporaryDirectory(prefix="wherry-api-", dir="/var/tmp") as folder:
        one = Ours(Path(folder), *flags, program=program)
        try:
            yield one
        finally:
            one.channel.close()
            if one.process.poll() is None:
                one.stop()


class Pair:
    """Both servers."""

    def __init__(self, real: Side, wherry: Ours) -> None:
        self.real, self.wherry = real, wherry

    def same(self, name: str, request: Any = b"", namespace: str = "test", *, ignoring: str = "", **metadata: str) -> Answer:
        """Makes the call on both; the answers are the same but for moments and what `ignoring` (a pattern of field names) says."""
        theirs = self.real.call(name, request, namespace, **metadata)
        mine = self.wherry.call(name, request, namespace, **metadata)
        assert plain(mine, ignoring) == plain(theirs, ignoring), (name, request, mine, theirs, self.wherry.log())
        return mine

    def ctr(self, *words: str, code: int | None = 0, data: bytes | None = None) -> str:
        """The real ctr on both prints the same, moments and durations aside."""
        theirs = self.real.ctr(*words, code=code, data=data)
        mine = self.wherry.ctr(*words, code=code, data=data)
        assert timeless(mine) == timeless(theirs), words
        return mine


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """The real containerd and wherryd, both empty but for the real one's namespace `default`."""
    with containerd(settings=COLLECTS_WHEN_ASKED) as real, ours(*OURS_COLLECTS_WHEN_ASKED) as wherry:
        yield Pair(Side(real.socket), wherry)


def told(side: Side, filters: Sequence[str], do: Callable[[Side], None], namespace: str, last: str) -> list[Envelope]:
    """The events of a namespace that a subscription with filters is given while something is done, up to the topic `last`."""
    wanted = (*filters, 'topic=="/begin"', f'topic=="{last}"') if filters else ()
    envelopes = side.stream("Events.Subscribe", events.SubscribeRequest(filters=wanted))
    begun, found = threading.Event(), []

    def listen() -> None:
        for one in envelopes:
            if one.topic == "/begin":
                begun.set()
            elif one.namespace == namespace:
                found.append(one)
                if one.topic == last:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not begun.wait(0.02):  # nothing else says that a subscription has begun
        assert time.monotonic() < deadline
        side.call("Events.Publish", events.PublishRequest(topic="/begin", event=AnyMessage(type_url="any")), namespace)
    do(side)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    envelopes.cancel()
    return found


def dictionary(message: Message) -> dict[str, Any]:
    """The fields that are set, by name; moments and packed values as the messages that they are."""
    found: dict[str, Any] = {}
    for described, value in message.ListFields():
        if described.message_type is not None and described.message_type.GetOptions().map_entry:
            packed = described.message_type.fields_by_name["value"].message_type is not None
            found[described.name] = {key: dictionary(one) if packed else one for key, one in value.items()}
        elif described.message_type is None:
            found[described.name] = list(value) if described.is_repeated else value
        else:
            found[described.name] = [dictionary(one) for one in value] if described.is_repeated else dictionary(value)
    return found


def plain(value: Any, ignoring: str) -> Any:
    """Without moments, and lists in one order."""
    if isinstance(value, dict):
        return {key: "…" if re.fullmatch(f".*_at|timestamp|{ignoring}", key) else plain(one, ignoring) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, ignoring) for one in value]
    return value


def timeless(text: str) -> list[str]:
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|Less than a second|(About )?[\da]+(\.\d+)? (milli|micro)?(second|minute)s?|"
                  r"(\d+m)?[\d.]+ ?[mµn]?s\b", "MOMENT", text)
    return sorted(re.sub(r"[ \t]+", " ", text).splitlines())  # Go goes through maps in a random order
