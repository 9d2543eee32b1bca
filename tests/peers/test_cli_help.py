"""`--help` of every command beside docker's: each flag is there, with its short name and the kind of its value, or is refused by its name."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from clients import DOCKERS, WHERRY

pytestmark = pytest.mark.peer
COMMANDS = (
    "attach", "build", "commit", "cp", "create", "diff", "events", "exec", "export", "history", "images", "import", "info", "inspect", "kill", "load", "login",
    "logout", "logs", "pause", "port", "ps", "pull", "push", "rename", "restart", "rm", "rmi", "run", "save", "search", "start", "stats", "stop", "tag", "top",
    "unpause", "update", "version", "wait", "builder prune", "container inspect", "container ls", "container prune", "context ls", "image inspect", "image ls",
    "image prune", "image rm", "network connect", "network create", "network disconnect", "network inspect", "network ls", "network prune", "network rm",
    "system df", "system events", "system info", "system prune", "volume create", "volume inspect", "volume ls", "volume prune", "volume rm",
)
# Not in our help: of Windows and of Swarm, given up, or with another name now.
HIDDEN = {
    "run": {"--help", "--kernel-memory", "--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops"},
    "create": {"--help", "--kernel-memory", "--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops"},
    "start": {"--checkpoint", "--checkpoint-dir"}, "stop": {"--time"}, "restart": {"--time"}, "update": {"--kernel-memory"}, "version": {"--kubeconfig"},
    "volume create": {"--availability", "--group", "--limit-bytes", "--required-bytes", "--scope", "--secret", "--sharing", "--topology-preferred",
                      "--topology-required", "--type"}, "volume ls": {"--cluster"},
}
FLAG = re.compile(r"^ +(?:(-\w), )?(--[a-z0-9-]+)(?: (\S+))? {2,}", re.MULTILINE)


def flags(program: str, command: str) -> dict[str, tuple[str, str]]:
    """The flags in a command's help: short names, and words for the values."""
    done = subprocess.run([program, *command.split(), "--help"], capture_output=True, text=True, check=True)
    return {name: (short, value) for short, name, value in FLAG.findall(done.stdout)}


@pytest.mark.parametrize("version", DOCKERS)
def test_every_flag_is_there(version: str) -> None:
    program = DOCKERS[version]
    if not os.access(program, os.X_OK):
        pytest.skip(f"needs {program}")
    different = []
    for command in COMMANDS:
        theirs, ours = flags(program, command), flags(WHERRY, command)
        different += [f"{command} {name}: {ours.get(name)}, not {wanted}" for name, wanted in theirs.items()
                      if ours.get(name) != wanted and name not in HIDDEN.get(command, ())
                      and (version == "docker20" or name not in ours)]
    assert different == []


@pytest.mark.parametrize("command", HIDDEN)
def test_what_the_help_does_not_show_is_known(command: str) -> None:
    """It is taken, or refused in words of its own; a flag that nobody has is neither."""
    def said(flag: str) -> str:
        done = subprocess.run([WHERRY, *command.split(), flag, "1", "x", "y"], capture_output=True, text=True,
                              env={**os.environ, "DOCKER_HOST": "unix:///run/nobody.sock"})
        return done.stderr + done.stdout

    assert "unknown flag: --nosuch" in said("--nosuch")
    for flag in HIDDEN[command]:
        assert "unknown flag" not in said(flag), flag
