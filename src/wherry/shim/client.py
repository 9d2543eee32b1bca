"""The daemon's side of the zygote and the shims, for asyncio.

    zygote = await Zygote.start("/run/wherry")
    shim = await zygote.launch(LaunchRequest(id=…, bundle=…, run_folder=…))     created, waits
    shim.on_event = print                                                      nothing is missed: events wait for it
    await shim.start()                                                         StartFailed(exit_code 126 | 127 | …)
    …                                                                          Exited(code=0, …)
    await shim.release()

After a restart of the daemon: `await Shim.connect(run_folder)`; where no shim answers (NotFound), `read_exit(run_folder)`
has what it left behind. What runs in the zygote and in the shims is in the other modules of this room.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
from termios import FIONREAD
from typing import TYPE_CHECKING, Any

from wherry import errors
from wherry.shim import protocol
from wherry.shim.exitfile import read_exit
from wherry.shim.interface import ContainerShim, Launcher
from wherry.shim.protocol import (
    AttachEnded,
    AttachRequest,
    ExecRequest,
    ExecState,
    Exited,
    LaunchRequest,
    LogFailed,
    LogOptions,
    Lost,
    NetnsRequest,
    OutOfMemory,
    ParkRequest,
    SocketRequest,
    StartFailed,
)
from wherry.shim.spawn import spawn_zygote

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AttachEnded",
    "AttachRequest",
    "ExecRequest",
    "ExecState",
    "Exited",
    "LaunchRequest",
    "LogFailed",
    "LogOptions",
    "Lost",
    "NetnsRequest",
    "OutOfMemory",
    "ParkRequest",
    "Shim",
    "SocketRequest",
    "StartFailed",
    "Zygote",
    "read_exit",
]

_MAX_FDS = 253  # SCM_MAX_FD, unix(7)
_SO_SNDBUFFORCE = 32


def _roomy(end: socket.socket) -> socket.socket:
    """Lets a socket carry packets up to the protocol's limit (a packet may not be longer than the send buffer, unix(7))."""
    end.setblocking(False)
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, protocol.MAX_PACKET)
    except PermissionError:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, protocol.MAX_PACKET)
    return end


async def _send(end: socket.socket, packet: bytes, fds: Sequence[int] = ()) -> None:
    """Sends one packet with descriptors. Raises OSError (EPIPE, ECONNRESET) when nobody listens any more."""
    if len(fds) > _MAX_FDS:
        raise errors.InvalidArgument(f"{len(fds)} connections are more than fit into one message ({_MAX_FDS})")
    while True:
        try:
            socket.send_fds(end, [packet], list(fds))
        except BlockingIOError:
            with os.fdopen(os.dup(end.fileno())) as copy:  # the socket itself has a reader, and loops know one entry per number
                await _ready(copy.fileno(), for_writing=True)
        else:
            return


async def _ready(fd: int, *, for_writing: bool = False) -> None:
    """Waits until something can be read from the descriptor, or written to it."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    (loop.add_writer if for_writing else loop.add_reader)(fd, tell)
    try:
        await ready
    finally:
        (loop.remove_writer if for_writing else loop.remove_reader)(fd)


def _receive(end: socket.socket) -> tuple[bytes, list[int]]:
    """One packet and its descriptors; no bytes at the end. Raises BlockingIOError, ConnectionResetError."""
    waiting = fcntl.ioctl(end, FIONREAD, b"\0\0\0\0")  # all packets together, unix(7): enough for the first
    packet, fds, flags, _ = socket.recv_fds(
        end, max(int.from_bytes(waiting, sys.byteorder), 1 << 12), _MAX_FDS, socket.MSG_CMSG_CLOEXEC
    )
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise errors.Internal("message of a shim was cut short")
    return packet, fds


async def _answer(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The one answer that comes on a socket made for it; `Unavailable` when it closes without one. Errors are raised."""
    while True:
        try:
            packet, fds = _receive(end)
            break
        except BlockingIOError:
            await _ready(end.fileno())
        except ConnectionResetError:
            packet, fds = b"", []
            break
    if not packet:
        raise errors.Unavailable("the process that was to answer has ended")
    body, _ = protocol.unpack(packet)
    if "error" in body:
        raise protocol.read_error(body["error"])
    return body, fds


async def _end(parked: socket.socket) -> None:
    """Ends a parked shim, and waits until its slot is gone."""
    parked.shutdown(socket.SHUT_WR)
    try:
        await _answer(parked)
    except errors.Unavailable:
        pass
    finally:
        parked.close()


class Zygote(Launcher):
    """The parked process that shims are forked from. It is started again when it has died; running shims are not touched."""

    def __init__(self, run_folder: str) -> None:
        self._run_folder = run_folder
        self._control: socket.socket | None = None
        self._pid = 0
        self._gone: asyncio.Future[int] | None = None
        self._parked: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The process, 0 when there is none at the moment."""
        return self._pid

    @classmethod
    async def start(cls, run_folder: str) -> Zygote:
        """Executes the zygote. Returns at once: it takes messages as soon as it is up."""
        zygote = cls(run_folder)
        zygote._spawn()
        return zygote

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._pid = spawn_zygote(theirs.fileno())
        self._control = _roomy(ours)
        loop = asyncio.get_running_loop()
        self._gone = loop.create_future()
        pidfd = os.pidfd_open(self._pid)
        loop.add_reader(pidfd, self._reap, loop, self._pid, pidfd, self._gone, ours)

    def _reap(
        self, loop: asyncio.AbstractEventLoop, pid: int, pidfd: int, gone: asyncio.Future[int], control: socket.socket
    ) -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        status = os.waitpid(pid, 0)[1]
        control.close()
        if self._pid == pid:
            self._pid, self._control = 0, None
        gone.set_result(os.waitstatus_to_exitcode(status))

    async def _ask(self, packet: bytes, fds: Sequence[int]) -> tuple[dict[str, Any], list[int], socket.socket]:
        """Sends a request with a socket for its answer; the answer, its descriptors, the socket. Again if the zygote had died."""
        last = False
        while True:
            if self._control is None:
                self._spawn()
            gone = self._gone
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with theirs:
                    assert self._control is not None
                    await _send(self._control, packet, (theirs.fileno(), *fds))
                body, got = await _answer(_roomy(ours))
            except (BrokenPipeError, ConnectionResetError, errors.Unavailable) as error:
                ours.close()
                dead = gone is not None and (gone.done() or isinstance(error, OSError) or await self._died(gone))
                if last or not dead:
                    raise errors.Unavailable(f"the zygote's child ended without an answer: {error}") from error
                last = True
                if gone is not None:
                    await gone
            except BaseException:
                ours.close()
                raise
            else:
                return body, got, ours

    @staticmethod
    async def _died(gone: asyncio.Future[int]) -> bool:
        """Whether the zygote itself ends now: its sockets close a moment before it can be reaped."""
        done, _ = await asyncio.wait([gone], timeout=0.2)
        return bool(done)

    async def launch(self, request: LaunchRequest, *, in_slot: bool = False) -> Shim:
        """Creates a container under a new shim; `in_slot`: under one that is parked, if there is one.

        The slot pays for a container that is like the config of `park`. Raises what the interface says.
        """
        packet, fds = protocol.launch_message(request)
        body, got, control = (await self._ask_parked(packet, fds) if in_slot else None) or await self._ask(packet, fds)
        for fd in fds:
            os.close(fd)
        return Shim(control, protocol.read_hello(body), got)

    async def connect(self, run_folder: str) -> Shim:
        """The shim that answers there."""
        return await Shim.connect(run_folder)

    async def park(self, request: ParkRequest) -> None:
        """Has a shim parked, unless one is; returns when it can be taken. Not for two callers at the same time.

        Raises the reason why there can be none; Unavailable, OSError.
        """
        if self._parked is None:
            _, _, self._parked = await self._ask(protocol.park_message(request), ())

    async def _ask_parked(self, packet: bytes, fds: Sequence[int]) -> tuple[dict[str, Any], list[int], socket.socket] | None:
        """As `_ask`, of the shim that is parked; None where there is none, or it has ended."""
        parked, self._parked = self._parked, None
        if parked is None:
            return None
        try:
            await _send(parked, packet, fds)
            body, got = await _answer(parked)
        except (BrokenPipeError, ConnectionResetError, errors.Unavailable):
            parked.close()
            return None
        except BaseException:
            parked.close()
            raise
        return body, got, parked

    async def launch_tasks(self, arguments: Sequence[str], listener_fd: int) -> int:
        """A shim with containerd's front, on a socket that listens already; its pid. `arguments`: `containerd.server.serve`'s.

        Raises Unavailable, OSError.
        """
        body, _, control = await self._ask(protocol.pack({"do": "tasks", "arguments": list(arguments)}), (listener_fd,))
        control.close()
        return int(body["pid"])

    async def in_network_namespace(self, request: NetnsRequest, netns_fd: int) -> list[int]:
        """Opens sockets and applies an nft text inside a network namespace; the sockets' descriptors, which are the caller's.

        Raises OSError (errno of the call that failed), InvalidArgument (nft refused the text), Unavailable.
        """
        body, got, control = await self._ask(protocol.pack({"do": "netns", **protocol.plain(request)}), (netns_fd,))
        control.close()
        if body.get("sockets", 0) != len(got):
            raise errors.Internal(f"{len(request.sockets)} sockets were asked for, {len(got)} came")
        return got

    async def close(self) -> None:
        """Ends the zygote and waits for it."""
        control, gone, parked = self._control, self._gone, self._parked
        self._control = self._parked = None
        if parked is not None:
            await _end(parked)
        if control is not None:
            control.shutdown(socket.SHUT_RDWR)
        if gone is not None:
            await gone


class Shim(ContainerShim):
    """A connection to one container's shim."""

    def __init__(self, control: socket.socket, hello: protocol.Hello, fds: Sequence[int]) -> None:
        super().__init__(hello, fds[0] if fds else None)
        self._control = control
        self._seq = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._closed = False
        self._ends_silently = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(control, self._readable)

    @classmethod
    async def connect(cls, run_folder: str) -> Shim:
        """Takes over the shim of a container. Raises NotFound when none answers there: then `read_exit` has what it left."""
        folder = os.open(run_folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        end = _roomy(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        try:
            end.connect(f"/proc/self/fd/{folder}/{protocol.SOCKET_NAME}")  # a socket's path is 107 bytes at most, unix(7)
            body, fds = await _answer(end)
        except (FileNotFoundError, ConnectionError, errors.Unavailable) as error:
            end.close()
            raise errors.NotFound(f"no shim answers in {run_folder}: {error}") from error
        except BaseException:
            end.close()
            raise
        finally:
            os.close(folder)
        return cls(end, protocol.read_hello(body), fds)

    def _readable(self) -> None:
        while not self._closed:
            try:
                packet, fds = _receive(self._control)
            except BlockingIOError:
                return
            except OSError:
                packet, fds = b"", []
            for fd in fds:
                os.close(fd)
            if not packet:
                self._end()
                return
            body, _ = protocol.unpack(packet)
            if body.get("event") == "parked":
                self.parked_pid = body["pid"]
                continue
            if "event" in body:
                self._tell(protocol.read_event(body))
                continue
            waiting = self._waiting.pop(body["re"], None)
            if waiting is None or waiting.done():
                continue
            if "error" in body:
                waiting.set_exception(protocol.read_error(body["error"]))
            else:
                waiting.set_result(body)

    def _end(self) -> None:
        """The connection is over."""
        self._closed = True
        self._loop.remove_reader(self._control)
        self._control.close()
        if self.rtnetlink_fd is not None:
            os.close(self.rtnetlink_fd)
            self.rtnetlink_fd = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(errors.Unavailable(f"the shim of container {self.id} has ended"))
        self._waiting.clear()
        if self.exited is None and not self._ends_silently:
            self._tell(Lost())

    async def _order(self, what: str, *, fds: Sequence[int] = (), packet: bytes | None = None, **values: Any) -> dict[str, Any]:
        """Sends an order and waits for its answer. Raises what the shim answers, and Unavailable when it is gone."""
        if self._closed:
            raise errors.Unavailable(f"the shim of container {self.id} has ended")
        if packet is None:
            self._seq += 1
            packet = protocol.pack({"do": what, "seq": self._seq, **values})
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        seq = self._seq
        self._waiting[seq] = answer
        try:
            await _send(self._control, packet, fds)
            return await answer
        except (BrokenPipeError, ConnectionResetError) as error:
            raise errors.Unavailable(f"the shim of container {self.id} has ended") from error
        finally:
            self._waiting.pop(seq, None)

    async def start(self) -> None:
        """Has the shim start it; a failed start is the shim's end, told by its error alone."""
        self._ends_silently = True
        try:
            await self._order("start")
        except errors.Conflict:
            self._ends_silently = False
            raise
        except Exception:
            self.close()
            raise
        self._ends_silently = False
        if self._closed and self.exited is None:
            self._tell(Lost())
        self.started = True

    async def exec(self, request: ExecRequest) -> int:
        """Hands the clients over with the order."""
        self._seq += 1
        packet, fds = protocol.exec_message(request, self._seq)
        body = await self._order("exec", packet=packet, fds=fds)
        for fd in fds:
            os.close(fd)
        return int(body["pid"])

    async def forget(self, exec_id: str) -> None:
        """Has the shim forget it."""
        await self._order("forget", exec_id=exec_id)

    async def signal(self, number: int, exec_id: str = "", everyone: bool = False) -> None:
        """Has the shim send it."""
        await self._order("signal", number=number, exec_id=exec_id, everyone=everyone)

    async def resize(self, height: int, width: int, exec_id: str = "") -> None:
        """Has the shim set it."""
        await self._order("resize", height=height, width=width, exec_id=exec_id)

    async def attach(self, request: AttachRequest, connection_fd: int) -> None:
        """Hands a client's connection over."""
        self._seq += 1
        packet = protocol.pack({"do": "attach", "seq": self._seq, "attach": [protocol.attach_body(request)]}, request.early)
        await self._order("attach", packet=packet, fds=(connection_fd,))
        os.close(connection_fd)

    async def close_stdin(self, exec_id: str = "") -> None:
        """Has the shim close it."""
        await self._order("close-stdin", exec_id=exec_id)

    async def release(self) -> None:
        """Lets the shim end, now or when its clients have everything."""
        self._ends_silently = True
        try:
            await self._order("release")
        except errors.Unavailable:
            pass
        except BaseException:
            self._ends_silently = False
            raise
        self.close()

    def close(self) -> None:
        """Gives up the connection; the shim goes on."""
        self._ends_silently = True
        if not self._closed:
            self._end()
