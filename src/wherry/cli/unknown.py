"""Words that are no command: a plugin's program, or the message with what was perhaps meant."""

from __future__ import annotations

import os

from wherry.cli.command import PROGRAM
from wherry.cli.index import GROUPS, top_level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.cli.configfile import ConfigFile
    from wherry.console.streams import Streams

SYSTEM_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
METADATA = "docker-cli-plugin-metadata"


def unknown_command(words: Sequence[str], streams: Streams, config: ConfigFile, environment: dict[str, str]) -> int:
    """Runs the plugin `docker-<word>` where there is one (this process becomes it).

    Otherwise says that the command is unknown.
    """
    name = words[0]
    if name not in GROUPS and name.replace("-", "").isalnum():
        program = find_plugin(name, config)
        if program:
            os.execve(program, [program, *words], {**environment, "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": PROGRAM})
    shown = " ".join(words[:2]) if name in GROUPS else name
    usage = f"\nUsage:  {PROGRAM} {name}\n" if name in GROUPS else ""
    close = [] if name in GROUPS else nearest(name, [*(one for one, _ in top_level()), *GROUPS])
    hint = f"\nDid you mean this?\n{''.join(f'	{one}' + chr(10) for one in close)}" if close else ""
    where = f"{PROGRAM} {name}" if name in GROUPS else PROGRAM
    streams.error_line(f"{PROGRAM}: unknown command: {PROGRAM} {shown}\n{hint}{usage}\nRun '{where} --help' for more information")
    return 1


def find_plugin(name: str, config: ConfigFile) -> str:
    """The program of a plugin that says of itself that it is one; empty when there is none."""
    extra = config.values.get("cliPluginsExtraDirs")
    for folder in (f"{config.folder}/cli-plugins", *(extra if isinstance(extra, list) else ()), *SYSTEM_FOLDERS):
        path = f"{folder}/docker-{name}"
        if os.access(path, os.X_OK) and _is_plugin(path):
            return path
    return ""


def _is_plugin(path: str) -> bool:
    import subprocess

    from wherry.cli.jsontext import loads

    try:
        answer = subprocess.run([path, METADATA], capture_output=True, timeout=10).stdout
        found = loads(answer)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
    return isinstance(found, dict) and found.get("SchemaVersion") == "0.1.0" and bool(found.get("Vendor"))


def nearest(word: str, names: Sequence[str]) -> list[str]:
    """The names that differ in a letter or two, or that begin with the word."""
    most = min(2, len(word) // 3)
    return sorted({name for name in names if distance(word, name) <= most or (len(word) > 1 and name.startswith(word))})


def distance(left: str, right: str) -> int:
    """How many letters must be put in, taken out or replaced."""
    row = list(range(len(right) + 1))
    for at, one in enumerate(left, 1):
        before, row[0] = row[0], at
        for to, other in enumerate(right, 1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (one != other))
    return row[-1]
