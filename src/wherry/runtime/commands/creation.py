"""What `create` and `run` share: their flags, and the way from the command line to a created container."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.runtime import container
from wherry.runtime.create import read_config
from wherry.runtime.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Config
    from wherry.runtime.container import Init
    from wherry.runtime.main import Context

SECCOMP_CACHE = "/run/wherry/seccomp"
BUNDLE = Flag(names=("bundle", "b"), kind="text", help="the bundle's folder; the current one if not given")
CONSOLE_SOCKET = Flag(names=("console-socket",), kind="text",
                      help="Unix socket that is sent the master of the container's terminal")
PID_FILE = Flag(names=("pid-file",), kind="text", help="write the process id to this file")
PRESERVE_FDS = Flag(names=("preserve-fds",), kind="number", default="0",
                    help="pass on this many descriptors beyond stdio and $LISTEN_FDS")
FLAGS = (
    BUNDLE,
    CONSOLE_SOCKET,
    PID_FILE,
    Flag(names=("no-pivot",), kind="switch", help="move the root instead of pivot_root, for a rootfs on a ramdisk"),
    Flag(names=("no-new-keyring",), kind="switch", help="keep the caller's session keyring"),
    PRESERVE_FDS,
)


def load_config(context: Context) -> tuple[str, Config]:
    """The bundle's folder and its config, with what systemd passed on ($LISTEN_FDS) added to the environment."""
    bundle = context.flags["bundle"] or os.getcwd()
    if not os.path.isdir(bundle):
        raise InvalidArgument(f"chdir {bundle}: no such file or directory")
    config = read_config(os.path.abspath(bundle))
    count = listen_fds()
    if count and config.process is not None:
        process = config.process.replace(env=(*config.process.env, f"LISTEN_FDS={count}", "LISTEN_PID=1"))
        config = config.replace(process=process)
    return bundle, config


def listen_fds() -> int:
    """How many descriptors systemd handed over, sd_listen_fds(3)."""
    text = os.environ.get("LISTEN_FDS", "")
    return int(text) if text.isdigit() else 0


def check_terminal(terminal: bool, detached: bool, console_socket: str) -> None:
    """A terminal needs somebody to hold it: the console socket when we do not stay. Messages as runc's."""
    if detached and terminal and not console_socket:
        raise InvalidArgument("cannot allocate tty if runc will detach without setting console socket")
    if (not detached or not terminal) and console_socket:
        raise InvalidArgument("cannot use console socket if runc will not detach or allocate tty")


def create(context: Context, bundle: str, config: Config, detached: bool) -> Init:
    """Creates the container in cold mode. The master of a terminal stays with `Init.console`."""
    flags = context.flags
    process = config.process
    check_terminal(bool(process and process.terminal), detached, flags["console-socket"])
    return container.create(container.CreateRequest(
        id=context.arguments[0], bundle=bundle, root=context.root, config=config, pid_file=flags["pid-file"],
        cgroup_driver=context.cgroup_driver, no_pivot=flags["no-pivot"], no_new_keyring=flags["no-new-keyring"],
        preserve_fds=flags["preserve-fds"] + listen_fds(), mode="cold", seccomp_cache=SECCOMP_CACHE))


def send_console(path: str, master: int) -> None:
    """Hands a terminal's master to whoever listens at `path`, with the name that runc gives it."""
    from wherry.linux import unixsocket

    connection = unixsocket.connect(path, unixsocket.SOCK_STREAM)
    try:
        unixsocket.send(connection, b"/dev/ptmx", (master,))
    finally:
        connection.close()
