"""`wherry-runc`: runc's command line over the runtime library. One command per module in `commands`.

Exit status: 0; 1 for errors (255 from `exec`), as runc; for `run` and `exec` without --detach the program's own.
"""

from __future__ import annotations

import os
import sys

from wherry.errors import WherryError
from wherry.record import Record
from wherry.runtime.flags import Command, Flag, UsageError, check_count, parse
from wherry.runtime.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_ROOT = "/run/wherry-runc"
COMMANDS = ("checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "restore", "resume",
            "run", "spec", "start", "state", "update")
GLOBAL_FLAGS = (
    Flag(names=("debug",), kind="switch", help="log every step, with times"),
    Flag(names=("log",), kind="text", help="append log entries to this file instead of standard error"),
    Flag(names=("log-format",), kind="text", help="format of log entries: text or json", default="text"),
    Flag(names=("root",), kind="text",
         help="folder of the containers' state, on a tmpfs; /run/wherry-runc, or $XDG_RUNTIME_DIR/wherry-runc without root"),
    Flag(names=("criu",), kind="text", help="the program criu, for checkpoint and restore", default="criu"),
    Flag(names=("systemd-cgroup",), kind="switch", help="let systemd manage the cgroup; cgroupsPath is slice:prefix:name"),
    Flag(names=("cgroup-manager",), kind="text", default="cgroupfs",
         help="cgroupfs, systemd or disabled, as crun calls the choice"),
    Flag(names=("config",), kind="text", help="the bundle's configuration file", default="config.json"),
    Flag(names=("rootless",), kind="text", default="auto",
         help="whether a cgroup that may not be made is done without: true, false, or auto (not for root)"),
    Flag(names=("version", "v", "V"), kind="switch", help="print the version"),
)


class Context(Record):
    """What a command is given: the global choices, its own flags by name, its arguments."""

    root: str
    rootless: str
    cgroup_driver: str
    config: str
    criu: str
    flags: Mapping[str, Any]
    arguments: tuple[str, ...]
    log: Log


def main(argv: Sequence[str]) -> int:
    """Runs one command line and returns the exit status."""
    log = Log()
    try:
        values, rest = parse(GLOBAL_FLAGS, argv)
        path = "" if values["log"] == "/dev/stderr" else values["log"].removeprefix("file:")  # crun's word for a path
        if values["log-format"] not in ("text", "json", ""):
            raise WherryError(f"invalid log-format: {values['log-format']}")
        opened = Log(path=path, format=values["log-format"] or "text", debug=values["debug"])
        opened.check()
        log = opened
        return _dispatch(values, rest, log)
    except UsageError as error:
        _help_after(error.message, argv)
        return _fatal(log, error.message, 1)
    except WherryError as error:
        return _fatal(log, error.message, 1)
    except OSError as error:
        from wherry.errors import describe

        return _fatal(log, describe(error), 1)
    except KeyboardInterrupt:
        return 130


def _dispatch(values: Mapping[str, Any], rest: list[str], log: Log) -> int:
    if values["version"]:
        return _version()
    name = rest.pop(0) if rest else "help"
    if values.get("help") or name in ("help", "h"):
        return _help(rest)
    if name not in COMMANDS:
        return _fatal(log, f"No help topic for '{name}'", 3)
    if values["cgroup-manager"] not in ("cgroupfs", "systemd", "disabled"):
        raise WherryError(f"--cgroup-manager {values['cgroup-manager']} is not supported")
    command, run = load(name)
    flags, arguments = parse(command.flags, rest, anywhere=not command.runs_words)
    if flags.get("help"):
        return _help([name])
    check_count(command, arguments)
    if values["debug"]:
        _watch(log)
    context = Context(
        root=os.path.abspath(values["root"] or default_root()), rootless=values["rootless"],
        cgroup_driver="systemd" if values["systemd-cgroup"] else values["cgroup-manager"],
        config=values["config"], criu=values["criu"], flags=flags, arguments=tuple(arguments), log=log)
    try:
        return run(context)
    except WherryError as error:
        prefix, code = _FAILURES.get(name, ("", 1))
        return _fatal(log, prefix + error.message, code)
    except OSError as error:
        from wherry.errors import describe

        prefix, code = _FAILURES.get(name, ("", 1))
        return _fatal(log, prefix + describe(error), code)


# What stands before an error's message, and the exit status, where they are not «» and 1.
_FAILURES = {"create": ("runc create failed: ", 1), "run": ("runc run failed: ", 1), "exec": ("exec failed: ", 255)}


def default_root() -> str:
    """Where the state is when nobody says: in a folder of the user's, where there is one, for who is not the machine's root."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if not own:
        return _ROOT
    from wherry.linux.namespace import in_user_namespace

    mine = os.geteuid() != 0 or (in_user_namespace() and os.environ.get("USER") != "root")
    return f"{own}/wherry-runc" if mine else _ROOT


def load(name: str) -> tuple[Command, Callable[[Context], int]]:
    """The face and the action of a command; its module is imported now."""
    module_name = f"wherry.runtime.commands.{name}"
    __import__(module_name)
    module = sys.modules[module_name]
    return module.COMMAND, module.run


def _fatal(log: Log, message: str, code: int) -> int:
    """One entry in the log; people see it too when the log is a file."""
    try:
        log.write("error", message)
    except OSError as error:
        os.write(2, f"cannot write the log {log.path}: {error.strerror}\n".encode())
    if log.path:
        os.write(2, f"{message}\n".encode("utf-8", "surrogateescape"))
    return code


def _watch(log: Log) -> None:
    """Each step becomes an entry: milliseconds since now, the process that does it (as it sees itself), what it does."""
    import time

    from wherry import trace

    begun, fd = time.monotonic(), log.keep()

    def show(moment: float, operation: str, subject: str) -> None:
        text = f"{(moment - begun) * 1000:8.3f} ms [{os.getpid()}] {operation} {subject}".rstrip()
        try:
            os.write(fd, log.line("debug", text))
        except OSError:  # a process on its way into a container closes all that is not its program's: watched up to there
            trace.watch(None)

    trace.watch(show)


def _version() -> int:
    from wherry import __version__
    from wherry.oci import RUNTIME_VERSION

    print(f"wherry-runc version {__version__}\ncommit: v{__version__}\nspec: {RUNTIME_VERSION}\npython: {sys.version.split()[0]}")
    print("+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF")  # as crun says what it was built with
    return 0


def _help(words: Sequence[str]) -> int:
    from wherry.runtime.help import page

    print(page(words[0] if words else ""), end="")
    return 0


def _help_after(message: str, argv: Sequence[str]) -> None:
    from wherry.runtime.help import page

    name = next((word for word in argv if word in COMMANDS), "")
    what = "." if message.startswith("wherry-runc: ") else f": {message}"  # as runc: the number of arguments is told at the end
    print(f"Incorrect Usage{what}\n\n{page(name)}", end="", flush=True)
