"""A config that makes no sense is refused in runc's words, before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.errors import Conflict, InvalidArgument, NotFound, Unsupported, WherryError
from wherry.linux import capability
from wherry.oci.runtime import Capabilities, Config, ExecAffinity, Process, Rlimit, User
from wherry.runtime import state
from wherry.runtime.commands.spec import example, rootless
from wherry.runtime.credentials import plan_credentials
from wherry.runtime.devices import allow_default_devices, plan_devices
from wherry.runtime.validate import check_config


def changed(**parts: Any) -> Config:
    document = example()
    for name, value in parts.items():
        place, *rest = name.split("__")
        target = document
        for part in [place, *rest][:-1]:
            target = target[part]
        target[[place, *rest][-1]] = value
    return Config.from_json(document)


def test_the_examples_are_accepted() -> None:
    check_config(Config.from_json(example()))
    check_config(Config.from_json(rootless(example())))


@pytest.mark.parametrize(("parts", "message"), [
    ({"root": {"path": ""}}, "root must be specified"),
    ({"process__args": []}, "args must not be empty"),
    ({"process__cwd": "tmp"}, "Cwd must be an absolute path"),
    ({"ociVersion": "2.0.0"}, "unsupported ociVersion"),
    ({"linux__namespaces": [{"type": "odd"}]}, "does not exist"),
    ({"linux__namespaces": [{"type": "pid"}, {"type": "pid"}]}, "duplicated ns"),
    ({"linux__namespaces": [{"type": "mount"}]}, "unable to set hostname without a private UTS namespace"),
    ({"linux__sysctl": {"kernel.panic": "1"}}, "is not in a separate kernel namespace"),
    ({"linux__sysctl": {"net/../kernel/panic": "1"}}, "is not in a separate kernel namespace"),
    ({"linux__namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "user"}],
      "linux__uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}, "no gid mappings found"),
    ({"hooks": {"poststart": [{"path": "x"}]}}, "must be absolute"),
    ({"linux__intelRdt": {"closID": "x"}}, "intelRdt is specified in config, but Intel RDT is not supported or enabled"),
    ({"linux__timeOffsets": {"monotonic": {"secs": 1}}}, "time namespace isn't enabled"),
    ({"linux__namespaces": [{"type": "mount"}, {"type": "time", "path": "/x"}], "linux__timeOffsets": {"boottime": {"secs": 1}}, "hostname": ""}, "only provide one"),
    ({"linux__namespaces": [{"type": "mount"}, {"type": "time"}], "linux__timeOffsets": {"realtime": {"secs": 1}}, "hostname": ""}, 'no clock "realtime"'),
])
def test_refusals(parts: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidArgument, Unsupported), match=message):
        check_config(changed(**parts))


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a b", "ä"])
def test_ids_are_file_names(bad: str) -> None:
    with pytest.raises(InvalidArgument):
        state.check_id(bad)
    state.check_id("a_b+c-d.0")


def test_credentials_are_masks_and_limits_have_names() -> None:
    plan = plan_credentials(Process.from_json({"capabilities": {"bounding": ["CAP_KILL", "CAP_ODD"]}, "user": {"uid": 7}}))
    assert plan.capabilities == (1 << capability.NAMES.index("CAP_KILL"), 0, 0, 0, 0)
    assert plan.uid == 7
    with pytest.raises(InvalidArgument, match="wrong rlimit value: RLIMIT_ODD"):
        plan_credentials(Process.from_json({"rlimits": [{"type": "RLIMIT_ODD", "soft": 1, "hard": 1}]}))


def test_devices_are_left_to_whoever_binds_dev() -> None:
    assert plan_devices(changed(mounts=[{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}])).nodes == ()
    assert "/dev/null" in {node.path for node in plan_devices(Config.from_json(example())).nodes}


def test_the_default_devices_are_allowed_after_the_rules_of_the_config() -> None:
    rules = allow_default_devices({"devices": [{"allow": False}]})["devices"]
    assert rules[0] == {"allow": False}
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules


def test_state_comes_back_as_it_was_written(tmp_path: Any) -> None:
    process = Process(
        args=("true",), cwd="/", user=User(uid=1, umask=0o27, additional_gids=(5,)), rlimits=(Rlimit(type="RLIMIT_CPU", soft=1, hard=2),),
        capabilities=Capabilities(bounding=("CAP_KILL",)), exec_affinity=ExecAffinity(initial="0"))
    saved = state.Saved(
        id="c", pid=1, start_time=2, bundle="/b", rootfs="/b/r", created="now", cgroup_path="/c", cgroup_driver="cgroupfs",
        namespaces=("pid",), annotations={"a": "b"}, process=process.to_json())
    (tmp_path / "c").mkdir()
    state.save(str(tmp_path), saved)
    assert state.load(str(tmp_path), "c") == saved
    assert saved.own_process() == process
    assert state.list_ids(str(tmp_path)) == ["c"]
    state.remove(str(tmp_path), "c")
    with pytest.raises(NotFound, match="container does not exist"):
        state.load(str(tmp_path), "c")


def test_a_state_of_another_version_or_broken_is_refused(tmp_path: Any) -> None:
    (tmp_path / "c").mkdir()
    for text in ('{"version": 9}', "{", '{"version": 1}', "[]"):
        (tmp_path / "c/state.json").write_text(text)
        with pytest.raises(WherryError) as caught:
            state.load(str(tmp_path), "c")
        assert not isinstance(caught.value, (NotFound, Conflict))
