"""Sockets to the daemon: Unix, TCP, TLS, and the pipe of an `ssh` program."""

from __future__ import annotations

import os

from wherry.errors import Unavailable
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.http import Socket

AF_UNIX, SOCK_STREAM = 1, 1
SOCK_CLOEXEC = 0o2000000


class TlsFiles(Record):
    """Paths of PEM files, empty where not used; `verify` checks the server's certificate."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True


class Endpoint(Record):
    """Where the daemon is. `url` is as the user wrote it; `is_default` when nobody chose it."""

    url: str
    tls: TlsFiles | None = None
    is_default: bool = False
    base_path: str = ""

    @property
    def kind(self) -> str:
        """What stands before `://`: `unix`, `tcp`, `ssh`."""
        return self.url.partition("://")[0]

    @property
    def address(self) -> str:
        """What stands behind `://`."""
        return self.url.partition("://")[2]

    @property
    def host_header(self) -> str:
        """The Host header: the address of a TCP daemon, a name that no proxy knows otherwise."""
        return self.address.partition("/")[0] if self.kind in ("tcp", "http", "https") else "api.moby.localhost"


def connect(endpoint: Endpoint) -> Socket:
    """An open stream to the daemon. Raises OSError, Unavailable."""
    if endpoint.kind == "unix":
        return _unix(endpoint.address)
    if endpoint.kind in ("tcp", "http", "https"):
        return _tcp(endpoint)
    if endpoint.kind == "ssh":
        return _ssh(endpoint.url)
    raise Unavailable(f"protocol not available: {endpoint.kind}")


def _unix(path: str) -> Socket:
    from _socket import socket

    one = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
    try:
        one.connect(path)
    except OSError:
        one.close()
        raise
    return one


def split_address(address: str, port: int) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port`, `host`."""
    host, colon, text = address.rpartition(":")
    if not colon or text.endswith("]"):
        return address.strip("[]"), port
    return host.strip("[]") or "127.0.0.1", int(text or port)


def _tcp(endpoint: Endpoint) -> Socket:
    import socket

    host, port = split_address(endpoint.address.partition("/")[0], 2376 if endpoint.tls else 2375)
    one = socket.create_connection((host, port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if endpoint.tls is None and endpoint.kind != "https":
        return one
    import ssl

    files = endpoint.tls or TlsFiles()
    context = ssl.create_default_context(cafile=files.ca or None)
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.cert and files.key:
        context.load_cert_chain(files.cert, files.key)
    return _TlsSocket(context.wrap_socket(one, server_hostname=host))


class _TlsSocket:
    """A TLS socket whose half-close sends TLS's own end of stream and leaves the other direction open."""

    def __init__(self, socket: object) -> None:
        self._socket: object = socket

    def sendall(self, data: bytes | memoryview, /) -> None:
        self._socket.sendall(data)  # type: ignore[attr-defined]

    def recv(self, size: int, /) -> bytes:
        return self._socket.recv(size)  # type: ignore[attr-defined, no-any-return]

    def send(self, data: bytes, flags: int, /) -> int:
        """Sends what fits; TLS knows no flags."""
        del flags
        return self.send_some(data)

    def send_some(self, data: bytes) -> int:
        """Sends what fits now, as a DONTWAIT send does on a plain socket."""
        import ssl

        self._socket.setblocking(False)  # type: ignore[attr-defined]
        try:
            return self._socket.send(data)  # type: ignore[attr-defined, no-any-return]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        finally:
            self._socket.setblocking(True)  # type: ignore[attr-defined]

    def pending(self) -> int:
        """Bytes that were decrypted already, which poll does not see."""
        return self._socket.pending()  # type: ignore[attr-defined, no-any-return]

    def fileno(self) -> int:
        return self._socket.fileno()  # type: ignore[attr-defined, no-any-return]

    def shutdown(self, how: int, /) -> None:
        del how  # Python's ssl has no half-close; the daemon sees the end when the connection closes

    def close(self) -> None:
        self._socket.close()  # type: ignore[attr-defined]


class _ProgramSocket:
    """The stdin and stdout of a program as one stream (a socket pair, so that poll and half-close work)."""

    def __init__(self, socket: Socket, pid: int) -> None:
        self._socket = socket
        self._pid = pid
        self.sendall = socket.sendall
        self.recv = socket.recv
        self.send = socket.send
        self.fileno = socket.fileno
        self.shutdown = socket.shutdown

    def close(self) -> None:
        self._socket.close()
        os.waitpid(self._pid, 0)


def _ssh(url: str) -> Socket:
    """Runs `ssh … docker system dial-stdio`, as docker does; the remote socket's path may stand in the URL."""
    from _socket import socket, socketpair

    target = url.removeprefix("ssh://")
    login, slash, path = target.partition("/")
    user, at, place = login.rpartition("@")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = place, ""
    if not host:
        raise Unavailable(f"invalid SSH URL {url}: no host specified")
    if ":" in user:
        raise Unavailable(f"invalid SSH URL {url}: plain-text password is not supported")
    command = [
        "ssh",
        "-o",
        "ConnectTimeout=30",
        "-T",
        *(["-l", user] if at else []),
        *(["-p", port] if port else []),
        "--",
        host.strip("[]"),
        "docker",
        *(["--host", "unix:///" + path] if slash and path else []),
        "system",
        "dial-stdio",
    ]
    ours, theirs = socketpair()
    try:
        pid = os.posix_spawnp(
            "ssh",
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), (os.POSIX_SPAWN_DUP2, theirs.fileno(), 1)],
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return _ProgramSocket(socket(fileno=ours.detach()), pid)
