"""Fifos are left to a process that goes on without us, and to nobody else."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from wherry.console.streams import Streams
from wherry.ctr.command import Invocation
from wherry.ctr.commands import task_exec, task_start
from wherry.ctr.flags import Options, parse
from wherry.errors import Unavailable


class Tasks:
    """The tasks service of a daemon; the call named `failing` is not answered."""

    def __init__(self, failing: str) -> None:
        self.failing = failing
        self.calls: list[str] = []

    def __getattr__(self, name: str):
        def call(**_: object) -> SimpleNamespace:
            self.calls.append(name)
            if name == self.failing:
                raise Unavailable("gone")
            return SimpleNamespace(pid=1, process=SimpleNamespace())
        return call


def outcome(tmp_path, command, words: tuple[str, ...], failing: str) -> list[str]:
    """The calls of one command line; what is left in the folder of the fifos is to be looked at."""
    record = SimpleNamespace(id="c", snapshot_key="", spec=SimpleNamespace(value=b'{"process":{}}'))
    tasks = Tasks(failing)
    client = SimpleNamespace(tasks=tasks, containers=SimpleNamespace(Get=lambda **_: SimpleNamespace(container=record)))
    options, arguments = parse(command.flags, ("--fifo-dir", str(tmp_path), "--detach", *words, "c", "true"), {})
    nothing = Options((), {})
    call = Invocation(program="ctr", options=options, arguments=tuple(arguments), group=nothing, globals=nothing,
                      streams=Streams(), environment={}, connect=lambda: client)
    if failing:
        with pytest.raises(Unavailable):
            command.action(call)
    else:
        assert command.action(call) == 0
    return tasks.calls


@pytest.mark.parametrize(("command", "words", "making"), [
    (task_start.START, (), "Create"), (task_exec.EXEC, ("--exec-id", "e"), "Exec")])
def test_a_detached_process_keeps_its_fifos_once_it_is_made(tmp_path, command, words, making):
    outcome(tmp_path, command, words, making)
    assert os.listdir(tmp_path) == []
    calls = outcome(tmp_path, command, words, "")
    assert len(os.listdir(tmp_path)) == 1
    assert calls[-2:] == [making, "Start"]  # and nobody waits for its end
