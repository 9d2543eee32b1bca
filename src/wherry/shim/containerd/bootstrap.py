"""`containerd-shim-wherry-v2`: what containerd executes to get a shim, and to tidy up after one.

    … -namespace N -address A -publish-binary B -id ID start      in the bundle's folder; prints where the shim listens
    … -namespace N -address A -id ID -bundle DIR delete           after a shim that is gone; prints a DeleteResponse
    … -info                                                       what this is (a RuntimeInfo); -v: the version

Containers of one pod share a shim: the annotations below name it. Source: containerd's `runtime/v2/README.md`.
"""

from __future__ import annotations

import os
import sys
import time

import wherry
from wherry.errors import InvalidArgument, WherryError
from wherry.linux import unixsocket
from wherry.oci.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, Final

SOCKETS: Final = "/run/containerd/s"
GROUPS: Final = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
USAGE: Final = """Usage of containerd-shim-wherry-v2:
  -address string
    \tgrpc address back to main containerd
  -bundle string
    \tpath to the bundle if not workdir
  -debug
    \tenable debug output in logs
  -id string
    \tid of the task
  -info
    \tprint the shim info protobuf to stdout, and exit
  -namespace string
    \tnamespace that owns the shim
  -publish-binary string
    \tpath to publish binary (used for publishing events) (default "containerd")
  -socket string
    \tsocket path to serve
  -v\tshow the shim version and exit
"""
_SWITCHES: Final = ("debug", "info", "v")
_WORDS: Final = ("address", "bundle", "id", "namespace", "publish-binary", "socket")
_OOM_SCORE: Final = "/proc/{}/oom_score_adj"


class Flags:
    """The command line, by Go's rules for flags: `-id x`, `--id=x`, switches without a value, then the action."""

    def __init__(self, arguments: list[str]) -> None:
        self.values: dict[str, str] = {"publish-binary": "containerd"}
        self.switches: set[str] = set()
        words = list(arguments)
        while words and words[0].startswith("-"):
            name, equals, value = words.pop(0).lstrip("-").partition("=")
            if name in _SWITCHES:
                if value not in ("false", "0"):
                    self.switches.add(name)
            elif name in _WORDS:
                if not equals:
                    if not words:
                        raise InvalidArgument(f"flag needs an argument: -{name}")
                    value = words.pop(0)
                self.values[name] = value
            else:
                raise InvalidArgument(f"flag provided but not defined: -{name}")
        self.action = words[0] if words else ""

    def need(self, name: str) -> str:
        """A flag that must be there."""
        if not self.values.get(name):
            raise InvalidArgument(f"shim {name} cannot be empty")
        return self.values[name]


def main(arguments: list[str]) -> int:
    """Runs the program; its exit status."""
    try:
        flags = Flags(arguments)
        if "v" in flags.switches:
            sys.stdout.write(f"containerd-shim-wherry-v2:\n  Version:  {wherry.__version__}\n")
        elif "info" in flags.switches:
            _info()
        elif flags.action == "start":
            sys.stdout.write(start(flags))
        elif flags.action == "delete":
            sys.stdout.buffer.write(delete(flags))
        else:
            raise InvalidArgument(f"unknown action {flags.action!r}: start or delete")
    except InvalidArgument as error:
        sys.stderr.write(f"{error.message}\n{USAGE}")
        return 2
    except (WherryError, OSError) as error:
        sys.stderr.write(f"containerd-shim-wherry-v2: {error}\n")
        return 1
    return 0


def start(flags: Flags) -> str:
    """Starts a shim, or finds the one of the container's group; what is printed: its address."""
    namespace, container_id, address = flags.need("namespace"), flags.need("id"), flags.need("address")
    bundle = os.getcwd()
    group = group_of(bundle) or container_id
    path = flags.values.get("socket") or socket_path(address, namespace, group)
    if not answers(path):
        options = _options_from_stdin()
        os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
        listener = unixsocket.listen(path, unixsocket.SOCK_STREAM)
        pid = _spawn(listener, [container_id, namespace, path, address, _ttrpc_address(address), flags.values["publish-binary"],
                                "debug" if "debug" in flags.switches else ""])
        _place(pid, options)
    where = f"unix://{path}"
    _write_address(bundle, where)
    newest = os.environ.get("MAX_SHIM_VERSION", "")
    if newest.isdigit() and int(newest) >= 2:  # containerd 1.7 and newer
        return dumps({"version": min(3, int(newest)), "address": where, "protocol": "ttrpc"})
    return where


def delete(flags: Flags) -> bytes:
    """Ends and removes what a shim that is gone has left."""
    from wherry.shim.containerd import messages
    from wherry.shim.containerd.leftovers import clear
    from wherry.shim.containerd.protobuf import encode

    container_id, namespace = flags.need("id"), flags.need("namespace")
    bundle = flags.values.get("bundle") or os.getcwd()
    pid = clear(container_id, bundle)
    address = flags.values.get("address", "")
    if not group_of(bundle):
        try:
            os.unlink(socket_path(address, namespace, container_id))
        except FileNotFoundError:
            pass
    now = messages.timestamp(time.time_ns())
    return encode(messages.DeleteResponse, {"pid": pid, "exit_status": 128 + 9, "exited_at": now})


def socket_path(address: str, namespace: str, group: str) -> str:
    """Where the shim of a group listens: a name that depends on containerd, the namespace and the group alone."""
    from wherry.oci.digest import sha256_hex

    return f"{SOCKETS}/{sha256_hex(f'{address}/{namespace}/{group}'.encode())}"


def group_of(bundle: str) -> str:
    """The group of containers that the one in a bundle shares a shim with, by its annotations; "" when it is alone."""
    try:
        with open(f"{bundle}/config.json", encoding="utf-8") as file:
            config: Any = loads(file.read())
    except (FileNotFoundError, ValueError):
        return ""
    annotations = config.get("annotations") or {} if isinstance(config, dict) else {}
    return next((str(annotations[name]) for name in GROUPS if annotations.get(name)), "")


def answers(path: str) -> bool:
    """Whether a shim listens there; the socket of one that is gone is removed."""
    try:
        unixsocket.connect(path, unixsocket.SOCK_STREAM).close()
    except FileNotFoundError:
        return False
    except ConnectionRefusedError:
        os.unlink(path)
        return False
    return True


def _ttrpc_address(address: str) -> str:
    """Containerd's socket for events; "" where it has none."""
    given = os.environ.get("TTRPC_ADDRESS", "")
    guess = address.removeprefix("unix://") + ".ttrpc"
    return given or (guess if os.path.exists(guess) else "")


def _spawn(listener: _socket.socket, arguments: list[str]) -> int:
    from wherry.shim.spawn import spawn_interpreter

    try:
        log = os.open("log", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # nobody reads it
        log = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        return spawn_interpreter(
            "wherry-shim", f"from wherry.shim.containerd.server import main; main({arguments!r})", listener.fileno(), log,
            {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")})
    finally:
        os.close(log)


def _options_from_stdin() -> dict[str, Any] | None:
    """The runtime's options, which containerd writes to the program's stdin."""
    from wherry.shim.containerd import messages, settings
    from wherry.shim.containerd.protobuf import decode

    if os.isatty(0):
        return None
    try:
        data = sys.stdin.buffer.read(1 << 20)
    except OSError:
        return None
    return settings.read_options(decode(messages.Any, data)) if data else None


def _place(pid: int, options: dict[str, Any] | None) -> None:
    """Puts the shim where it is to be: into its cgroup, and behind containerd in the order of who is killed for memory."""
    if options and options["shim_cgroup"]:
        from wherry.linux import cgroup

        group = cgroup.manager(options["shim_cgroup"])
        group.create()
        group.join(pid)
    with open(_OOM_SCORE.format(os.getppid()), encoding="utf-8") as file:
        score = min(1000, int(file.read()) + 1)
    try:
        with open(_OOM_SCORE.format(pid), "w", encoding="utf-8") as file:
            file.write(str(score))
    except OSError:
        pass  # a lower score than one's own takes CAP_SYS_RESOURCE


def _write_address(bundle: str, where: str) -> None:
    """Where containerd finds the shim again after it was restarted."""
    path = f"{bundle}/.address"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(where)
    os.rename(path, f"{bundle}/address")


def _info() -> None:
    from wherry.shim.containerd.protobuf import STRING, Field, Message, encode

    version = Message("RuntimeVersion", Field(1, "version", STRING), Field(2, "revision", STRING))
    info = Message("RuntimeInfo", Field(1, "name", STRING), Field(2, "version", version))
    sys.stdout.buffer.write(encode(info, {"name": "io.containerd.wherry.v2", "version": {"version": wherry.__version__}}))
