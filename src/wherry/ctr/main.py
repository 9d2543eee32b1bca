"""The door: global options, the way from words to a command, and the way from errors to exit codes.

Cold start is what matters here: one module per command is imported, and nothing that the command does not need.
"""

from __future__ import annotations

import os
import sys

from wherry.console.streams import Streams
from wherry.ctr.command import CommandFailed, Flag, Invocation, UsageError
from wherry.ctr.flags import HELP, HelpWanted, MissingFlag, Options, TwoForms, parse
from wherry.ctr.index import find
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.ctr.client import Client
    from wherry.ctr.command import Command

ADDRESS = "/run/containerd/containerd.sock"
NO_SUCH_COMMAND = 3
INTERRUPTED = 130

GLOBAL_FLAGS = (
    Flag(names=("debug",), help="log more"),
    Flag(names=("address", "a"), kind="string", default=ADDRESS, variable="CONTAINERD_ADDRESS",
         help="socket of containerd's API"),
    Flag(names=("timeout",), kind="duration", help="give up what takes longer in all"),
    Flag(names=("connect-timeout",), kind="duration", help="give up when containerd does not answer by then"),
    Flag(names=("namespace", "n"), kind="string", default="default", variable="CONTAINERD_NAMESPACE",
         help="namespace to work in"),
)
VERSION_FLAG = Flag(names=("version", "v"), help="print the version")
SNAPSHOTTER = Flag(names=("snapshotter",), kind="string", variable="CONTAINERD_SNAPSHOTTER",
                   help="name of the snapshotter; empty for containerd's default")
GROUP_FLAGS: dict[str, tuple[Flag, ...]] = {
    "snapshots": (SNAPSHOTTER,),
    "pprof": (Flag(names=("debug-socket", "d"), kind="string", default="/run/containerd/debug.sock",
                   help="socket of containerd's debug server"),),
    "shim": (Flag(names=("id",), kind="string", help="id of the container"),),
}


def main(argv: Sequence[str], program: str = "") -> int:
    """Runs one command line and returns its exit code."""
    streams = Streams()
    try:
        return run(argv, streams, dict(os.environ), os.path.basename(program or sys.argv[0]))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 1


def run(argv: Sequence[str], streams: Streams, environment: dict[str, str], program: str) -> int:
    """As `main`, with the streams and the environment given."""
    try:
        options, words = parse((*GLOBAL_FLAGS, VERSION_FLAG), argv, environment)
    except HelpWanted:
        streams.out(_root_help(program))
        return 0
    except UsageError as wrong:
        streams.out(f"{_complaint(wrong)}\n\n{_root_help(program)}")
        streams.error_line(f"{program}: {wrong.message}")
        return 1
    if options.on("version"):
        from wherry import __version__

        streams.line(f"{program} wherry {__version__}")
        return 0
    return _Walk(program, options, streams, environment).walk(program, "", "", options, words)


class _Walk:
    """The way through the tree of commands for one command line."""

    def __init__(self, program: str, options: Options, streams: Streams, environment: dict[str, str]) -> None:
        self._program = program
        self._globals = options
        self._streams = streams
        self._environment = environment
        self._client: Client | None = None

    def walk(self, name: str, group: str, line: str, options: Options, words: Sequence[str]) -> int:
        """Goes on from a group; `options` are the group's own."""
        if not words:
            self._streams.out(self._group_help(name, group, line))
            return 0
        if words[0] in HELP.names or words[0] == "help":
            return self._help(name, group, line, words[1:])
        found = find(group, words[0])
        if found is None:
            return self._unknown(words[0])
        first, module, line = found
        if module:
            return self._command(f"{name} {first}", module, line, options, words[1:])
        inner, name = f"{group} {first}".strip(), f"{name} {first}"
        try:
            options, rest = parse(GROUP_FLAGS.get(inner, ()), words[1:], self._environment)
        except HelpWanted:
            self._streams.out(self._group_help(name, inner, line))
            return 0
        except UsageError as wrong:
            self._streams.out(f"{_complaint(wrong)}\n\n{self._group_help(name, inner, line)}")
            return self._failed(wrong.message)
        return self.walk(name, inner, line, options, rest)

    def _command(self, name: str, module: str, line: str, group: Options, words: Sequence[str]) -> int:
        command = load(module)
        try:
            options, arguments = parse(command.flags, words, self._environment, reorders=command.reorders)
        except HelpWanted:
            return self._command_help(name, command, line)
        except UsageError as wrong:
            if not isinstance(wrong, MissingFlag):
                self._streams.out(f"Incorrect Usage: {wrong.message}\n\n")
            self._command_help(name, command, line)
            return self._failed(wrong.message)
        invocation = Invocation(
            program=self._program, options=options, arguments=tuple(arguments), group=group, globals=self._globals,
            streams=self._streams, environment=self._environment, connect=self._connect)
        try:
            return command.action(invocation) or 0
        except HelpWanted:
            return self._command_help(name, command, line)
        except CommandFailed as failed:
            return self._failed(failed.message, failed.code)
        except WherryError as failed:
            return self._failed(f"{failed.message}: {failed.hint}" if failed.hint else failed.message)
        except OSError as failed:
            if isinstance(failed, BrokenPipeError):
                raise
            subject = f"{failed.filename}: " if failed.filename else ""
            return self._failed(f"{subject}{(failed.strerror or str(failed)).lower()}")

    def _connect(self) -> Client:
        if self._client is None:
            options = self._globals
            from wherry.ctr.client import Client

            self._client = Client(options.text("address"), options.text("namespace"), timeout_s=options.seconds("timeout"),
                                  connect_s=options.seconds("connect-timeout"))
        return self._client

    def _failed(self, message: str, code: int = 1) -> int:
        if message:
            self._streams.error_line(f"{self._program}: {message}")
        return code

    def _unknown(self, word: str) -> int:
        self._streams.error_line(f"No help topic for '{word}'")
        return NO_SUCH_COMMAND

    def _help(self, name: str, group: str, line: str, words: Sequence[str]) -> int:
        if not words:
            self._streams.out(self._group_help(name, group, line))
            return 0
        found = find(group, words[0])
        if found is None:
            return self._unknown(words[0])
        first, module, line = found
        if not module:
            self._streams.out(self._group_help(f"{name} {first}", f"{group} {first}".strip(), line))
            return 0
        return self._command_help(f"{name} {first}", load(module), line)

    def _command_help(self, name: str, command: Command, line: str) -> int:
        from wherry.ctr.help import command_help

        self._streams.out(command_help(name, command, line))
        return 0

    def _group_help(self, name: str, group: str, line: str) -> str:
        if not group:
            return _root_help(self._program)
        from wherry.ctr.help import group_help

        return group_help(name, group, line, GROUP_FLAGS.get(group, ()))


def _complaint(wrong: UsageError) -> str:
    """What stands before the help of the program or a group."""
    return wrong.message if isinstance(wrong, TwoForms) else f"Incorrect Usage. {wrong.message}"


def load(place: str) -> Command:
    """The Command of a `module:NAME` of the index."""
    import importlib

    module, _, name = place.partition(":")
    found: Command = getattr(importlib.import_module(f"wherry.ctr.commands.{module}"), name)
    return found


def _root_help(program: str) -> str:
    from wherry import __version__
    from wherry.ctr.help import root_help

    return root_help(program, __version__, (*GLOBAL_FLAGS, HELP, VERSION_FLAG))
