"""wherryd's front door: arguments, the checks that need nothing running, then the program.

Whatever keeps the daemon from starting is one line on stderr and exit status 1.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from wherry import __version__
from wherry.cli.command import UsageError
from wherry.cli.flags import HelpWanted, parse
from wherry.daemon import config
from wherry.daemon.flags import SETTINGS
from wherry.daemon.settings import places_of, settings
from wherry.errors import WherryError
from wherry.linux.cgroup.layout import usual_driver

if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.daemon.settings import Settings

_USAGE = "Usage:  wherryd [OPTIONS]\n\nA self-sufficient runtime for containers.\n\nOptions:\n"


def main(argv: list[str]) -> int:
    """Runs the daemon; the exit status."""
    try:
        options, rest = parse([setting.flag for setting in SETTINGS], argv)
    except HelpWanted:
        from wherry.cli.help import flag_lines

        sys.stdout.write(_USAGE + flag_lines([setting.flag for setting in SETTINGS], _width()))
        return 0
    except UsageError as error:
        return _complain(f"{error}\nSee 'wherryd --help'.")
    if rest:
        return _complain("\"wherryd\" accepts no arguments.\nSee 'wherryd --help'.\n\n" + _USAGE.partition("\n\nOptions")[0])
    if options.on("version"):
        sys.stdout.write(f"Wherry version {__version__}, build unknown\n")
        return 0
    try:
        chosen = _settings(options)
        if options.on("validate"):
            sys.stdout.write("configuration OK\n")
            return 0
        if os.geteuid():
            return _complain("wherryd needs to be started with root privileges")
        return _run(chosen, options)
    except WherryError as error:
        return _complain(error.message + (f"\n{error.hint}" if error.hint else ""))
    except OSError as error:
        return _complain(f"failed to start daemon: {error.filename + ': ' if error.filename else ''}"
                         f"{(error.strerror or str(error)).lower()}")


def _settings(options: Options) -> Settings:
    given = config.of_flags(options)
    return settings(config.read(options, places_of(given).config_file), usual_driver())


def _run(chosen: Settings, options: Options) -> int:
    import asyncio

    from wherry.daemon import logs
    from wherry.daemon.program import Program

    logs.configure(chosen.log_level, chosen.log_format, debug=chosen.debug)
    os.environ.update(chosen.environment)
    if chosen.oom_score_adjust:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(chosen.oom_score_adjust))

    def ready() -> None:
        if chosen.on_demand_s is not None:
            _leave_the_starter(chosen.engine.run_folder)

    async def run() -> int:
        return await Program(chosen, lambda: _settings(options), os.environ).run(ready)

    return asyncio.run(run())


def _leave_the_starter(run_folder: str) -> None:
    """From here on the log goes to a file of our own: who started us is soon gone, and its stderr with it."""
    fd = os.open(f"{run_folder}/wherryd.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 2, inheritable=False)
    os.close(fd)


def _complain(message: str) -> int:
    sys.stderr.write(f"wherryd: {message}\n")
    return 1


def _width() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 80
