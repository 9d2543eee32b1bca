"""A container as the runtime's callers see it: what they ask for, what they get, and the verbs.

    init = create(CreateRequest(id="c1", bundle="/path", root="/run/wherry/runtime", stdio=(0, 1, 2)))
    ... attach the network through init.rtnetlink ...
    init.start()                                    the program runs now; wait on init.pidfd, reap it, then
    delete(load(root, "c1"))

Each verb is a module beside this one; they are imported when they are used, because a cold start pays for each import.

How creator and init talk (warm), one message per line, over a SOCK_SEQPACKET pair:

    creator                                   init
      clone3 ─────────────────────────────────▶ (new namespaces)
      ◀─────────────── NETWORK + descriptor ──  a NETLINK_ROUTE socket of the new network namespace
      maps, cgroups written
      JOINED ─────────────────────────────────▶ cgroup namespace, cgroup mounts (the other mounts are done meanwhile)
      ◀────────────────────────────── MOUNTED   only where hooks ask for it: the creator runs them, then
      HOOKS_RAN ──────────────────────────────▶ pivot_root, ids, capabilities, program looked up
      ◀──────────── READY + console's master ─  or FAILED + exit code and message
      START ──────────────────────────────────▶ exec
      ◀──────────────────────── end of stream   exec has happened; or FAILED + exit code and message
"""

from __future__ import annotations

from wherry.errors import WherryError
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping
    from typing import Any

    from wherry.oci.runtime import Config
    from wherry.oci.runtime import Process as ProcessConfig
    from wherry.runtime.state import Saved


class StartFailed(WherryError):
    """The container's program cannot run. `exit_code`: 127 not found, 126 not executable, 1 anything else."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CreateRequest(Record):
    """What is asked of `create`.

    `bundle` is the folder with config.json, read unless `config` is given; its `root.path` is relative to the bundle. `root`
    is the folder of the state on disk. `stdio` are the program's three descriptors (None: the caller's own); with `console`
    the program gets a terminal instead, whose master is `Init.console`. `mode` «warm»: the init is a fork of the caller
    and waits on a socket, it ends with it unless started; «cold»: it waits on a fifo in the state folder and outlives the
    creator. `cgroup_driver` is «cgroupfs» or «systemd». `preserve_fds` descriptors from 3 on are passed to the program.
    `listen_fds`: so many of them are systemd's, and the program is told (sd_listen_fds(3)). `rootless`: a cgroup that may not be
    made is done without, unless the config names one. `notify` is the caller's $NOTIFY_SOCKET ("": none): the
    program gets one for sd_notify(3), see `notify`. `keep_groups`: it has the supplementary groups of the caller.
    `seccomp_cache` is a folder for compiled filters ("": none). `meanwhile` is called once, when there is nothing to do but wait
    for the init.
    """

    id: str
    bundle: str
    root: str
    config: Config | None = None
    stdio: tuple[int, int, int] | None = None
    console: bool = False
    pid_file: str = ""
    cgroup_driver: str = "cgroupfs"
    no_pivot: bool = False
    no_new_keyring: bool = False
    preserve_fds: int = 0
    listen_fds: int = 0
    rootless: bool = False
    notify: str = ""
    keep_groups: bool = False
    mode: str = "warm"
    seccomp_cache: str = ""
    meanwhile: Callable[[], object] | None = None


class ExecRequest(Record):
    """What is asked of `execute`: the process (runtime-spec «Process»), its descriptors or a terminal, and where it goes.

    `process.terminal` and `console` mean the same; either gives a terminal whose master is `Process.console`. `program` is the
    file to execute where it is not the first of the arguments.
    `cgroups` are (controller, folder below the container's cgroup); controller «»: for all of them. `ignore_paused` lets it be
    made in a paused container.
    `mode` as with `CreateRequest`: «cold» goes through the last hop, because the caller's interpreter is the host's own file.
    """

    process: ProcessConfig
    program: str = ""
    stdio: tuple[int, int, int] | None = None
    console: bool = False
    pid_file: str = ""
    preserve_fds: int = 0
    cgroups: tuple[tuple[str, str], ...] = ()
    ignore_paused: bool = False
    mode: str = "warm"


class Init:
    """A container's init, created and waiting. The creator is its parent and reaps it. Owns the descriptors below.

    `pid` is the init's in the caller's pid namespace, `pidfd` stands for it, `start_time` in clock ticks since boot.
    `rtnetlink` is a NETLINK_ROUTE socket inside the container's new network namespace (None: no new one). `console` is the
    master of the program's terminal or None. Take a descriptor over by setting the attribute to None (or -1 for pidfd).
    `channel`, `ready`, `on_started` and `waits_on_fifo` belong to the runtime: the way to the init, whether it said that it
    waits, what `start` ends with, and what it is where the init waits as in cold mode though made in the other.
    """

    def __init__(self, pid: int, pidfd: int, start_time: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.start_time = start_time
        self.rtnetlink: int | None = None
        self.console: int | None = None
        self.channel: _socket.socket | None = None
        self.ready = False
        self.on_started: Callable[[], None] | None = None
        self.waits_on_fifo: Callable[[], None] | None = None

    def wait_ready(self) -> None:
        """Waits until the init is set up and only `start` is missing. StartFailed when it could not be.

        `create` returns earlier than that in warm mode (the network can be attached while the init still mounts), unless
        a terminal, hooks or the cold mode need the whole set-up. `start` calls it.
        """
        from wherry.runtime.create import wait_ready

        wait_ready(self)

    def start(self) -> None:
        """Makes the init execute the container's program; returns once exec has happened.

        StartFailed when it could not: the init has ended then, and is to be reaped and deleted.
        """
        from wherry.runtime.create import start

        start(self)

    def close(self) -> None:
        """Closes the descriptors that are still owned. An init that was not started ends."""
        import os

        for fd in (self.pidfd, self.rtnetlink, self.console):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.pidfd, self.rtnetlink, self.console = -1, None, None
        if self.channel is not None:
            self.channel.close()
            self.channel = None


class Process(Record):
    """A further process in a container, running. The caller is its parent and reaps it; it owns the descriptors."""

    pid: int
    pidfd: int
    console: int | None = None


class Container(Record):
    """A container as its state on disk describes it. `saved` is what this runtime wrote about it."""

    root: str
    id: str
    saved: Saved


def create(request: CreateRequest) -> Init:
    """Makes a container; its init waits for `start`.

    InvalidArgument for an id or a config that makes no sense, Conflict «container with given ID already exists»,
    StartFailed when the container's program cannot run, OSError for what the kernel refused. Nothing is left on failure.
    Hooks prestart, createRuntime and createContainer have run.
    """
    from wherry.runtime.create import create as do

    return do(request)


def load(root: str, container_id: str) -> Container:
    """The container `container_id` of the state folder `root`. NotFound «container does not exist»."""
    from wherry.runtime.state import load as read

    return Container(root=root, id=container_id, saved=read(root, container_id))


def start(container: Container) -> None:
    """Starts a container that was created in cold mode. Conflict when it is not in the state «created»."""
    from wherry.runtime.start import start as do

    do(container)


def state(container: Container) -> dict[str, Any]:
    """The container's state as the runtime-spec defines it («State»), with the status found at this moment."""
    from wherry.runtime.state import oci_state

    return oci_state(container.root, container.saved)


def execute(container: Container, request: ExecRequest) -> Process:
    """Runs a further process in a container; returns once exec has happened. StartFailed when it could not."""
    from wherry.runtime.execute import execute as do

    return do(container, request)


def kill(container: Container, number: int, everyone: bool = False) -> None:
    """Sends a signal to the init, or to every process of the container. Conflict «container not running»."""
    from wherry.runtime.kill import kill as do

    do(container, number, everyone)


def delete(container: Container, force: bool = False) -> tuple[str, ...]:
    """Removes a stopped container: its cgroups, its state; runs the poststop hooks. `force` kills it first.

    Returns what went wrong with hooks: all of them are run, and none of them keeps the container.

    Conflict when it still runs. The init must have been reaped by its parent or be a zombie.
    """
    from wherry.runtime.delete import delete as do

    return do(container, force)


def delete_ruin(root: str, container_id: str) -> None:
    """Removes what a killed creator left of a container that never came to be; nothing when there is none."""
    from wherry.runtime.delete import delete_ruin as do

    do(root, container_id)


def pause(container: Container) -> None:
    """Freezes all processes of a running container. Conflict when it does not run."""
    from wherry.runtime.control import pause as do

    do(container)


def resume(container: Container) -> None:
    """Thaws a paused container. Conflict when it is not paused."""
    from wherry.runtime.control import resume as do

    do(container)


def update(container: Container, resources: Mapping[str, Any]) -> None:
    """Changes resource limits (runtime-spec «linux.resources», as parsed JSON); what is not given stays as it is."""
    from wherry.runtime.control import update as do

    do(container, resources)


def processes(container: Container) -> tuple[int, ...]:
    """The pids, in the caller's pid namespace, of all processes in the container's cgroup."""
    from wherry.runtime.control import processes as do

    return do(container)
