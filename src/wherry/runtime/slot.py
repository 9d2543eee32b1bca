"""The slot: what most containers begin with, made before one is asked for, by a helper that waits in it (`slothelper`).

    creator                                        helper
      park: clone3 ──────────────────────────────▶ cgroups (v1), namespaces, sysctls; /sys and /dev on a root of its own
        ◀───────────────── NETWORK + descriptor ──
        ◀──────────────────────────────── PARKED   waits
      ask: TAKE + request, config.json ──────────▶ plans the container. Does its plan begin with the slot's? Or else FAILED
        ◀─────────────────────────────── PLANNED   + what is the creator's to do
      take: opens what is to be mounted
        SOURCES + descriptors ───────────────────▶ the container's own mounts, pivot_root
      renames the cgroups (v1), writes limits       clone3 ─▶ the init, a child of the creator
        ◀──────────────────────── PID + pidfd ───  ends       │
      state; JOINED ─────────────────────────────────────────▶ /proc, ids, capabilities, … READY, START as in `container`

The plan and the steps are those of `create`; their order is another. The init is born when it is asked for, so it is as old as
its container, and it inherits the rest: no running process is moved into a cgroup on the way, which takes long on v1 (on v2 it
is cloned into one). A slot is used once, holds nothing of any container, has nothing of the host mounted but its own cgroups,
and ends with its socket. What a killed creator leaves of it are empty cgroups, which the next slot removes.
"""

from __future__ import annotations

import os

from wherry import trace
from wherry.errors import WherryError
from wherry.linux import cgroup, file, mount, namespace, process, unixsocket
from wherry.linux.cgroup.layout import read_layout
from wherry.oci import jsontext
from wherry.runtime import channel, create, slothelper, state
from wherry.runtime.container import Init, StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from wherry.linux.cgroup import Manager
    from wherry.runtime.container import CreateRequest

_GONE = "unable to start container process: the slot has ended"


class Slot:
    """The creator's handle of a helper, its child: `wait_parked`, then `ask` and `take` once; or `close`."""

    def __init__(self, pidfd: int, connection: _socket.socket, place: str) -> None:
        """`place`: the slot's cgroup, until it has become a container's."""
        self._pidfd = pidfd
        self._connection = connection
        self._place = place
        self._is_inside = False  # whether the helper sits in that cgroup: v1
        self._rtnetlink = -1

    def wait_parked(self) -> None:
        """Waits until it can be taken. StartFailed with the reason why it cannot be made; it is to be closed then."""
        self._rtnetlink = channel.expect(self._connection, channel.NETWORK, _GONE)[0]
        self._is_inside = self._hear(channel.PARKED) == b"1"

    def ask(self, request: CreateRequest) -> None:
        """Has a container planned, whose `take` follows. What stands in the way of that is for `take` to find."""
        try:
            config = file.read(f"{request.bundle}/config.json")
            asked = jsontext.dumps(request.replace(stdio=None, config=None).as_dict()).encode("utf-8", "surrogateescape")
            unixsocket.send(self._connection, channel.TAKE + asked + b"\0" + config)
        except OSError as error:
            trace.step("slot not asked", str(error))

    def take(self, request: CreateRequest) -> Init | None:
        """The container's init, as `container.create` makes it. None when the plan begins otherwise, or a step fails.

        Nothing is left of the container then, and `container.create` will say what is wrong. The slot is closed in any case.
        """
        undo: list[Callable[[], None]] = []
        fds: list[int] = []
        try:
            return self._take(request, fds, undo)
        except (WherryError, OSError) as error:
            trace.step("slot not taken", str(error))
            for step in reversed(undo):
                try:
                    step()
                except (WherryError, OSError):
                    continue  # what is left is there for `create` to find
            return None
        finally:
            for fd in fds:
                os.close(fd)
            self.close()

    def close(self) -> None:
        """Ends the helper. The slot's cgroups go, unless they have become a container's."""
        self._connection.close()
        process.reap(self._pidfd)
        os.close(self._pidfd)
        if self._rtnetlink >= 0:
            os.close(self._rtnetlink)
        if self._place:
            cgroup.manager(self._place).remove()

    def _take(self, request: CreateRequest, fds: list[int], undo: list[Callable[[], None]]) -> Init:
        fds.append(create.claim(request.root, request.id))
        undo.append(lambda: state.remove(request.root, request.id))
        fds.append(state.make_waiting(request.root, request.id))
        ours, theirs = unixsocket.pair()
        undo.append(ours.close)
        fds.append(theirs.detach())
        given = [*fds[-2:], *(request.stdio or ())]
        head, _, kept = self._hear(channel.PLANNED).partition(b"\0")
        work = jsontext.loads(head.decode("utf-8", "surrogateescape"))
        planned = state.Saved.from_json(work["saved"])
        state.note_creation(request.root, request.id, planned.cgroup_path, planned.cgroup_driver)
        for place, recursive in work["sources"]:
            fds.append(_open_source(place, recursive))
            given.append(fds[-1])
        if self._is_inside:
            channel.tell(self._connection, channel.SOURCES, given)
            self._become(planned.cgroup_path, work["resources"], undo)  # while the helper mounts
        else:
            fds.append(_make_cgroup(planned.cgroup_path, work["resources"], undo))
            channel.tell(self._connection, channel.SOURCES, (*given, fds[-1]))
        pid, pidfd = self._hear_pid()
        init = Init(pid, pidfd, process.start_time(pid))
        init.channel = ours
        undo.append(lambda: create.end(init))
        init.rtnetlink, self._rtnetlink = self._rtnetlink, -1
        if work["oom_score_adj"] is not None:
            create.set_oom_score(pid, work["oom_score_adj"])
        channel.tell_init(ours, channel.JOINED)
        create.save(request, planned, kept, init)
        if request.console:
            create.wait_ready(init)
        init.on_started = lambda: state.waits_no_more(request.root, request.id)
        return init

    def _become(self, path: str, resources: dict[str, Any], undo: list[Callable[[], None]]) -> None:
        """The slot's cgroups become the container's."""
        layout = read_layout()
        group = cgroup.manager(path, layout=layout)
        cgroup.manager(self._place, layout=layout).rename(group)
        self._place = ""
        undo.append(group.remove)
        create.limit(group, resources)

    def _hear(self, word: bytes) -> bytes:
        """What comes with a word of the helper's."""
        data, fds = channel.receive(self._connection)
        for fd in fds:
            os.close(fd)
        if data[:1] != word:
            raise channel.failure(data) if data else StartFailed(_GONE)
        return data[1:]

    def _hear_pid(self) -> tuple[int, int]:
        data, fds = channel.receive(self._connection)
        if data[:1] != channel.PID:
            raise channel.failure(data) if data else StartFailed(_GONE)
        return int(data[1:]), fds[0]


def park(config: bytes, parent: str, seccomp_cache: str) -> Slot:
    """A slot in the making, see `Slot.wait_parked`. OSError when no process can be made.

    `config` is the config.json of a container that has nothing of its own, `parent` the cgroup that such containers are below.
    The helper does all the work: the creator, which stays as a container's shim, would come to own the memory for it.
    """
    place = f"{parent}/{slothelper.PREFIX}{os.urandom(8).hex()}"
    ours, theirs = unixsocket.pair()
    pid, pidfd = namespace.clone3(0)
    if pid == 0:
        ours.close()
        slothelper.run(config, place, seccomp_cache, theirs)
    theirs.close()
    return Slot(pidfd, ours, place)


def _make_cgroup(path: str, resources: dict[str, Any], undo: list[Callable[[], None]]) -> int:
    """A container's cgroup, made as it comes; its folder's descriptor (v2)."""
    group: Manager = cgroup.manager(path)
    create.check_cgroup(group)
    undo.append(group.remove)
    create.limit(group, resources)
    folder = group.folder_fd()
    assert folder is not None
    return folder


def _open_source(place: str, recursive: bool) -> int:
    """A detached copy of what is mounted at a place of the host, as one from within a mount namespace of one's own would be."""
    tree = mount.open_tree(place, recursive=recursive)
    try:
        mount.mount_setattr(tree, propagation=mount.MS_SLAVE, recursive=recursive)
    except BaseException:
        os.close(tree)
        raise
    return tree
