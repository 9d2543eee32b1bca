"""The door: global options, the way from words to a command, and the way from errors to exit codes.

Cold start is what matters here: one module per command is imported, and nothing that the command does not need
(docs/architecture.md, «The cold path stays cold-start fast»).
"""

from __future__ import annotations

import os
import sys

from wherry.cli.command import PROGRAM, UNLIMITED, CommandFailed, Flag, Invocation, UsageError
from wherry.cli.configfile import ConfigFile, default_folder
from wherry.cli.flags import HelpWanted, Options, parse
from wherry.cli.index import GROUPS, REFUSED, find
from wherry.console.streams import Streams
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.cli.client import Client
    from wherry.cli.command import Command

INTERRUPTED = 130


def global_flags(folder: str) -> tuple[Flag, ...]:
    """The options before the command; `folder` is where the configuration is."""
    return (
        Flag(name="config", kind="string", help="Folder of the client's configuration", shown=f'"{folder}"'),
        Flag(
            name="context",
            short="c",
            kind="string",
            help='Context to use: a daemon by name (goes before DOCKER_HOST and the one chosen with "context use")',
        ),
        Flag(name="debug", short="D", help="Say more"),
        Flag(name="host", short="H", kind="list", help="Address of the daemon"),
        Flag(
            name="log-level",
            short="l",
            kind="string",
            default="info",
            help='How much to log ("debug", "info", "warn", "error", "fatal")',
            check=_level,
        ),
        Flag(name="tls", help="Use TLS; --tlsverify implies it"),
        Flag(
            name="tlscacert",
            kind="string",
            help="Authority that must have signed the daemon's certificate",
            shown=f'"{folder}/ca.pem"',
        ),
        Flag(name="tlscert", kind="string", help="Our certificate", shown=f'"{folder}/cert.pem"'),
        Flag(name="tlskey", kind="string", help="Our key", shown=f'"{folder}/key.pem"'),
        Flag(name="tlsverify", help="Use TLS and check the daemon's certificate"),
        Flag(name="version", short="v", help="Print the version and end"),
    )


def _level(text: str) -> str:
    if text not in ("debug", "info", "warn", "error", "fatal"):
        raise ValueError(f"unable to parse logging level: {text}")
    return text


def main(argv: Sequence[str], program: str = "") -> int:
    """Runs one command line and returns its exit code."""
    streams = Streams()
    try:
        return run(argv, streams, dict(os.environ), program or sys.argv[0])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 1


def run(argv: Sequence[str], streams: Streams, environment: dict[str, str], program: str) -> int:
    """As `main`, with everything that it touches given."""
    folder = default_folder(environment)
    flags = global_flags(folder)
    try:
        options, words = parse(flags, argv, interspersed=False)
    except HelpWanted:
        return _root_help(flags, streams)
    except UsageError as wrong:
        streams.error_line(
            f"{wrong.message}\n\nUsage:  {PROGRAM} [OPTIONS] COMMAND [ARG...]\n\nRun '{PROGRAM} --help' for more information"
        )
        return wrong.code
    if options.on("version"):
        from wherry import __version__

        streams.line(f"{PROGRAM} version {__version__}")
        return 0
    if not words:
        return _root_help(flags, streams)
    config = ConfigFile(options.text("config") or folder, streams.error_line)
    place = find((words[0],))
    taken = 1
    if place is None and words[0] in GROUPS:
        if len(words) == 1 or words[1] in ("--help", "-h"):
            from wherry.cli.help import group_help

            streams.out(group_help(words[0]))
            return 0
        place = find(tuple(words[:2]))
        taken = 2
    if place is None:
        return _unknown(words, streams, config, environment)
    module, _, attribute = place[2].partition(":")
    command: Command = getattr(__import__(f"wherry.cli.commands.{module}", fromlist=[attribute]), attribute)
    name = place[0] if taken == 2 else words[0]

    def client(connection: list[Client] = []) -> Client:  # noqa: B006 - one connection per call of main: the list is made with this function
        if not connection:
            connection.append(_client(options, config, environment, program, streams))
        return connection[0]

    return perform(command, name, (place[0], *place[1]), place[3], words[taken:], streams, (config, client, options, environment))


def perform(
    command: Command,
    name: str,
    names: tuple[str, ...],
    line: str,
    words: Sequence[str],
    streams: Streams,
    given: tuple[ConfigFile, Callable[[], Client], Options, dict[str, str]],
) -> int:
    """Parses the command's own arguments, runs it and says what went wrong."""
    try:
        if command.skip_flags:
            options, arguments = parse((), ["--", *words])
        else:
            options, arguments = parse(command.flags, words, interspersed=command.interspersed)
        _count(command, name, len(arguments))
    except HelpWanted:
        from wherry.cli.help import command_help

        streams.out(command_help(command, name, names, line, _width(streams)))
        return 0
    except UsageError as wrong:
        from wherry.cli.help import usage_lines

        see = "See" if wrong.code == 1 and command.most != command.least else "Run"
        streams.error_line(
            f"{wrong.message}\n\n{usage_lines(command, name)}\n\n{see} '{PROGRAM} {name} --help' for more information"
        )
        return wrong.code
    config, connect, global_options, environment = given
    hinted = command.error_code != 1
    invocation = Invocation(
        name=name,
        options=options,
        arguments=tuple(arguments),
        streams=streams,
        config=config,
        connect=connect,
        globals=global_options,
        environment=environment,
    )
    try:
        for flag, version in options.needs:
            if version == "windows":
                connect().negotiate()
                system = connect().server_header.get("ostype", "linux")
                only = f'"--{flag}" is only supported on a Docker daemon running on windows'
                raise CommandFailed(f"{only}, but the Docker daemon is running on {system}")
            if not connect().at_least(version):
                raise CommandFailed(
                    f'"--{flag}" requires API version {version}, but the Docker daemon API version is {connect().version}'
                )
        return command.action(invocation)
    except CommandFailed as failed:
        message, code, hinted = failed.message, failed.code, failed.hinted
    except WherryError as failed:
        message, code = failed.message, command.error_code
    except OSError as failed:
        if isinstance(failed, BrokenPipeError):
            raise
        from wherry.cli.words import os_error

        message, code = os_error(failed), command.error_code
    if message:
        streams.error_line(
            message if not hinted else f"{PROGRAM}: {message}\n\nRun '{PROGRAM} {name} --help' for more information"
        )
    return code


def _count(command: Command, name: str, count: int) -> None:
    least, most = command.least, command.most
    if least <= count and (most == UNLIMITED or count <= most):
        return
    subject = f"{PROGRAM}: '{PROGRAM} {name}'"
    if most == 0:
        raise UsageError(f"{subject} accepts no arguments", 1)
    if most == least:
        raise UsageError(f"{subject} requires {least} argument{'s' if least != 1 else ''}", 1)
    if count < least:
        raise UsageError(f"{subject} requires at least {least} argument{'s' if least != 1 else ''}", 1)
    if least == 0:
        raise UsageError(f"{subject} requires at most {most} argument{'s' if most != 1 else ''}", 1)
    raise UsageError(f"{subject} requires at least {least} and at most {most} arguments", 1)


def _width(streams: Streams) -> int:
    return min(max(streams.size()[1], 0) or 80, 500)


def _root_help(flags: Sequence[Flag], streams: Streams) -> int:
    from wherry.cli.help import root_help

    streams.out(root_help(flags, _width(streams)))
    return 0


def _unknown(words: Sequence[str], streams: Streams, config: ConfigFile, environment: dict[str, str]) -> int:
    if words[0] in REFUSED:
        streams.error_line(f"{PROGRAM}: '{PROGRAM} {words[0]}' is not supported by {PROGRAM}")
        return 1
    from wherry.cli.unknown import unknown_command

    return unknown_command(words, streams, config, environment)


def _client(options: Options, config: ConfigFile, environment: dict[str, str], program: str, streams: Streams) -> Client:
    from wherry.cli.client import Client
    from wherry.cli.endpoint import resolve

    try:
        endpoint = resolve(options, config, environment)
    except WherryError as wrong:
        raise CommandFailed(f"Failed to initialize: unable to resolve docker endpoint: {wrong.message}") from None
    start = None
    if endpoint.is_default:

        def start() -> bool:
            from wherry.cli.ondemand import start as start_daemon

            return start_daemon(endpoint.address, program, streams)

    return Client(
        endpoint,
        version=environment.get("DOCKER_API_VERSION", "").removeprefix("v"),
        headers=config.table("HttpHeaders"),
        start=start,
    )
