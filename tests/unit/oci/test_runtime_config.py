"""config.json as values, and the cold path's JSON beside the library's."""

from __future__ import annotations

import _json
import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidArgument
from wherry.oci import jsontext
from wherry.oci.runtime import Config, Process, State
from wherry.runtime.commands.spec import example

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20)


@given(VALUES, st.sampled_from([0, 1, 4]))
def test_json_is_written_as_the_library_reads_it(value: Any, indent: int) -> None:
    assert json.loads(jsontext.dumps(value, indent)) == value


@given(VALUES)
def test_json_is_read_as_the_library_writes_it(value: Any) -> None:
    assert jsontext.loads(json.dumps(value).encode()) == value
    assert jsontext.loads(json.dumps(value, indent=2)) == value


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a":1} x', "NaN", "nul", '"\n"'])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the class is the promise)
        jsontext.loads(text)


def test_both_writers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"text": "ü\ud800\n\\", "list": (1, 2.5, None, True), "empty": [{}, []], 7: MappingProxyType({"a": False})}
    fast = jsontext.dumps(value)
    monkeypatch.delattr(_json, "make_encoder")
    assert jsontext.dumps(value) == fast


def test_what_json_cannot_say_is_a_type_error() -> None:
    for value in (float("nan"), {1, 2}, b"x"):
        with pytest.raises(TypeError):
            jsontext.dumps(value)


def test_a_config_becomes_values() -> None:
    config = Config.from_json(example())
    assert config.process is not None
    assert config.process.args == ("sh",)
    assert config.linux.namespace("pid") is not None
    assert config.linux.namespace("user") is None
    assert config.linux.resources == {"devices": [{"allow": False, "access": "rwm"}]}


def test_a_process_makes_the_round_trip() -> None:
    process = Process.from_json({
        "terminal": True, "consoleSize": {"height": 1, "width": 2}, "user": {"uid": 1, "gid": 2, "umask": 3, "additionalGids": [4]},
        "args": ["a"], "env": ["b=c"], "cwd": "/", "capabilities": {"ambient": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}], "noNewPrivileges": True, "oomScoreAdj": -5,
        "scheduler": {"policy": "SCHED_FIFO", "priority": 3}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 2}})
    assert Process.from_json(process.to_json()) == process


@pytest.mark.parametrize(("document", "message"), [
    ({"process": {"args": "sh"}}, "process.args: expected a list of strings, got a string"),
    ({"process": {"user": {"uid": -1}}}, "process.user.uid: expected a number that is not negative"),
    ({"process": {"user": {"uid": True}}}, "process.user.uid: expected an integer, got a boolean"),
    ({"mounts": [{"destination": 1}]}, r"mounts\[0\].destination: expected a string, got the number 1"),
    ({"linux": {"sysctl": {"a": 1}}}, "linux.sysctl: expected an object of strings"),
    ({"linux": []}, "linux: expected an object, got a list"),
    ([], "config.json: expected an object, got a list"),
])
def test_wrong_types_are_named_by_their_place(document: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Config.from_json(document)


def test_unknown_fields_are_ignored() -> None:
    assert Config.from_json({"odd": 1, "linux": {"odd": []}}) == Config()


def test_the_state_document() -> None:
    assert State(id="a", status="created", pid=3, bundle="/b").to_json() == {
        "ociVersion": "1.0.2", "id": "a", "status": "created", "pid": 3, "bundle": "/b"}
