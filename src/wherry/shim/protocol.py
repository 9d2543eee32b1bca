"""What wherryd, the zygote and the shims say to each other: values, and their form on the wire.

One message is one SOCK_SEQPACKET packet: a JSON object, where needed a NUL and raw bytes after it (what a client had
already sent on a connection that is handed over), and descriptors beside it. Sockets are the business of `client.py`
and `shim.py`; here are bytes and values only.

    wherryd                       zygote                 shim <id>                        runtime
       │ launch, [S, clients…]      │                       │                                │
       ├───────────────────────────►│ fork ────────────────►│ S is the shim's end of a       │
       │                            │                       │ socket pair made by wherryd    │
       │                            │                       ├─ create ──────────────────────►│
       │◄─ {"re": 0, pid, …}, [rtnetlink] on S ─────────────┤                                │
       │   (the network is attached)                        │                                │
       ├─ {"do": "start", "seq": 1} ───────────────────────►├─ start ───────────────────────►│ exec
       │◄─ {"re": 1} ───────────────────────────────────────┤                                │
       ├─ {"do": "exec" | "attach" | "signal" | …} ────────►│                                │
       │◄─ {"event": "exec-exited" | "attach-ended" | …} ───┤                                │
       │                                                    │ exit.json is on disk           │
       │◄─ {"event": "exited", …} ──────────────────────────┤                                │
       ├─ {"do": "release"} ───────────────────────────────►│ ends                           │

    after wherryd was restarted: connect to <run_folder>/shim.sock
       │◄─ {"re": 0, pid, started, execs, exited, …}, [rtnetlink] ┤

    namespace work:   wherryd ── netns | archive, [R, …] ──► zygote ── fork ──► child ── {"re": 0, …}, [fds] on R ──► wherryd

The zygote never answers: who was forked does, on the socket that came with the request. When it could not be forked, or
died, that socket closes without an answer. An answer is `{"re": n, …}` or `{"re": n, "error": {"kind", "message", "exit_code"}}`.
"""

from __future__ import annotations

from wherry import errors
from wherry.oci.jsontext import dumps, loads
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

VERSION: Final = 1
DETACH_KEYS: Final = b"\x10\x11"  # ctrl-p ctrl-q
BUILTIN: Final = "builtin"
SOCKET_NAME: Final = "shim.sock"
EXIT_NAME: Final = "exit.json"
MAX_PACKET: Final = 8 << 20


class StartFailed(errors.WherryError):
    """The container or the exec could not be made or started. `exit_code`: 125 the runtime, 126 not executable, 127 not found."""

    def __init__(self, message: str, *, exit_code: int = 125, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class LogOptions(Record):
    """Where the output is kept. `attributes` are the pairs that Docker's `labels` and `env` options put into each record."""

    driver: str = "json-file"  # or "none"
    path: str = ""
    max_size_bytes: int = -1  # -1: never rotated
    max_file: int = 1
    compress: bool = False
    attributes: tuple[tuple[str, str], ...] = ()


class AttachRequest(Record):
    """What a client's connection is to see. The connection's descriptor goes beside it and belongs to the shim from then on."""

    attach_id: str = ""  # comes back in AttachEnded
    exec_id: str = ""  # "": the container's own process
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False  # first what was logged so far
    stream: bool = True  # False: only that
    multiplex: bool = True  # stdcopy frames; what a terminal prints goes as stdout
    detach_keys: bytes = DETACH_KEYS  # b"": no detaching by keys
    early: bytes = b""  # what the client sent before the connection was handed over


class LaunchRequest(Record):
    """A container to be created from its bundle. `attach` is in place before the init runs."""

    id: str
    bundle: str  # folder with config.json
    run_folder: str  # exists; holds shim.sock, exit.json
    runtime: str = BUILTIN  # or the path of an OCI runtime
    runtime_args: tuple[str, ...] = ()
    runtime_root: str = ""  # folder of the runtime's state; "": <run_folder>/runtime
    systemd_cgroup: bool = False
    no_pivot: bool = False
    no_new_keyring: bool = False
    seccomp_cache: str = ""  # folder for compiled filters; "": none
    terminal: bool = False
    console_size: tuple[int, int] = (0, 0)  # height, width; 0: not set
    open_stdin: bool = False
    stdin_once: bool = False  # stdin is closed when the first client that had it is gone
    log: LogOptions = LogOptions()
    attach: tuple[tuple[AttachRequest, int], ...] = ()


class ParkRequest(Record):
    """A shim to be parked with a slot, for the next container that has nothing of its own but what a slot leaves open.

    `config` is the config.json of such a container. Its cgroup is made below `cgroup_parent`.
    """

    config: bytes
    cgroup_parent: str
    seccomp_cache: str = ""


class ExecRequest(Record):
    """A further process in the container. `process` is the runtime-spec's process object."""

    exec_id: str
    process: dict[str, Any]
    terminal: bool = False
    console_size: tuple[int, int] = (0, 0)
    open_stdin: bool = False
    attach: tuple[tuple[AttachRequest, int], ...] = ()


class SocketRequest(Record):
    """A socket to be opened in a network namespace. `address` is an IP address and a port, or None to leave it unbound."""

    family: int
    kind: int
    protocol: int = 0
    address: tuple[str, int] | None = None
    backlog: int = 0  # >0: listen


class NetnsRequest(Record):
    """Work inside a network namespace: sockets first, then one nft transaction.

    `nft` may use `$port0`, `$port1` …: the ports that the sockets got, in the order of `sockets`.
    """

    nft: str = ""
    sockets: tuple[SocketRequest, ...] = ()


class Exited(Record):
    """A process has ended, all its output was delivered. `code` as Docker reports it (128 + n for a signal n)."""

    code: int
    at_ns: int  # since the epoch
    exec_id: str = ""  # "": the container
    signalled: bool = False
    oom: bool = False


class AttachEnded(Record):
    """A client's connection was closed; `detached`: by its detach keys, before the process ended."""

    attach_id: str
    exec_id: str = ""
    detached: bool = False


class LogFailed(Record):
    """Output is missing from the log because it could not be written (disk full, say). Told once per failing spell."""

    message: str


class OutOfMemory(Record):
    """The kernel has killed a process of the running container for lack of memory."""

    at_ns: int


class Lost(Record):
    """The shim is gone without having reported the container's exit: its process may still run without anyone to reap it."""


class ExecState(Record):
    """An exec that the shim knows: running (`exited` None) or ended and not yet forgotten."""

    exec_id: str
    pid: int
    exited: Exited | None = None


class Hello(Record):
    """The shim's first word on a connection: all it knows."""

    id: str
    pid: int
    shim_pid: int
    start_time: int  # of the init, clock ticks since boot: with the pid it names a process for good
    started: bool = False
    exited: Exited | None = None
    execs: tuple[ExecState, ...] = ()
    parked_pid: int = 0
    version: int = VERSION


if TYPE_CHECKING:
    ShimEvent = Exited | AttachEnded | LogFailed | OutOfMemory | Lost

EVENTS: Final[dict[str, type[Record]]] = {
    "exited": Exited,
    "attach-ended": AttachEnded,
    "log-failed": LogFailed,
    "out-of-memory": OutOfMemory,
}


def pack(body: dict[str, Any], raw: bytes = b"") -> bytes:
    """The packet of a message. Raises InvalidArgument when it is too long for one packet."""
    packet = dumps(body).encode("utf-8", "surrogatepass")
    if raw:
        packet += b"\0" + raw
    if len(packet) > MAX_PACKET:
        raise errors.InvalidArgument(f"message to the shim is too long: {len(packet)} bytes")
    return packet


def unpack(packet: bytes) -> tuple[dict[str, Any], bytes]:
    """The body and the raw bytes of a packet. Raises InvalidArgument for anything that is not a message."""
    text, _, raw = packet.partition(b"\0")
    try:
        body = loads(text.decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise errors.InvalidArgument(f"message of the shim's protocol is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise errors.InvalidArgument("message of the shim's protocol is not a JSON object")
    return body, raw


def plain(value: object) -> Any:
    """A value as JSON has it: records are objects, bytes are text of the same code points."""
    match value:
        case Record():
            return {name: plain(one) for name, one in value.as_dict().items()}
        case bytes():
            return value.decode("latin-1")
        case tuple() | list():
            return [plain(one) for one in value]
        case dict():
            return {name: plain(one) for name, one in value.items()}
        case _:
            return value


def _with_clients(request: LaunchRequest | ExecRequest) -> tuple[dict[str, Any], bytes, tuple[int, ...]]:
    """The body without descriptors and early bytes, the early bytes in a row, the descriptors in the same order."""
    clients = [(attach_body(attach), attach.early, fd) for attach, fd in request.attach]
    body = plain(request.replace(attach=()))
    body["attach"] = [one for one, _, _ in clients]
    return body, b"".join(early for _, early, _ in clients), tuple(fd for _, _, fd in clients)


def launch_message(request: LaunchRequest) -> tuple[bytes, tuple[int, ...]]:
    """The packet for the zygote and the clients' descriptors (the shim's own end of its socket pair comes before them)."""
    body, early, fds = _with_clients(request)
    return pack({"do": "launch", **body}, early), fds


def park_message(request: ParkRequest) -> bytes:
    """The packet for the zygote."""
    return pack({"do": "park", **plain(request.replace(config=b""))}, request.config)


def exec_message(request: ExecRequest, seq: int) -> tuple[bytes, tuple[int, ...]]:
    """The packet for the shim and the clients' descriptors."""
    body, early, fds = _with_clients(request)
    return pack({"do": "exec", "seq": seq, **body}, early), fds


def attach_body(request: AttachRequest) -> dict[str, Any]:
    """An attach request as an object, with the length of the early bytes in their place."""
    body: dict[str, Any] = plain(request.replace(early=b""))
    body["early"] = len(request.early)
    return body


def read_attach(body: dict[str, Any], early: bytes = b"") -> AttachRequest:
    """The attach request of `attach_body`, with its early bytes."""
    return AttachRequest(**{**body, "detach_keys": body["detach_keys"].encode("latin-1"), "early": early})


def read_clients(body: dict[str, Any], raw: bytes, fds: tuple[int, ...]) -> tuple[tuple[AttachRequest, int], ...]:
    """The clients of a launch or exec message. Raises InvalidArgument when there are not as many descriptors as clients."""
    if len(body["attach"]) != len(fds):
        raise errors.InvalidArgument(f"{len(body['attach'])} connections were announced, {len(fds)} came")
    clients, at = [], 0
    for one, fd in zip(body["attach"], fds, strict=True):
        clients.append((read_attach(one, raw[at : at + one["early"]]), fd))
        at += one["early"]
    return tuple(clients)


def read_launch(body: dict[str, Any], raw: bytes, fds: tuple[int, ...]) -> LaunchRequest:
    """The request of a launch message."""
    values = {name: value for name, value in body.items() if name not in ("do", "seq")}
    log = body["log"]
    values["log"] = LogOptions(**{**log, "attributes": tuple((name, value) for name, value in log["attributes"])})
    values["console_size"] = (body["console_size"][0], body["console_size"][1])
    values["runtime_args"] = tuple(body["runtime_args"])
    values["attach"] = read_clients(body, raw, fds)
    return LaunchRequest(**values)


def read_park(body: dict[str, Any], raw: bytes) -> ParkRequest:
    """The request of a park message."""
    return ParkRequest(config=raw, cgroup_parent=body["cgroup_parent"], seccomp_cache=body["seccomp_cache"])


def read_exec(body: dict[str, Any], raw: bytes, fds: tuple[int, ...]) -> ExecRequest:
    """The request of an exec message."""
    values = {name: value for name, value in body.items() if name not in ("do", "seq")}
    values["console_size"] = (body["console_size"][0], body["console_size"][1])
    values["attach"] = read_clients(body, raw, fds)
    return ExecRequest(**values)


def read_netns(body: dict[str, Any]) -> NetnsRequest:
    """The request of a netns message."""
    return NetnsRequest(
        nft=body["nft"],
        sockets=tuple(
            SocketRequest(**{**one, "address": tuple(one["address"]) if one["address"] else None}) for one in body["sockets"]
        ),
    )


def read_exited(body: dict[str, Any] | None) -> Exited | None:
    """An exit as it stands in messages and in the exit file; None stays None."""
    return None if body is None else Exited(**{name: body[name] for name in Exited._fields})


def read_hello(body: dict[str, Any]) -> Hello:
    """The shim's first answer."""
    values = {name: value for name, value in body.items() if name != "re"}
    values["exited"] = read_exited(body["exited"])
    values["execs"] = tuple(
        ExecState(exec_id=one["exec_id"], pid=one["pid"], exited=read_exited(one["exited"])) for one in body["execs"]
    )
    return Hello(**values)


def event_message(event: ShimEvent) -> bytes:
    """The packet of an event."""
    kind = next(name for name, value in EVENTS.items() if isinstance(event, value))
    return pack({"event": kind, **plain(event)})


def read_event(body: dict[str, Any]) -> ShimEvent:
    """The event of a message. Raises InvalidArgument for an event nobody knows."""
    kind = EVENTS.get(body["event"])
    if kind is None:
        raise errors.InvalidArgument(f"event {body['event']!r} is not part of the shim's protocol")
    values = {name: value for name, value in body.items() if name != "event"}
    return kind(**values)  # type: ignore[return-value]


def error_body(error: BaseException) -> dict[str, Any]:
    """An error as answers carry it."""
    known = isinstance(error, errors.WherryError)
    if isinstance(error, OSError) and not known:
        return {"kind": "OSError", "message": str(error), "exit_code": 0, "errno": error.errno or 0}
    kind = next((one.__name__ for one in type(error).__mro__ if one is StartFailed or hasattr(errors, one.__name__)), "Internal")
    code = getattr(error, "exit_code", None)
    if isinstance(code, int) and known:
        kind = "StartFailed"
    return {
        "kind": kind if known else "Internal",
        "message": str(error) if known else f"{type(error).__name__}: {error}",
        "exit_code": code if isinstance(code, int) else 0,
    }


def read_error(body: dict[str, Any]) -> Exception:
    """The exception of an answer's error, to be raised by who asked."""
    kind, message = body["kind"], body["message"]
    if kind == "StartFailed":
        return StartFailed(message, exit_code=body["exit_code"])
    if kind == "OSError":
        return OSError(body["errno"], message)
    known = getattr(errors, kind, errors.Internal)
    return known(message) if isinstance(known, type) and issubclass(known, errors.WherryError) else errors.Internal(message)
