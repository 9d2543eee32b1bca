"""The state of a container on disk: one folder per container, written before anybody is told that it exists.

    <root>/<id>/            0711; flock(2)ed by whoever creates the container
        state.json          what `Saved` holds; replaced atomically. A folder without it was left by a creator that died
        creating            a link that says where the cgroup of a container without state.json may be, as driver:path
        exec.fifo           cold: the init reads it; made before state.json, removed by `start`
        waiting             warm: the init waits on its creator's socket and has this file locked; removed by `start`
        seccomp.bpf         the compiled filter, for `exec`
        sd-notify/          the container's socket for sd_notify(3), where there is one

The status is not stored but found: no init with this pid and start time → stopped; the cgroup frozen → paused; exec.fifo or
waiting held by the init → created; otherwise running. The format has a version (`FORMAT`); another one is refused.
"""

from __future__ import annotations

import errno
import os

from wherry.errors import DataLoss, InvalidArgument, NotFound, Unsupported
from wherry.linux import file, process
from wherry.oci import RUNTIME_VERSION, jsontext
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.seccomp import Program
    from wherry.oci.runtime import Hook, Process

FORMAT = 2
_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+,-.")
NOTIFY = "sd-notify"
_HOOKS = ("start_container", "poststart", "poststop")


class Saved(Record):
    """What a container's later verbs need to know.

    `namespaces` are those that differ from the creator's, by their names in the runtime-spec. `process` is the config's own as
    it was then, a document still: most verbs never read it (`own_process`). `created` is RFC 3339. `joins_pids`: its pid
    namespace is another container's. `listener`: who answers a filter that notifies (the socket's path, what it is told).
    `personality` goes for further processes.
    """

    id: str
    pid: int
    start_time: int
    bundle: str
    rootfs: str
    created: str
    cgroup_path: str
    cgroup_driver: str
    namespaces: tuple[str, ...]
    process: Mapping[str, Any]
    annotations: Mapping[str, str] = {}
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()
    seccomp: bool = False
    no_new_keyring: bool = False
    personality: int | None = None
    joins_pids: bool = False
    listener: tuple[str, str] | None = None

    def own_process(self) -> Process:
        """What the container was made for: what `exec` and startContainer's hooks begin with. DataLoss when it makes no sense."""
        from wherry.oci.runtime import Process

        try:
            return Process.from_json(self.process)
        except InvalidArgument as error:
            raise DataLoss(f"state.json of container {self.id!r} makes no sense: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The document of state.json."""
        document = self.as_dict()
        for name in _HOOKS:
            document[name] = [hook.as_dict() for hook in document[name]]
        return {"version": FORMAT, "ociVersion": RUNTIME_VERSION, **document}

    @classmethod
    def from_json(cls, document: Any) -> Saved:
        """The value of state.json. Unsupported for another version, DataLoss when fields are missing."""
        if not isinstance(document, dict):
            raise DataLoss("state.json is not an object")
        if document.get("version") != FORMAT:
            raise Unsupported(f"state.json has version {document.get('version')!r}, this runtime reads {FORMAT}")
        values = {name: document[name] for name in cls._fields if name in document}
        values["namespaces"] = tuple(values.get("namespaces", ()))
        if values.get("listener"):
            values["listener"] = tuple(values["listener"])
        for name in _HOOKS:
            values[name] = tuple(map(_hook, values.get(name, ())))
        try:
            return cls(**values)
        except TypeError as error:
            raise DataLoss(f"state.json is incomplete: {error}") from error


def _hook(document: Mapping[str, Any]) -> Hook:
    from wherry.oci.runtime import Hook

    return Hook(path=document["path"], args=tuple(document["args"]), timeout=document["timeout"],
                env=None if document["env"] is None else tuple(document["env"]))


def check_id(container_id: str) -> None:
    """Container ids are file names: letters, digits and «_+,-.» (runc takes the comma too, its pattern means a range)."""
    if not container_id:
        raise InvalidArgument("container id cannot be empty")
    if container_id in (".", "..") or not _ID_CHARACTERS.issuperset(container_id) or len(container_id) > 1024:
        raise InvalidArgument("invalid container ID format")


def folder(root: str, container_id: str) -> str:
    """Where a container's state is. InvalidArgument for an id that could not be one."""
    check_id(container_id)
    return f"{root}/{container_id}"


def load(root: str, container_id: str) -> Saved:
    """What is known about a container. NotFound «container does not exist»."""
    try:
        text = file.read(folder(root, container_id) + "/state.json")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("container does not exist") from None
    try:
        return Saved.from_json(jsontext.loads(text))
    except (ValueError, KeyError, InvalidArgument) as error:
        raise DataLoss(f"state.json of container {container_id!r} makes no sense: {error}") from error


def save(root: str, saved: Saved) -> None:
    """Writes state.json: it has to survive our crash, not a power cut, after which no container runs."""
    file.replace(folder(root, saved.id) + "/state.json", jsontext.dumps(saved.to_json()).encode())


def is_alive(saved: Saved) -> bool:
    """Whether the container's init runs."""
    return process.is_alive(saved.pid, saved.start_time)


def save_filter(root: str, container_id: str, content: bytes) -> None:
    """Keeps the compiled and packed filter for `exec`."""
    file.replace(folder(root, container_id) + "/seccomp.bpf", content)


def load_filter(root: str, container_id: str) -> Program:
    """The filter of a container whose `Saved.seccomp` is true. DataLoss when it makes no sense."""
    from wherry.linux.seccomp import Program as Compiled

    try:
        return Compiled.unpack(file.read(folder(root, container_id) + "/seccomp.bpf"))
    except ValueError as error:
        raise DataLoss(f"seccomp.bpf of container {container_id!r} makes no sense: {error}") from error


def status(root: str, saved: Saved) -> str:
    """One of creating (hooks may run), created, running, paused or stopped, found at this moment."""
    if not is_alive(saved):
        return "stopped"
    if _is_locked(folder(root, saved.id)):
        return "creating"
    if _is_frozen(saved):
        return "paused"
    return "created" if is_waiting(root, saved.id) else "running"


def is_waiting(root: str, container_id: str) -> bool:
    """Whether the init still waits for `start`.

    The files alone do not say: who starts it may be killed before it removes them. So the init holds them as long as it waits,
    the fifo by reading from it, the other by a lock (flock(2)); its exec lets both go.
    """
    place = folder(root, container_id)
    return _has_reader(place + "/exec.fifo") or _is_locked(place + "/waiting")


def make_waiting(root: str, container_id: str) -> int:
    """Makes the file `waiting`, locked. The lock lasts as long as a fork of the caller holds the descriptor: up to its exec."""
    import fcntl

    fd = os.open(folder(root, container_id) + "/waiting", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def waits_no_more(root: str, container_id: str) -> None:
    """Exec has happened."""
    os.unlink(folder(root, container_id) + "/waiting")


def _has_reader(fifo: str) -> bool:
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENOENT):
            raise
        return False
    return True


def _is_locked(path: str) -> bool:
    import fcntl

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def oci_state(root: str, saved: Saved) -> dict[str, Any]:
    """The runtime-spec's state with what runc adds to it (rootfs, created, owner)."""
    now = status(root, saved)
    # In runc's order; nobody should rely on it, but people compare.
    return {
        "ociVersion": RUNTIME_VERSION, "id": saved.id, "pid": 0 if now == "stopped" else saved.pid, "status": now,
        "bundle": saved.bundle, "rootfs": saved.rootfs, "created": saved.created,
        **({"annotations": dict(saved.annotations)} if saved.annotations else {}), "owner": "",
    }


def remove(root: str, container_id: str) -> None:
    """Removes a container's folder. state.json goes first: what is left of it then is known to be a ruin."""
    place = folder(root, container_id)
    try:
        clear(place)
        os.rmdir(place)
    except FileNotFoundError:
        pass


def clear(place: str) -> None:
    """Empties a folder of ours, `state.json` first; somebody may be doing the same."""
    for name in sorted(os.listdir(place), key=lambda name: name != "state.json"):
        path = f"{place}/{name}"
        try:
            if name == NOTIFY:
                clear(path)
                os.rmdir(path)
            else:
                os.unlink(path)
        except FileNotFoundError:
            pass


def list_ids(root: str) -> list[str]:
    """The ids of all containers of a state folder, sorted."""
    try:
        return sorted(name for name in os.listdir(root) if os.path.exists(f"{root}/{name}/state.json"))
    except FileNotFoundError:
        return []


def matching_ids(root: str, pattern: str) -> list[str]:
    """Those in which a regular expression finds something. InvalidArgument for what is none."""
    import re

    try:
        return [container_id for container_id in list_ids(root) if re.search(pattern, container_id)]
    except re.error as error:
        raise InvalidArgument(f"invalid regular expression {pattern!r}: {error}") from error


def note_creation(root: str, container_id: str, cgroup_path: str, driver: str) -> None:
    """Notes where a container's cgroup will be, before it is made: should the creator be killed, `ruin` finds it."""
    os.symlink(f"{driver}:{cgroup_path}", f"{folder(root, container_id)}/creating")


def creation_done(root: str, container_id: str) -> None:
    """state.json says it from here on."""
    os.unlink(f"{folder(root, container_id)}/creating")


def ruin(root: str, container_id: str) -> tuple[str, str] | None:
    """(driver, cgroup path) of a container whose creator was killed before it wrote state.json; None when there is no such."""
    place = folder(root, container_id)
    if os.path.exists(place + "/state.json") or _is_locked(place):
        return None
    try:
        driver, _, path = os.readlink(place + "/creating").partition(":")
    except OSError:
        return ("", "") if os.path.isdir(place) else None
    return driver, path


def now_text() -> str:
    """The present moment as RFC 3339 with nanoseconds, UTC."""
    import time

    moment = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 1_000_000_000)) + f".{moment % 1_000_000_000:09d}Z"


def _is_frozen(saved: Saved) -> bool:
    from wherry.errors import WherryError
    from wherry.linux import cgroup

    if not saved.cgroup_path:
        return False
    try:
        return cgroup.manager(saved.cgroup_path, saved.cgroup_driver).frozen()
    except (OSError, WherryError):
        return False
