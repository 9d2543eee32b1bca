"""runc's command line: Go's grammar, log entries as logrus writes them, the program found or refused in known words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wherry.runtime import log
from wherry.runtime.commands.kill import parse_signal
from wherry.runtime.commands.list import table
from wherry.runtime.commands.ps import only
from wherry.runtime.commands.update import size
from wherry.runtime.container import StartFailed
from wherry.runtime.flags import UsageError, parse
from wherry.runtime.lookup import find_program, merge_environment
from wherry.runtime.main import COMMANDS, GLOBAL_FLAGS, load

SRC = Path(__file__).resolve().parents[3] / "src"


@pytest.mark.parametrize(("words", "expected", "rest"), [
    (["--root", "/r", "create", "--bundle"], {"root": "/r"}, ["create", "--bundle"]),
    (["-root=/r", "-debug", "x"], {"root": "/r", "debug": True}, ["x"]),
    (["--debug=false", "--", "-x"], {"debug": False}, ["-x"]),
    (["-v"], {"version": True}, []),
])
def test_grammar(words: list[str], expected: dict[str, object], rest: list[str]) -> None:
    values, left = parse(GLOBAL_FLAGS, words)
    assert left == rest
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize(("words", "message"), [
    (["--nope"], "flag provided but not defined: -nope"), (["--root"], "flag needs an argument: -root"),
    (["--debug=x"], 'invalid boolean value "x" for -debug'),
])
def test_grammar_refuses(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(GLOBAL_FLAGS, words)


def test_every_command_has_a_face_of_its_own_name() -> None:
    for name in COMMANDS:
        command, run = load(name)
        assert command.name == name
        assert command.usage
        assert callable(run)


def test_log_entries() -> None:
    assert log.entry("text", "error", 'a "b"', "T") == 'time="T" level=error msg="a \\"b\\""\n'
    assert log.entry("text", "error", "plain", "T") == 'time="T" level=error msg=plain\n'
    assert json.loads(log.entry("json", "error", "x\ny", "T")) == {"level": "error", "msg": "x\ny", "time": "T"}


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("KILL", 9), ("SIGTERM", 15), ("hup", 1)])
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


def test_the_program_is_looked_up_and_refused_as_go_does(tmp_path: Path) -> None:
    good, plain = tmp_path / "good", tmp_path / "plain"
    good.write_text("x")
    good.chmod(0o755)
    plain.write_text("x")
    plain.chmod(0o644)
    environment = {"PATH": f"/nowhere:{tmp_path}"}
    assert find_program("good", environment) == str(good)
    for name, code, text in [
        ("plain", 127, 'exec: "plain": executable file not found in $PATH'), (str(plain), 126, "permission denied"),
        ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'), (str(tmp_path), 126, "permission denied"),
    ]:
        with pytest.raises(StartFailed) as caught:
            find_program(name, environment)
        assert caught.value.exit_code == code
        assert text in caught.value.message
        assert caught.value.message.startswith("unable to start container process: ")


def test_a_later_variable_wins() -> None:
    assert merge_environment(("A=1", "B=2", "A=3=4", "odd", "=x")) == {"B": "2", "A": "3=4"}


def test_tables_and_sizes() -> None:
    assert table([("ID", "X"), ("a", "b")]) == "ID          X\na           b\n"
    assert only("UID PID CMD\nroot 1 a\nroot 22 b\n", (22,)) == "UID PID CMD\nroot 22 b\n"
    assert size("memory", "64m") == 64 << 20


HEAVY = ("json", "re", "typing", "dataclasses", "argparse", "subprocess", "logging", "socket", "ctypes", "signal", "pathlib", "enum",
         "tempfile", "shutil", "collections", "functools")


MAIN = ("wherry.runtime.main", "_json", "fcntl")
CREATOR = (*MAIN, "wherry.runtime.commands.create", "wherry.runtime.create", "wherry.linux.seccomp.cache", "wherry.linux.cgroup.plan_v1",
           "wherry.linux.cgroup.v1", "time", "_sha256", "_ctypes")
INIT = (*CREATOR, "wherry.runtime.init", "wherry.runtime.hop", "wherry.linux.seccomp.loader")
EXEC = (*MAIN, "wherry.runtime.commands.exec", "wherry.runtime.execute", "wherry.linux.cgroup.v1", "wherry.runtime.hop",
        "wherry.runtime.commands.foreground", "_ctypes")
STATE = (*MAIN, "wherry.runtime.commands.state", "wherry.runtime.state", "wherry.linux.cgroup.v1")
DELETE = (*MAIN, "wherry.runtime.commands.delete", "wherry.runtime.delete", "wherry.linux.cgroup.v1", "select")


@pytest.mark.parametrize(("modules", "own"), [(CREATOR, 44), (INIT, 51), (EXEC, 41), (STATE, 23), (DELETE, 25)],
                         ids=["creator", "init", "exec", "state", "delete"])
def test_a_cold_start_imports_little(modules: tuple[str, ...], own: int) -> None:
    """At most 40 modules of the standard library, start-up included, none of the heavy ones; packages are counted.

    Of ours the creator reads those of its own part, the init the rest, at the same time. A filter that the cache has needs no compiler.
    """
    code = f"import sys; sys.path.insert(0, sys.argv[1])\nimport {', '.join(modules)}\nprint('\\n'.join(sys.modules))\n"
    # -IS as the launcher; the fifth version's modules differ little.
    out = subprocess.run([sys.executable, "-IS", "-c", code, str(SRC)], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in HEAVY if name in out] == []
    assert not any(name.startswith("wherry.linux.seccomp.compiler") for name in out)
    assert len([name for name in out if not name.startswith("wherry")]) <= 41  # with _sha256, which only a filter needs
    assert len([name for name in out if name.startswith("wherry")]) <= own
