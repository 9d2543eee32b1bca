"""Work inside a container's namespaces, each in a child of the zygote that does just this and ends.

The daemon has threads, and a process with threads cannot enter mount or user namespaces (setns(2)); nor should one that holds the
daemon's descriptors and memory. The child is not dumpable before it enters, so the container's processes cannot look into it.
"""

from __future__ import annotations

import _socket
import os
import sys

from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.linux import namespace, process
from wherry.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from wherry.shim.protocol import ArchiveRequest, NetnsRequest, PathStat
    from wherry.store.tarheader import Entry


def network(body: dict[str, Any], fds: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Opens the sockets and applies the rules of a NetnsRequest; the answer and the sockets' descriptors."""
    request = protocol.read_netns(body)
    process.set_dumpable(False)
    namespace.setns(fds[0], namespace.CLONE_NEWNET)
    made = tuple(_open(one) for one in request.sockets)
    if request.nft:
        from wherry.linux.nftables import Nftables

        with Nftables.open() as nft:
            nft.apply(rules(request, tuple(_port(one) for one in made)))
    return {"sockets": len(made)}, tuple(one.detach() for one in made)


def rules(request: NetnsRequest, ports: tuple[int, ...]) -> str:
    """The request's nft text with its ports as nft's own variables before it."""
    return "".join(f"define port{number} = {port}\n" for number, port in enumerate(ports)) + request.nft


def _open(request: protocol.SocketRequest) -> _socket.socket:
    made = _socket.socket(request.family, request.kind | _socket.SOCK_CLOEXEC, request.protocol)
    if request.address is not None:
        try:
            made.bind(request.address)
        except OSError as error:
            raise OSError(error.errno, f"bind {request.address[0]}:{request.address[1]}: {error.strerror}") from error
    if request.backlog:
        made.listen(request.backlog)
    return made


def _port(made: _socket.socket) -> int:
    return int(made.getsockname()[1]) if made.family in (_socket.AF_INET, _socket.AF_INET6) else 0


# What Go's os.FileMode has for the kernel's bits (io/fs), as `X-Docker-Container-Path-Stat` carries it.
_GO_TYPES = {
    0o040000: 1 << 31,
    0o120000: 1 << 27,
    0o060000: 1 << 26,
    0o010000: 1 << 25,
    0o140000: 1 << 24,
    0o020000: 1 << 26 | 1 << 21,
}
_GO_BITS = {0o4000: 1 << 23, 0o2000: 1 << 22, 0o1000: 1 << 20}


def go_mode(mode: int) -> int:
    """The kernel's st_mode as Go's os.FileMode."""
    value = (mode & 0o777) | _GO_TYPES.get(mode & 0o170000, 0)
    for bit, go in _GO_BITS.items():
        if mode & bit:
            value |= go
    return value


def path_stat(path: str) -> PathStat:
    """Docker's stat of a path below the present root: of a symlink itself, with where it leads. NotFound names the path."""
    try:
        found = os.lstat(path)
        target = os.readlink(path) if found.st_mode & 0o170000 == 0o120000 else ""
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"Could not find the file {path} in container") from error
    return protocol.PathStat(
        name=os.path.basename(path.rstrip("/")) or "/",
        size=found.st_size,
        mode=go_mode(found.st_mode),
        mtime_ns=found.st_mtime_ns,
        link_target=target,
    )


def archive(body: dict[str, Any], fds: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Does an ArchiveRequest; `fds` are the container's pidfd and, but for `stat`, where the tar goes or comes from."""
    request = protocol.read_archive(body)
    pidfd = fds[0]
    # Whatever is needed is imported before: afterwards the file system is the container's, and so would be the modules.
    sys.path += [one for one in request.module_path if one not in sys.path]
    from wherry.store import archive as tar

    if request.operation == "unpack":
        __import__("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    root = os.open(f"/proc/{request.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if process.has_ended(pidfd):
        raise NotFound(f"process {request.pid} has ended")
    process.set_dumpable(False)
    namespace.setns(pidfd, namespace.CLONE_NEWNS)
    os.fchdir(root)
    os.chroot(".")
    os.chdir("/")
    if request.operation == "stat":
        return {"stat": protocol.plain(path_stat(request.path))}, ()
    if request.operation == "pack":
        _pack(tar, request, fds[1])
    elif request.operation == "unpack":
        _unpack(tar, request, fds[1])
    else:
        raise InvalidArgument(f"{request.operation!r} is nothing that is done with archives")
    return {}, ()


def _pack(tar: ModuleType, request: ArchiveRequest, target: int) -> None:
    folder, name = os.path.split(request.path.rstrip("/"))
    path_stat(request.path)
    fd = os.open(folder or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for chunk in tar.pack_path(fd, name or ".", request.rename or name or "."):
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]


def _unpack(tar: ModuleType, request: ArchiveRequest, source: int) -> None:
    try:
        folder = os.open(request.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"Could not find the file {request.path} in container") from error
    except NotADirectoryError as error:
        raise InvalidArgument("extraction point is not a directory") from error

    def change(entry: Entry) -> Entry:
        if request.no_overwrite_dir_non_dir:
            _check_kind(folder, entry.name)
        return entry if request.owner is None else entry.replace(uid=request.owner[0], gid=request.owner[1])

    with open(source, "rb", closefd=False) as stream:
        tar.unpack(stream, folder, change=change)


def _check_kind(folder: int, name: str) -> None:
    try:
        found = os.stat(name.strip("/") or ".", dir_fd=folder, follow_symlinks=False)
    except OSError:
        return
    is_folder = found.st_mode & 0o170000 == 0o040000
    if is_folder and not name.endswith("/"):
        raise Conflict(f"cannot overwrite directory with non-directory: {name}")
    if not is_folder and name.endswith("/"):
        raise Conflict(f"cannot overwrite non-directory with directory: {name}")


def work(body: dict[str, Any], fds: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The answer to a message and the descriptors that go with it. Raises InvalidArgument for work that nobody does."""
    if body["do"] == "netns":
        return network(body, fds)
    if body["do"] == "archive":
        return archive(body, fds)
    raise InvalidArgument(f"{body['do']!r} is not part of the zygote's protocol")
