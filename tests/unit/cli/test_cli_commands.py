"""The table of commands: every place has its module, its help and its words; nothing is imported that a cold start cannot afford."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_recorder import WHERRY, recorder

from wherry.cli.command import Command
from wherry.cli.help import command_help, group_help, root_help
from wherry.cli.index import COMMON, GROUPS, PLACES, REFUSED, find, members, top_level
from wherry.cli.main import global_flags
from wherry.cli.unknown import distance, nearest

SOURCE = Path(__file__).resolve().parents[3] / "src"
HEAVY = frozenset((
    "argparse", "json", "re", "socket", "typing", "dataclasses", "enum", "datetime", "subprocess", "logging", "shutil", "signal", "pathlib", "http",
    "functools", "collections", "tempfile", "ssl", "urllib", "contextlib", "threading", "ctypes", "hashlib", "base64", "inspect", "traceback", "tarfile"))


def load(place: str) -> Command:
    module, _, attribute = place.partition(":")
    command = getattr(__import__(f"wherry.cli.commands.{module}", fromlist=[attribute]), attribute)
    assert isinstance(command, Command)
    return command


@pytest.mark.parametrize(("name", "others", "module", "line"), PLACES, ids=[place[0] for place in PLACES])
def test_every_place_is_a_command_with_help(name: str, others: tuple[str, ...], module: str, line: str) -> None:
    command = load(module)
    names = [flag.name for flag in command.flags]
    assert len(names) == len(set(names))
    letters = [flag.short for flag in command.flags if flag.short]
    assert len(letters) == len(set(letters))
    assert all(flag.help for flag in command.flags)
    text = command_help(command, name, (name, *others), line, 80)
    assert text.startswith(f"Usage:  wherry {name}")
    for flag in command.flags:
        assert flag.hidden or f"--{flag.name}" in text
    for other in others:
        assert find(tuple(other.split())) == (name, others, module, line)


def test_lists_are_complete() -> None:
    text = root_help(global_flags("/x"), 80)
    for name in (*COMMON, *GROUPS, *(one for one, _ in top_level())):
        assert f"\n  {name} " in text
    for group in GROUPS:
        assert members(group)
        assert all(f"\n  {name} " in group_help(group) for name, _ in members(group))


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent.sock", **environment}
    return subprocess.run([WHERRY, *words], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_by_name(name: str) -> None:
    done = run(name, "ls")
    assert (done.returncode, done.stderr) == (1, f"wherry: 'wherry {name}' is not supported by wherry\n")


def test_unknown_commands_and_what_was_meant() -> None:
    done = run("imagse")
    assert done.returncode == 1
    assert done.stderr.startswith("wherry: unknown command: wherry imagse\n\nDid you mean this?\n\timage\n\timages\n")
    assert run("container", "foo").stderr.startswith("wherry: unknown command: wherry container foo\n\nUsage:  wherry container\n")
    assert distance("kitten", "sitting") == 3
    assert nearest("xyz", ["run", "ps"]) == []


def test_exit_codes_without_a_daemon() -> None:
    message = "Cannot connect to the Docker daemon at unix:///nonexistent.sock. Is the docker daemon running?\n"
    assert (run("ps").returncode, run("ps").stderr) == (1, message)
    assert (run("run", "x").returncode, run("run", "x").stderr) == (125, f"wherry: {message}\nRun 'wherry run --help' for more information\n")
    assert run("--bogus", "ps").returncode == 125
    assert run("-c", "nope", "ps").stderr.startswith('Failed to initialize: unable to resolve docker endpoint: context "nope": context not found')
    assert run("-H", "npipe:////./pipe/x", "ps").returncode == 1
    assert run("-H", "a", "-H", "b", "ps").stderr == "Failed to initialize: unable to resolve docker endpoint: specify only one -H\n"


@pytest.mark.parametrize("words", [("ps",), ("images",), ("version",), ("--help",), ("ps", "--help"), ("run", "--help")])
def test_cold_path_imports(words: tuple[str, ...]) -> None:
    """No heavy module, and not many of our own."""
    script = ("import sys; sys.path.insert(0, sys.argv.pop(1)); from wherry.cli.main import main; main(sys.argv[1:]); "
              "sys.stderr.write('\\n'.join(sys.modules))")
    with recorder() as daemon:
        daemon.answers["/images/json"] = (200, b"[]")
        daemon.answers["/version"] = (200, b'{"Version":"1","Components":[]}')
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": daemon.url}
        done = subprocess.run([sys.executable, "-IS", "-c", script, str(SOURCE), *words], env=env, capture_output=True, text=True, check=True)
    modules = done.stderr.split("\n")
    assert not HEAVY & set(modules)
    own = [name for name in modules if name.startswith("wherry")]
    assert len(own) <= (48 if words[0] == "run" else 32), own


def test_one_request_for_ps_and_two_for_an_older_daemon() -> None:
    for version, count in (("1.50", 1), ("1.41", 2)):
        with recorder(version) as daemon:
            done = daemon.call(WHERRY, "ps")
            assert done.code == 0
            assert len(daemon.requests) == count
    with recorder("1.41") as daemon:
        daemon.call(WHERRY, "ps", environment={"DOCKER_API_VERSION": "1.30"})
        assert [target for _, target, _ in daemon.requests] == ["/v1.30/containers/json"]


def test_completion_answers_from_the_table() -> None:
    assert "run\tMake a container from an image and start it" in run("__complete", "ru").stdout
    assert run("__complete", "container", "ls", "--no-t").stdout.startswith("--no-trunc\t")
    assert run("__complete", "network", "cr").stdout == "create\tMake a network\n"
    for shell in ("bash", "zsh", "fish"):
        assert "wherry __complete" in run("completion", shell).stdout
    assert run("completion", "tcsh").returncode == 1


def test_on_demand_starts_the_daemon_beside_and_says_why_it_failed(tmp_path: Path) -> None:
    from wherry.cli.ondemand import start
    from wherry.console.streams import Streams
    from wherry.errors import Unavailable
    if os.geteuid():
        pytest.skip("starts on demand for root alone")
    daemon = tmp_path / "wherryd"
    said = os.memfd_create("said")
    daemon.write_text("#!/bin/sh\necho \"cannot: $1\" >&2\nexit 3\n")
    daemon.chmod(0o755)
    with pytest.raises(Unavailable, match="wherryd ended with exit code 3: cannot: --on-demand"):
        start(str(tmp_path / "socket"), str(tmp_path / "wherry"), Streams(0, said, said))
    assert os.pread(said, 100, 0) == b"wherry: starting wherryd\n"
    daemon.write_text(f"#!{sys.executable}\nimport socket, time\none = socket.socket(socket.AF_UNIX)\none.bind({str(tmp_path / 'socket')!r})\none.listen()\n"
                      "one.accept()[0].send(b'HTTP/1.1 200 OK')\n")
    assert start(str(tmp_path / "socket"), str(tmp_path / "wherry"), Streams(0, said, said))
    os.wait()
    os.close(said)
