"""What crun's callers ask for beyond the specification, beside crun: annotations, its flags, its place for sd_notify(3)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure, needs  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.root, pytest.mark.peer]
CRUN = pytest.mark.parametrize("runtime", [WHERRY, "crun"], ids=["ours", "crun"])


def prepare(bundle: Path, *args: str, annotations: dict[str, str] | None = None, **fields: Any) -> None:
    """A config with annotations, whose other fields are changed, those of «linux» in it."""
    configure(bundle, *args)
    document = json.loads((bundle / "config.json").read_text())
    document["annotations"] = {f"run.oci.{name}": value for name, value in (annotations or {}).items()}
    document["linux"].update(fields.pop("linux", {}))
    document.update(fields)
    (bundle / "config.json").write_text(json.dumps(document))


@CRUN
def test_what_hooks_say_is_kept(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    out, errors = bundle / "hooks-out", bundle / "hooks-errors"
    said = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; echo said; echo complained >&2"]}
    kinds = ("prestart", "createContainer", "startContainer", "poststart")
    prepare(bundle, "true", annotations={"hooks.stdout": str(out), "hooks.stderr": str(errors)}, hooks={kind: [said] for kind in kinds})
    try:
        assert call(runtime, bundle, "run", "x") == (0, "")
        assert (out.read_text(), errors.read_text()) == ("said\n" * 4, "complained\n" * 4)
    finally:
        for one in (out, errors):
            one.unlink(missing_ok=True)


@CRUN
def test_the_process_s_own_descriptor_goes_to_who_asked_for_it(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    place = bundle / "receiver"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        server.settimeout(30)
        prepare(bundle, "sleep", "1000", annotations={"pidfd_receiver": str(place)})
        try:
            assert call(runtime, bundle, "run", "-d", "--pid-file", str(bundle / "pid"), "x") == (0, "")
            connection, _ = server.accept()
            _, (pidfd,), _, _ = socket.recv_fds(connection, 4096, 4)
            connection.close()
            fields = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines() if ":\t" in line)
            assert fields["Pid"] == (bundle / "pid").read_text()
            os.close(pidfd)
        finally:
            call(runtime, bundle, "delete", "--force", "x")
            place.unlink()


@CRUN
@pytest.mark.parametrize("user", [False, True], ids=["host", "user namespace"])
def test_the_caller_s_groups(bundle: Path, runtime: str, *, user: bool) -> None:
    needs(*{runtime} - {WHERRY})
    groups = os.getgroups()
    os.setgroups([5, 77])
    try:
        seen = []
        for annotations in ({}, {"keep_original_groups": "1"}):
            prepare(bundle, "id", "-G", annotations=annotations)
            document = json.loads((bundle / "config.json").read_text())
            if user:
                maps = [{"containerID": 0, "hostID": 0, "size": 1000}]
                document["linux"].update(uidMappings=maps, gidMappings=maps)
                document["linux"]["namespaces"].append({"type": "user"})
            (bundle / "config.json").write_text(json.dumps(document))
            seen.append(call(runtime, bundle, "run", "x"))
        assert seen == [(0, "0\n"), (0, "0 5 77\n")]
    finally:
        os.setgroups(groups)


@CRUN
def test_a_system_call_that_nobody_knows(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    rules = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["openat2", "nosuchcall"], "action": "SCMP_ACT_LOG"}]}
    prepare(bundle, "true", linux={"seccomp": rules})
    assert call(runtime, bundle, "run", "x") == (0, "")
    prepare(bundle, "true", linux={"seccomp": rules}, annotations={"seccomp_fail_unknown_syscall": "1"})
    code, text = call(runtime, bundle, "run", "x")
    assert (code, "invalid seccomp syscall `nosuchcall`" in text) == (1, True)


def test_clocks_by_annotation(bundle: Path) -> None:
    """Version 1.8 of crun writes them too late for the kernel."""
    prepare(bundle, "cat", "/proc/self/timens_offsets", annotations={"timens_offset": "1 100 5\nboottime -7 0"})
    document = json.loads((bundle / "config.json").read_text())
    document["linux"]["namespaces"].append({"type": "time"})
    (bundle / "config.json").write_text(json.dumps(document))
    code, text = call(WHERRY, bundle, "run", "x")
    assert (code, text.split()) == (0, ["monotonic", "100", "5", "boottime", "-7", "0"])
    prepare(bundle, "true", annotations={"timens_offset": "1 2"})
    code, text = call(WHERRY, bundle, "run", "x")
    assert (code, "timens_offset" in text) == (1, True)


@pytest.mark.parametrize(("name", "value"), [
    ("handler", "krun"), ("systemd.subgroup", "below"), ("delegate-cgroup", "below"), ("mount_context_type", "rootcontext"),
    ("systemd.force_cgroup_v1", "/sys/fs/cgroup")])
def test_what_is_not_done_is_refused_by_name(bundle: Path, name: str, value: str) -> None:
    prepare(bundle, "true", annotations={name: value})
    code, text = call(WHERRY, bundle, "run", "x")
    assert (code, f'annotation \\"run.oci.{name}\\" is not supported' in text) == (1, True)


@pytest.mark.parametrize(("name", "value"), [("handler", ""), ("mount_context_type", "context"), ("nosuch", "1")])
def test_what_says_nothing(bundle: Path, name: str, value: str) -> None:
    prepare(bundle, "true", annotations={name: value})
    assert call(WHERRY, bundle, "run", "x") == (0, "")


@CRUN
@pytest.mark.parametrize("place", ["/run/notify/the-socket", "/tmp/new-folder/the-socket"])
def test_the_socket_for_sd_notify_is_where_the_manager_s_is(bundle: Path, runtime: str, place: str) -> None:
    needs(*{runtime} - {WHERRY})
    configure(bundle, "sh", "-c", f"echo $NOTIFY_SOCKET; grep -c ' {place} ' /proc/self/mountinfo; ls -l $NOTIFY_SOCKET | cut -c1")
    done = subprocess.run([runtime, "--root", f"/run/as-crun-{os.getpid()}", "run", "x"], cwd=bundle, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "NOTIFY_SOCKET": place})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{place}/notify\n1\ns\n", "")


def test_a_manager_s_socket_without_a_path(bundle: Path) -> None:
    configure(bundle, "sh", "-c", "echo $NOTIFY_SOCKET; ls -l $NOTIFY_SOCKET | cut -c1")
    done = subprocess.run([WHERRY, "--root", f"/run/as-crun-{os.getpid()}", "run", "x"], cwd=bundle, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "NOTIFY_SOCKET": "@abstract"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "/run/notify/notify\ns\n", "")


@CRUN
@pytest.mark.parametrize("first", [0, 100000])
def test_devices_that_the_host_has_not_in_a_user_namespace(bundle: Path, runtime: str, first: int) -> None:
    needs(*{runtime} - {WHERRY})
    devices = [{"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "uid": 10, "gid": 11, "fileMode": 0o644},
               {"path": "/dev/pipe", "type": "p", "uid": 0, "gid": 0, "fileMode": 0o600}]
    maps = [{"containerID": 0, "hostID": first, "size": 65536}]
    prepare(bundle, "sh", "-c", "ls -ln /dev/made /dev/pipe; busybox head -c 2 /dev/made | busybox od -An -c",
            linux={"devices": devices, "uidMappings": maps, "gidMappings": maps})
    document = json.loads((bundle / "config.json").read_text())
    document["linux"]["namespaces"].append({"type": "user"})
    (bundle / "config.json").write_text(json.dumps(document))
    subprocess.run(["chown", "-R", "--no-dereference", f"{first}:{first}", bundle / "rootfs"], check=True)
    try:
        code, text = call(runtime, bundle, "run", "x")
    finally:
        subprocess.run(["chown", "-R", "--no-dereference", "0:0", bundle / "rootfs"], check=True)
    words = text.split()
    assert (code, words[:6], words[-2:]) == (0, ["crw-r--r--", "1", "10", "11", "1,", "5"], ["\\0", "\\0"])
    assert "prw-------" in words


@CRUN
@pytest.mark.parametrize("form", ["json", "text"])
def test_the_log_may_be_a_file_by_that_word(bundle: Path, runtime: str, form: str) -> None:
    needs(*{runtime} - {WHERRY})
    log = bundle / "said"
    assert call(runtime, bundle, f"--log=file:{log}", f"--log-format={form}", "state", "nobody")[0] == 1
    assert log.read_text().startswith("{") == (form == "json")
    log.unlink()
    assert call(runtime, bundle, f"--log=nosuch:{log}", "list")[0] == 1


@CRUN
def test_the_version_says_what_there_is(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    lines = call(runtime, bundle, "--version")[1].splitlines()
    (found,) = (line for line in lines if line.startswith("+"))
    assert {"+SYSTEMD", "+SELINUX", "+APPARMOR", "+CAP", "+SECCOMP", "+EBPF"} <= set(found.split())


@CRUN
def test_kill_takes_a_pattern(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    names = ("kill-1", "kill-2", "spared")
    for name in names:
        prepare(bundle, "sleep", "1000", linux={"cgroupsPath": f"/wherry-as-crun/{name}"})
        assert call(runtime, bundle, "run", "-d", name) == (0, "")
    try:
        assert call(runtime, bundle, "kill", "--regex", "^kill-.$", "KILL") == (0, "")
        for name in names[:2]:
            deadline = time.monotonic() + 30
            while '"stopped"' not in call(runtime, bundle, "state", name)[1]:
                assert time.monotonic() < deadline
        assert '"running"' in call(runtime, bundle, "state", "spared")[1]
    finally:
        for name in names:
            call(runtime, bundle, "delete", "--force", name)


@CRUN
def test_descriptors_that_are_not_open_are_passed_over(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    configure(bundle, "sh", "-c", "for fd in /proc/1/fd/*; do echo ${fd##*/}; done")
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 57)
    try:
        with open(bundle / "out", "w+") as output:
            done = subprocess.run([runtime, "--root", f"/run/as-crun-{os.getpid()}", "run", "--preserve-fds", "100", "x"], cwd=bundle,
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60, check=False, pass_fds=(57,))
            output.seek(0)
            seen = set(output.read().split())
    finally:
        os.close(57)
        os.close(null)
    assert done.returncode == 0
    assert {"0", "1", "2", "57"} <= seen
    assert not {"50", "58", "90"} & seen


@pytest.mark.parametrize("runtime", [WHERRY, "runc"], ids=["ours", "runc"])
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_what_could_not_be_made_ends_as_all_do(bundle: Path, runtime: str, kind: str) -> None:
    """A hook fails: the specification's lifecycle goes on with the poststop hooks."""
    needs(*{runtime} - {WHERRY})
    written = bundle / "ended"
    end = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {written}"]}
    prepare(bundle, "true", hooks={kind: [{"path": "/bin/false"}], "poststop": [end]})
    try:
        assert call(runtime, bundle, "run", "x")[0] == 1
        told = json.loads(written.read_text())
        assert (told["id"], told["status"]) == ("x", "stopped")
    finally:
        written.unlink(missing_ok=True)


@CRUN
def test_a_terminal_without_anybody_to_hold_it(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    configure(bundle, "true", terminal=True)
    done = subprocess.run([runtime, "--root", f"/run/as-crun-{os.getpid()}", "run", "-d", "x"], cwd=bundle, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "use --console-socket" in done.stderr) == (1, True)


@CRUN
def test_its_flags_are_understood(bundle: Path, runtime: str) -> None:
    needs(*{runtime} - {WHERRY})
    for words in (("-?",), ("--usage",), ("run", "-?"), ("exec", "--usage"), ("-V",)):
        assert call(runtime, bundle, *words)[0] == 0
    made = bundle / "another.json"
    assert call(runtime, bundle, "spec", "--rootless", "-f", made.name, "-b", str(bundle)) == (0, "")
    assert {one["type"] for one in json.loads(made.read_text())["linux"]["namespaces"]} >= {"user", "pid", "mount"}
    made.unlink()
    configure(bundle, "true")
    assert call(runtime, bundle, "create", "--no-subreaper", "x") == (0, "")
    assert call(runtime, bundle, "delete", "x") == (0, "")
