"""`wherry-runc create`: makes a container whose program waits for `start`. What `run` and `exec` share with it."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, Unsupported
from wherry.linux.cgroup.movelock import MoveLock, Waking
from wherry.runtime import container
from wherry.runtime.flags import Command, Flag, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from wherry.oci.runtime import Config, Process
    from wherry.runtime.container import Init
    from wherry.runtime.main import Context

SECCOMP_CACHE = "/run/wherry/seccomp"
BUNDLE = Flag(names=("bundle", "b"), kind="text", help="the bundle's folder; the current one if not given")
CONSOLE_SOCKET = Flag(names=("console-socket",), kind="text",
                      help="Unix socket that is sent the master of the container's terminal")
PIDFD_SOCKET = Flag(names=("pidfd-socket",), kind="text",
                    help="Unix socket that is sent a descriptor of the process, for signals that cannot meet another one")
PID_FILE = Flag(names=("pid-file",), kind="text", help="write the process id to this file")
PRESERVE_FDS = Flag(names=("preserve-fds",), kind="number", default="0",
                    help="pass on this many descriptors beyond stdio and $LISTEN_FDS")
FLAGS = (
    BUNDLE,
    Flag(names=("config", "f"), kind="text", help="the configuration file, instead of the bundle's config.json"),
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    PID_FILE,
    Flag(names=("no-pivot",), kind="switch", help="move the root instead of pivot_root, for a rootfs on a ramdisk"),
    Flag(names=("no-new-keyring",), kind="switch", help="keep the caller's session keyring"),
    PRESERVE_FDS,
)


COMMAND = Command(
    name="create", usage="create a container", arguments="<container-id>",
    flags=(*FLAGS, Flag(names=("explain",), kind="switch", help="print what would be done, step by step, and change nothing"),
           Flag(names=("no-subreaper",), kind="switch", help="as it is anyway: only run adopts orphans")),
    description="Creates a container from the bundle's config.json. Its program is executed by wherry-runc start.\n"
                "The id must be unique on this host.")


def run(context: Context) -> int:
    """Creates; the terminal's master goes to the console socket, the init's descriptor to the pidfd socket."""
    if context.flags["explain"]:
        from wherry.runtime.explain import explain

        print(explain(request_of(context, *load_config(context))))
        return 0
    with waking(context):
        bundle, config = load_config(context)
        with Sockets(context.flags, config.annotations) as sockets:
            init = create(context, bundle, config, detached=True)
            try:
                sockets.hand_over(init.console, init.pidfd, "standard")
            except OSError:
                container.delete(container.load(context.root, context.arguments[0]), force=True)
                raise
    return 0


def waking(context: Context) -> Waking:
    """To be entered first: where a process will be moved into cgroups (v1), the kernel gets ready for it meanwhile."""
    try:
        return MoveLock().waking() if context.cgroup_driver == "cgroupfs" else Waking("")
    except Unsupported:  # without cgroups; whether they are needed is decided later
        return Waking("")


def load_config(context: Context) -> tuple[str, Config]:
    """The bundle's folder and its config."""
    from wherry.runtime.create import read_config

    bundle = context.flags["bundle"] or os.getcwd()
    if not os.path.isdir(bundle):
        raise InvalidArgument(f"chdir {bundle}: no such file or directory")
    config = read_config(os.path.abspath(bundle), context.flags["config"] or context.config)
    if asks_as_crun(config):
        from wherry.runtime.annotations import obey

        config = obey(config)
    return bundle, config


def asks_as_crun(config: Config) -> bool:
    """Whether there may be something for `annotations` to do."""
    return any(name.startswith("run.oci.") for name in config.annotations)


def listen_fds() -> int:
    """How many descriptors systemd handed over, sd_listen_fds(3): those for this process, or for nobody in particular."""
    if os.environ.get("LISTEN_PID") not in (None, str(os.getpid())):
        return 0
    text = os.environ.get("LISTEN_FDS", "")
    return int(text) if text.isdigit() else 0


def check_terminal(terminal: bool, detached: bool, console_socket: str) -> None:
    """A terminal needs somebody to hold it: the console socket when we do not stay. Messages as runc's."""
    if detached and terminal and not console_socket:
        reason = "cannot allocate tty if runc will detach without setting console socket"
        raise InvalidArgument(f"{reason}: use --console-socket")  # the last words are crun's
    if (not detached or not terminal) and console_socket:
        raise InvalidArgument("cannot use console socket if runc will not detach or allocate tty")


def check_surroundings(process: Process, context: Context) -> None:
    """What of a process this machine cannot do: InvalidArgument; unknown capabilities are left out with a warning."""
    for entry in process.env:
        if "=" not in entry:
            raise InvalidArgument(f'unable to start container process: invalid environment variable: "{entry}"')
    if process.selinux_label and not os.path.exists("/sys/fs/selinux/enforce"):
        raise InvalidArgument("selinux label is specified in config, but selinux is disabled or not supported")
    if process.capabilities is not None:
        from wherry.linux import capability

        unknown = sorted({name for names in process.capabilities.as_dict().values() for name in names} - set(capability.NAMES))
        if unknown:
            context.log.write("warning", f"ignoring unknown or unavailable capabilities: [{' '.join(unknown)}]")


def create(
    context: Context, bundle: str, config: Config, detached: bool, meanwhile: Callable[[], object] | None = None
) -> Init:
    """Creates the container in cold mode. The master of a terminal stays with `Init.console`; `meanwhile` as in the request."""
    process = config.process
    check_terminal(bool(process and process.terminal), detached, context.flags["console-socket"])
    hold_preserved(context.flags["preserve-fds"])
    if process is not None:
        check_surroundings(process, context)
    return container.create(request_of(context, bundle, config).replace(meanwhile=meanwhile))


def request_of(context: Context, bundle: str, config: Config) -> container.CreateRequest:
    """The command line as a request."""
    flags = context.flags
    keep_groups = False
    if asks_as_crun(config):
        from wherry.runtime.annotations import keeps_groups

        keep_groups = keeps_groups(config.annotations)
    return container.CreateRequest(
        id=context.arguments[0], bundle=bundle, root=context.root, config=config, pid_file=flags["pid-file"],
        cgroup_driver=context.cgroup_driver, no_pivot=flags["no-pivot"], no_new_keyring=flags["no-new-keyring"],
        preserve_fds=flags["preserve-fds"] + listen_fds(), listen_fds=listen_fds(), rootless=is_rootless(context.rootless),
        notify=os.environ.get("NOTIFY_SOCKET", ""), keep_groups=keep_groups, mode="cold", seccomp_cache=SECCOMP_CACHE)


def is_rootless(text: str) -> bool:
    """The meaning of --rootless: «auto» is for whoever is not root of the machine."""
    if text == "auto":
        from wherry.linux.namespace import in_user_namespace

        return os.geteuid() != 0 or in_user_namespace()
    value = truth(text)
    if value is None:
        raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return value


def hold_preserved(count: int) -> None:
    """Takes the numbers that are to be passed on and are not open: none of ours may come to have one, and they end with exec.

    So a number that is not open is passed over, as with crun; runc refuses it.
    """
    first = 3 + listen_fds()
    for number in range(first, first + count):
        try:
            os.fstat(number)
        except OSError:
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            if null != number:
                os.dup2(null, number, inheritable=False)
                os.close(null)


class Sockets:
    """Where a terminal's master and the process's own descriptor go: both are reached before anything is made.

    A context: left, the connections are closed. InvalidArgument when nobody listens.
    """

    def __init__(self, flags: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> None:
        self._console: _socket.socket | None = None
        self._pidfd: _socket.socket | None = None
        try:
            self._console = _dial(flags["console-socket"])
            self._pidfd = _dial(flags["pidfd-socket"] or (annotations or {}).get("run.oci.pidfd_receiver", ""))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._console, self._pidfd):
            if connection is not None:
                connection.close()

    def hand_over(self, master: int | None, pidfd: int, kind: str) -> None:
        """Sends what there is to whom it was promised. `kind` as with runc: «standard» is an init, «setns» a further process."""
        from wherry.linux import unixsocket

        if self._console is not None and master is not None:
            unixsocket.send(self._console, b"/dev/ptmx", (master,))
        if self._pidfd is not None:
            unixsocket.send(self._pidfd, kind.encode(), (pidfd,))


def _dial(path: str) -> _socket.socket | None:
    if not path:
        return None
    from wherry.linux import unixsocket

    try:
        return unixsocket.connect(path, unixsocket.SOCK_STREAM)
    except OSError as error:
        raise InvalidArgument(f"dial unix {path}: connect: {(error.strerror or '').lower()}") from error
