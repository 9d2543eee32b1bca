"""Hooks of the six kinds by wherry-runc beside Debian's runc and crun: when, where and as whom they run, what they are told, what a failure does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure, needs  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.root, pytest.mark.peer]
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
INSIDE = "/hooks"  # in the container: the folder that hooks write to
SPACES = ("mnt", "pid", "net", "ipc", "uts")


def sh(script: str, **more: object) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


@pytest.fixture(name="written")
def folder_of_hooks(tmp_path: Path) -> Path:
    """A folder that everybody can write to, by the host's name and as `INSIDE`."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    return tmp_path


def prepare(bundle: Path, hooks: dict[str, list[dict[str, Any]]], *args: str, written: Path | None = None, **process: object) -> None:
    """config.json with these hooks."""
    configure(bundle, *(args or ("true",)), **process)
    document = json.loads((bundle / "config.json").read_text())
    document["hooks"] = hooks
    document["annotations"] = {"a.b": "c"}
    if written is not None:
        document["mounts"].append({"destination": INSIDE, "type": "bind", "source": str(written), "options": ["rbind"]})
    (bundle / "config.json").write_text(json.dumps(document))


def place(kind: str, written: Path) -> str:
    return INSIDE if kind == "startContainer" else str(written)


def test_the_order_is_the_specification_s(bundle: Path, written: Path) -> None:
    hooks = {kind: [sh(f"echo {kind}{number} >> {place(kind, written)}/order") for number in (1, 2)] for kind in reversed(KINDS)}
    prepare(bundle, hooks, "sh", "-c", f"echo program >> {INSIDE}/order", written=written)
    created = [f"{kind}{number}" for kind in KINDS[:3] for number in (1, 2)]
    assert call(WHERRY, bundle, "create", "x") == (0, "")
    assert (written / "order").read_text().split() == created
    assert call(WHERRY, bundle, "start", "x") == (0, "")
    started = (written / "order").read_text().split()
    assert started[:8] == [*created, "startContainer1", "startContainer2"]
    assert [word for word in started if word.startswith("poststart")] == ["poststart1", "poststart2"]
    assert call(WHERRY, bundle, "delete", "--force", "x") == (0, "")
    assert (written / "order").read_text().split()[-2:] == ["poststop1", "poststop2"]


# (who sees the container's namespaces, the working folder: the bundle or /, the status that is told, the pid as seen there)
FACTS = {
    "prestart": (False, "bundle", "created"), "createRuntime": (False, "bundle", "created"),
    "createContainer": (True, "bundle", "created"), "startContainer": (True, "/", "created"),
    "poststart": (False, "bundle", "running"), "poststop": (False, "bundle", "stopped")}


def test_where_each_runs_and_what_it_is_told(bundle: Path, written: Path) -> None:
    spaces = "; ".join(f"readlink /proc/self/ns/{name}" for name in SPACES)
    hooks = {kind: [sh(f"cat > {place(kind, written)}/{kind}.json; ({spaces}; pwd; ls /proc/self/fd | wc -l; "
                       f"[ -e rootfs/proc/self ] && echo mounted; true) > {place(kind, written)}/{kind}")] for kind in KINDS}
    prepare(bundle, hooks, "sleep", "1000", written=written)
    host = [os.readlink(f"/proc/self/ns/{name}") for name in SPACES]
    assert call(WHERRY, bundle, "run", "-d", "--pid-file", "pid", "x") == (0, "")
    pid = int((bundle / "pid").read_text())
    assert call(WHERRY, bundle, "delete", "--force", "x") == (0, "")
    for kind, (inside, folder, status) in FACTS.items():
        told = json.loads((written / f"{kind}.json").read_text())
        assert (kind, told["id"], told["status"], told["bundle"], told["annotations"]) == (
            kind, "x", status, str(bundle), {"a.b": "c"})
        assert told["pid"] == (0 if kind == "poststop" else 1 if inside else pid), kind
        lines = (written / kind).read_text().split("\n")
        assert [found == own for found, own in zip(lines, host, strict=False)] == [not inside] * len(SPACES), kind
        assert lines[len(SPACES)] == (str(bundle) if folder == "bundle" else "/"), kind
        assert lines[len(SPACES) + 1] == "4", f"{kind} has descriptors beside its stdio and what ls opens"
        assert ("mounted" in lines) == (kind == "createContainer"), kind


def test_a_hook_of_the_container_is_as_confined_as_its_program(bundle: Path, written: Path) -> None:
    look = "id -u; grep -E 'CapEff|CapBnd|NoNew|Seccomp:' /proc/self/status; grep pids /proc/self/cgroup"
    hooks = {"startContainer": [sh(f"({look}) > {INSIDE}/hook", env=["PATH=/bin"])]}
    prepare(bundle, hooks, "sh", "-c", f"({look}) > {INSIDE}/program", written=written, user={"uid": 1000, "gid": 1000})
    assert call(WHERRY, bundle, "run", "x") == (0, "")
    assert (written / "hook").read_text() == (written / "program").read_text()
    assert (written / "hook").read_text().startswith("1000\n")


@pytest.mark.parametrize("kind", KINDS[:5])
def test_a_failure_is_told_and_leaves_nothing(bundle: Path, kind: str) -> None:
    needs("runc")
    prepare(bundle, {kind: [sh("exit 0"), sh("echo out; echo err >&2; exit 3"), sh("exit 0")]})
    (code, text), (other, theirs) = call(WHERRY, bundle, "run", "x"), call("runc", bundle, "run", "x")
    assert (code, other) == (1, 1)
    for words in (f"error running {kind} hook #1: ", "error running hook #1: ", "exit status 3, stdout: out", "stderr: err"):
        assert words in text
    assert "error running hook #1: " in theirs
    assert call(WHERRY, bundle, "state", "x")[0] == 1
    group = json.loads((bundle / "config.json").read_text())["linux"]["cgroupsPath"]
    assert not list(Path("/sys/fs/cgroup").glob(f"*{group}"))


@pytest.mark.parametrize(("kind", "started"), [("startContainer", False), ("poststart", True)])
def test_a_failure_at_start_stops_the_container(bundle: Path, written: Path, kind: str, started: bool) -> None:
    prepare(bundle, {kind: [sh("exit 3")]}, "sh", "-c", f"echo > {INSIDE}/started; sleep 1000", written=written)
    assert call(WHERRY, bundle, "create", "x") == (0, "")
    code, text = call(WHERRY, bundle, "start", "x")
    assert (code, "error running" in text) == (1, True)
    assert '"status": "stopped"' in call(WHERRY, bundle, "state", "x")[1]
    assert started or not (written / "started").exists()
    assert call(WHERRY, bundle, "delete", "x") == (0, "")


def test_a_failure_at_the_end_is_a_warning(bundle: Path, written: Path) -> None:
    prepare(bundle, {"poststop": [sh("exit 3"), sh(f"echo > {written}/second")]})
    code, text = call(WHERRY, bundle, "run", "x")
    assert code == 0
    assert "level=warning" in text
    assert "error running poststop hook #0: " in text
    assert (written / "second").exists()
    assert call(WHERRY, bundle, "state", "x")[0] == 1


@pytest.mark.parametrize(("hook", "said"), [
    ({"path": "/nope"}, "fork/exec /nope: no such file or directory"),
    ({"path": "/etc/passwd"}, "fork/exec /etc/passwd: permission denied"),
    ({"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}, "hook ran past specified timeout of 1.0s"),
    (sh("kill -9 $$"), "signal: killed, stdout: , stderr: ")], ids=lambda value: str(value)[:30])
def test_how_it_failed_is_said_as_runc_does(bundle: Path, hook: dict[str, Any], said: str) -> None:
    needs("runc")
    prepare(bundle, {"createRuntime": [hook]})
    for runtime in (WHERRY, "runc"):
        code, text = call(runtime, bundle, "run", "x")
        assert (runtime, code) == (runtime, 1)
        assert said in text


@pytest.mark.parametrize("hook", [{"path": "bin/true"}, {"path": ""}, {"path": "/bin/true", "timeout": 0}, {"path": "/bin/true", "timeout": -1}], ids=str)
def test_what_the_specification_forbids_is_refused(bundle: Path, hook: dict[str, Any]) -> None:
    prepare(bundle, {"createRuntime": [hook]})
    code, text = call(WHERRY, bundle, "run", "x")
    assert code == 1
    assert "hook createRuntime: " in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("env", [None, [], ["PATH=/foo", "A=1"], ["B"]], ids=str)
def test_the_environment(bundle: Path, written: Path, monkeypatch: pytest.MonkeyPatch, kind: str, env: list[str] | None) -> None:
    """Named, it is just that; not named, it is what the hook's parent has: the runtime's, in the container the container's."""
    needs("runc", "crun")
    monkeypatch.setenv("MARK", "of the host")
    hook = sh(f"read -r told; echo $0 $MARK $A ${{PATH%%:*}} > {place(kind, written)}/seen", **({} if env is None else {"env": env}))
    seen = {}
    peer = "runc" if kind == "startContainer" or env is not None else "crun"
    for runtime in (WHERRY, peer):
        prepare(bundle, {kind: [hook]}, written=written)
        assert call(runtime, bundle, "run", "x") == (0, "")
        seen[runtime] = (written / "seen").read_text()
        (written / "seen").unlink()
    assert seen[WHERRY] == seen[peer]
    assert ("of the host" in seen[WHERRY]) == (env is None and kind != "startContainer")
