"""Creates a container in a child that ends, so that what was read and planned for it does not stay in the shim's memory.

The interpreter gives little of freed memory back: specification and plan would leave 2 MB of holes in each shim. The child is
forked, creates the container, hands over what the shim needs to go on, and ends; the shim is the subreaper, so that the init
is the shim's child from then on:

    shim ──fork──▶ maker ──clone3──▶ init
         ◀─ pid; pidfd, channel, … ──┘ ends
"""

from __future__ import annotations

import _signal
import _socket
import os

from wherry.linux import unixsocket
from wherry.runtime import container, state
from wherry.runtime.create import read_config
from wherry.shim import packets, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

SIGCHLD: Final = 17
_TAKEN: Final = ("pidfd", "rtnetlink", "console")


def create(request: container.CreateRequest) -> container.Init:
    """`container.create`, with its errors, for a caller that is a subreaper: the init is its child."""
    ours, theirs = unixsocket.pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _make(request, theirs)
    theirs.close()
    try:
        packet, fds = packets.receive(ours)
    finally:
        ours.close()
    os.waitpid(pid, 0)  # with its end the init is ours
    if not packet:
        raise container.StartFailed("unable to start container process: the process that creates it was killed")
    body, _ = protocol.unpack(packet)
    if "error" in body:
        error = protocol.read_error(body["error"])
        raise container.StartFailed(str(error), error.exit_code) if isinstance(error, protocol.StartFailed) else error
    return _init(request, body, fds)


def _make(request: container.CreateRequest, connection: _socket.socket) -> NoReturn:
    """The child: the answer holds the init, or why there is none."""
    code = 1
    try:
        _signal.set_wakeup_fd(-1)
        _signal.signal(SIGCHLD, 0)
        try:
            config = read_config(os.path.abspath(request.bundle))
            init = container.create(request.replace(config=config))
        except Exception as error:  # noqa: BLE001 (the boundary of the process: the shim is told)
            unixsocket.send(connection, protocol.pack({"error": protocol.error_body(error)}))
        else:
            _hand_over(init, bool(config.hooks.poststart), connection)
            code = 0
    finally:
        os._exit(code)


def _hand_over(init: container.Init, has_hooks: bool, connection: _socket.socket) -> None:
    assert init.channel is not None
    given = {name: getattr(init, name) for name in _TAKEN if getattr(init, name) is not None}
    body = {
        "pid": init.pid,
        "start_time": init.start_time,
        "ready": init.ready,
        "fds": list(given),
        "has_hooks": has_hooks,
    }
    unixsocket.send(connection, protocol.pack(body), (init.channel.fileno(), *given.values()))


def _init(request: container.CreateRequest, body: dict[str, Any], fds: list[int]) -> container.Init:
    """The init in the shim's hands."""
    given = dict(zip(body["fds"], fds[1:], strict=True))
    init = container.Init(body["pid"], given["pidfd"], body["start_time"])
    init.channel = _socket.socket(fileno=fds[0])
    init.rtnetlink = given.get("rtnetlink")
    init.console = given.get("console")
    init.ready = body["ready"]
    init.on_started = lambda: _started(request.root, request.id, body["has_hooks"])
    return init


def _started(root: str, container_id: str, has_hooks: bool) -> None:
    """Exec has happened: the state says so, and the poststart hooks run."""
    os.unlink(f"{state.folder(root, container_id)}/waiting")
    if has_hooks:
        from wherry.oci.runtime import State
        from wherry.runtime.hooks import run_hooks

        saved = container.load(root, container_id).saved
        told = State(id=saved.id, status="running", pid=saved.pid, bundle=saved.bundle, annotations=saved.annotations)
        run_hooks("poststart", saved.poststart, told)
