"""The sockets that wherryd listens on: Unix, TCP with and without TLS, and those that systemd passes.

`unix:///run/wherry.sock`: 0660 root:<group>; a stale socket is replaced, a live one is not.
`tcp://host[:port]`: 2375, or 2376 with TLS; without verified clients on a loopback address only.
`fd://`, `fd://*`, `fd://3`, `fd://name`: from systemd, sd_listen_fds(3).
"""

from __future__ import annotations

import grp
import ipaddress
import os
import socket
import stat
from typing import TYPE_CHECKING

import msgspec

from wherry.errors import Conflict, InvalidArgument, Unavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from wherry.daemon.settings import Settings, Tls

FIRST_PASSED_FD = 3
SOCKET_MODE = 0o660
BACKLOG = 1024


class Listener(msgspec.Struct, frozen=True):
    """A listening socket. `context` encrypts it; `path` is to be removed at the end, empty for other kinds."""

    address: str
    sock: socket.socket
    context: ssl.SSLContext | None = None
    path: str = ""


def open_all(settings: Settings, environment: Mapping[str, str]) -> tuple[list[Listener], list[str]]:
    """All sockets of the settings, and warnings about them. None stays open when one fails.

    Raises InvalidArgument for addresses that make no sense, Unavailable and Conflict for what cannot be had.
    """
    opened: list[Listener] = []
    warnings: list[str] = []
    try:
        for host in settings.hosts:
            kind, _, rest = host.partition("://")
            if kind == "unix":
                opened.append(_unix(rest, settings))
            elif kind == "fd":
                opened += _passed(rest, environment)
            else:
                opened += _tcp(rest, settings.tls, warnings)
    except BaseException:
        close_all(opened)
        raise
    return opened, warnings


def close_all(listeners: Iterable[Listener]) -> None:
    """Closes sockets and removes their files."""
    for listener in listeners:
        listener.sock.close()
        if listener.path:
            try:
                os.unlink(listener.path)
            except FileNotFoundError:
                pass  # somebody tidied up before


def _unix(path: str, settings: Settings) -> Listener:
    if not path.startswith("/"):
        path = os.path.abspath(path)
    group = _group(settings, path)
    make_way(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mask makes the socket closed to others from its first moment.
    mask = os.umask(0o777 & ~0o600)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise Unavailable(f"can't create unix socket {path}: listen unix {path}: bind: "
                          f"{(error.strerror or str(error)).lower()}") from error
    finally:
        os.umask(mask)
    os.chown(path, 0, group)
    os.chmod(path, SOCKET_MODE)
    sock.listen(BACKLOG)
    return Listener(f"unix://{path}", sock, None, path)


def make_way(path: str) -> None:
    """Has a socket's folder, and no socket there that nobody listens on. Raises Conflict for one in use."""
    _remove_stale(path)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)


def _group(settings: Settings, path: str) -> int:
    """The group's number: root's where the default one does not exist. Raises InvalidArgument for another's name."""
    name = settings.group or settings.places.group
    if settings.group.isdecimal():
        return int(settings.group)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if not settings.group:
            return 0
        raise InvalidArgument(f"can't create unix socket {path}: group {name} not found") from None


def _remove_stale(path: str) -> None:
    """Removes a socket that nobody listens on. Raises Conflict for one that answers, and for what is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise Conflict(f"can't create unix socket {path}: a file is in its place")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            os.unlink(path)
            return
        except OSError as error:
            raise Conflict(f"can't create unix socket {path}: somebody listens there") from error
    raise Conflict(f"can't create unix socket {path}: somebody listens there")


def _tcp(text: str, tls: Tls | None, warnings: list[str]) -> list[Listener]:
    host, port = _split(text, 2376 if tls else 2375)
    if tls is None or not tls.verify:
        if not _is_loopback(host):
            raise InvalidArgument(
                f"tcp://{text}: listening for the network without verifying clients gives root to everybody who can reach "
                "it: use --tlsverify, or an address of this machine's loopback")
        warnings.append(f"tcp://{host}:{port} is reachable without a client's certificate for every user of this machine")
    context = _context(tls) if tls else None
    opened = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidArgument(f"invalid bind address (tcp://{text}): {error.strerror}") from error
    for family, kind, protocol, _, address in dict.fromkeys(found):
        sock = socket.socket(family, kind, protocol)
        opened.append(Listener(f"tcp://{host}:{port}", sock, context))
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError as error:
            close_all(opened)
            raise Unavailable(f"listen tcp {host}:{port}: bind: {(error.strerror or str(error)).lower()}") from error
    return opened


def _split(text: str, default_port: int) -> tuple[str, int]:
    """`host:port`, `:port`, `host`, `[::1]:port` → host and port. Docker's default host is localhost."""
    text = text.rstrip("/")
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    if not (port or str(default_port)).isdecimal() or not 0 <= int(port or default_port) < 65536:
        raise InvalidArgument(f"invalid bind address (tcp://{text}): invalid port")
    return host.strip("[]") or "localhost", int(port or default_port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(tls: Tls) -> ssl.SSLContext:
    """Raises InvalidArgument, naming the file, for certificates that cannot be used."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"could not load X509 key pair (cert: \"{tls.certificate}\", key: \"{tls.key}\"): "
                              f"{error}") from error
    if tls.verify:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(tls.ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"could not read CA certificate \"{tls.ca}\": {error}") from error
    return context


def _passed(wanted: str, environment: Mapping[str, str]) -> list[Listener]:
    """The descriptors that systemd passed: all, one by number, or those of one name."""
    if environment.get("LISTEN_PID") != str(os.getpid()) or not environment.get("LISTEN_FDS", "0").isdecimal():
        raise Unavailable("no sockets found via socket activation: make sure the service was started by systemd")
    count = int(environment.get("LISTEN_FDS", "0"))
    names = environment.get("LISTEN_FDNAMES", "").split(":") if environment.get("LISTEN_FDNAMES") else []
    descriptors = range(FIRST_PASSED_FD, FIRST_PASSED_FD + count)
    if wanted in ("", "*"):
        chosen = list(descriptors)
    elif wanted.isdecimal():
        chosen = [fd for fd in descriptors if fd == int(wanted)]
    else:
        chosen = [fd for fd, name in zip(descriptors, names, strict=False) if name == wanted]
    if not chosen:
        raise Unavailable(f"failed to listen on fd://{wanted}: no sockets found via socket activation: make sure the service "
                          "was started by systemd")
    opened = []
    for fd in chosen:
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        opened.append(Listener(f"fd://{fd}", sock))
    return opened
