"""Filters that notify: what the agent of `wherry-runc` is told and does, beside runc's and crun's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure  # noqa: F401 (a fixture)
from seccomp_agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer]
MKDIR, EXECVE = 83, 59
if os.uname().machine != "x86_64":
    pytest.skip("the numbers of the calls are those of x86_64", allow_module_level=True)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    one = Agent(tmp_path / "agent.sock")
    yield one
    one.close()


def filtered(bundle: Path, agent: Path | str, *args: str, names: tuple[str, ...] = ("mkdir",), default: str = "ALLOW", metadata: str = "",
             **process: Any) -> None:
    """A configuration whose calls `names` are passed on to the agent."""
    configure(bundle, *args, **process)
    document = json.loads((bundle / "config.json").read_text())
    document["annotations"] = {"a": "b"}
    document["linux"]["seccomp"] = {
        "defaultAction": f"SCMP_ACT_{default}", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": str(agent),
        "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}] if names else []}
    if metadata:
        document["linux"]["seccomp"]["listenerMetadata"] = metadata
    (bundle / "config.json").write_text(json.dumps(document))
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/mkdir")


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("runtime", [WHERRY, "runc", "crun"], ids=["wherry", "runc", "crun"])
def test_an_agent_answers(bundle: Path, agent: Agent, runtime: str, no_new_privileges: bool) -> None:
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    filtered(bundle, agent.path, "mkdir", "/tmp/x", metadata="said", noNewPrivileges=no_new_privileges)
    code, text = call(runtime, bundle, "run", "asked")
    assert (code, text) == (1, "mkdir: can't create directory '/tmp/x': Invalid cross-device link\n")
    assert [number for number, _ in agent.calls] == [MKDIR]
    [told] = agent.told
    assert told["fds"] == ["seccompFd"]
    assert told["pid"] == told["state"]["pid"] == agent.calls[0][1]
    assert told["metadata"] == "said"
    state = {name: told["state"][name] for name in ("id", "status", "bundle")}
    assert state == {"id": "asked", "status": "creating", "bundle": str(bundle)}
    assert runtime == "crun" or told["state"]["annotations"] == {"a": "b"}
    assert runtime == "crun" or told["ociVersion"].startswith("1.")


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("runtime", [WHERRY, "runc"], ids=["wherry", "runc"])
def test_a_further_process_has_a_listener_of_its_own(bundle: Path, agent: Agent, runtime: str, no_new_privileges: bool) -> None:
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    filtered(bundle, agent.path, "sleep", "1000", noNewPrivileges=no_new_privileges)
    assert call(runtime, bundle, "run", "-d", "asked") == (0, "")
    try:
        assert call(runtime, bundle, "exec", "asked", "mkdir", "/tmp/x") == (
            1, "mkdir: can't create directory '/tmp/x': Invalid cross-device link\n")
        first, second = agent.told
        assert second["pid"] == agent.calls[0][1] != first["pid"]
        assert second["state"]["pid"] == first["pid"]
        assert (first["state"]["status"], second["state"]["status"]) == ("creating", "running")
    finally:
        assert call(runtime, bundle, "delete", "--force", "asked")[0] == 0


@pytest.mark.parametrize("terminal", [False, True])
def test_any_call_may_be_asked_for(bundle: Path, agent: Agent, terminal: bool) -> None:
    """Runc refuses to pass on write and to pass on all; here who made the process takes the descriptor, so that it need not call."""
    agent.error = 0
    filtered(bundle, agent.path, "sleep", "1000", names=(), default="NOTIFY", terminal=terminal)
    if terminal:
        run = ["script", "-qec", f"{WHERRY} --root {bundle}/state run -d --console-socket /nowhere all", "/dev/null"]
        assert "nowhere" in subprocess.run(run, cwd=bundle, capture_output=True, text=True, timeout=30, check=False).stdout
        return
    assert call(WHERRY, bundle, "run", "-d", "all") == (0, "")
    try:
        assert EXECVE in [number for number, _ in agent.calls]
        assert call(WHERRY, bundle, "exec", "all", "echo", "said") == (0, "said\n")
    finally:
        assert call(WHERRY, bundle, "delete", "--force", "all")[0] == 0


@pytest.mark.parametrize("names", [("mkdir",), ("write", "mkdir")], ids=str)
def test_without_an_agent_there_is_no_container(bundle: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    unreachable = f"failed to connect with seccomp agent specified in the seccomp profile: dial unix {tmp_path}/none: connect: "
    for path, reason in ((tmp_path / "none", unreachable + "no such file or directory"), ("", "listenerPath is not set")):
        filtered(bundle, path, "mkdir", "/tmp/x", names=names)
        code, text = call(WHERRY, bundle, "run", "asked")
        assert (code, text) == (1, f'time level=error msg="runc run failed: unable to start container process: {reason}"\n')
        if shutil.which("runc") and names == ("mkdir",):
            assert call("runc", bundle, "run", "asked") == (code, text)
        assert call(WHERRY, bundle, "list", "-q") == (0, "")


def test_an_agent_that_is_gone_ends_a_further_process(bundle: Path, tmp_path: Path) -> None:
    agent = Agent(tmp_path / "agent.sock")
    try:
        filtered(bundle, agent.path, "sleep", "1000")
        assert call(WHERRY, bundle, "run", "-d", "asked") == (0, "")
    finally:
        agent.close()
    try:
        code, text = call(WHERRY, bundle, "exec", "asked", "true")
        assert code == 255
        assert "failed to connect with seccomp agent" in text
        assert len(call(WHERRY, bundle, "ps", "asked")[1].splitlines()) == 2
    finally:
        assert call(WHERRY, bundle, "delete", "--force", "asked")[0] == 0
