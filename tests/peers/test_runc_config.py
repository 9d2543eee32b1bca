"""Fields of config.json one by one by wherry-runc beside Debian's runc and crun: what runs looks the same, what is refused is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure, needs  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[dict[str, Any]], object]

pytestmark = [pytest.mark.root, pytest.mark.peer]
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
CAPS = ("grep", "Cap", "/proc/self/status")


def process(**fields: object) -> Change:
    return lambda document: document["process"].update(fields)


def linux(**fields: object) -> Change:
    return lambda document: document["linux"].update(fields)


def top(**fields: object) -> Change:
    return lambda document: document.update(fields)


def limit(name: str, soft: int, hard: int) -> dict[str, Any]:
    return {"type": f"RLIMIT_{name}", "soft": soft, "hard": hard}


def spaces(*gone: str, more: tuple[dict[str, str], ...] = (), **fields: object) -> Change:
    """Without some namespaces and with others; then other fields of «linux» (None: taken out)."""
    def change(document: dict[str, Any]) -> None:
        kept = [one for one in document["linux"]["namespaces"] if one["type"] not in gone]
        document["linux"].update(namespaces=[*kept, *more], **fields)
        document["linux"] = {name: value for name, value in document["linux"].items() if value is not None}
        if "uts" in gone:
            del document["hostname"]
    return change


def look(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


# name: (what is changed, the program, whose behaviour it is)
RUN: dict[str, tuple[Change, tuple[str, ...], str]] = {
    "umask": (process(umask=0o27), look("umask; echo > /tmp/u; ls -l /tmp/u | cut -c1-10; rm /tmp/u"), "runc"),
    "further groups": (process(user={"uid": 1000, "gid": 1000, "additionalGids": [5, 6, 1000]}), ("id",), "runc"),
    "user and home": (process(user={"uid": 1000, "gid": 1000}), look("id; echo $HOME"), "runc"),
    "the largest user": (process(user={"uid": (1 << 32) - 2, "gid": (1 << 32) - 2}), ("id",), "crun"),
    "oomScoreAdj": (process(oomScoreAdj=100), ("cat", "/proc/self/oom_score_adj"), "runc"),
    "new privileges": (process(noNewPrivileges=False), ("grep", "NoNew", "/proc/self/status"), "runc"),
    "no capabilities": (process(capabilities=None), CAPS, "runc"),
    "empty capabilities": (process(capabilities={}), CAPS, "runc"),
    "unknown capabilities": (process(capabilities={"bounding": ["CAP_UNKNOWN", "UNKNOWN_CAP"]}), CAPS, "runc"),
    "some capabilities": (process(capabilities={"bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN", "CAP_KILL"]}), CAPS, "runc"),
    "all sets": (process(capabilities={name: ["CAP_KILL"] for name in SETS}), CAPS, "runc"),
    "all sets of a user": (process(user={"uid": 1000, "gid": 1000}, capabilities={name: ["CAP_KILL"] for name in SETS}), CAPS, "runc"),
    "rlimits": (process(rlimits=[limit("NOFILE", 512, 600), limit("SIGPENDING", 100, 200), limit("CPU", 2, 3)]),
                ("cat", "/proc/self/limits"), "runc"),
    "no limit": (process(rlimits=[limit("CORE", (1 << 64) - 1, (1 << 64) - 1)]), look("ulimit -c"), "runc"),
    "a variable twice": (process(env=["A=b=c", "A=2", "PATH=/bin", "B="]), ("env",), "runc"),
    "no environment": (process(env=[]), ("/bin/sh", "-c", "/bin/env"), "runc"),
    "no PATH": (process(env=["A=1"]), ("/bin/sh", "-c", "/bin/env"), "runc"),
    "a new working folder": (process(cwd="/new/folder"), look("pwd; ls -ld /new/folder | cut -c1-10"), "runc"),
    "a program in the working folder": (process(cwd="/bin"), ("./sh", "-c", "echo ran"), "runc"),
    "a program below it": (process(cwd="/"), ("bin/sh", "-c", "echo ran"), "runc"),
    "consoleSize without a terminal": (process(consoleSize={"height": 10, "width": 110}), ("true",), "runc"),
    "names": (top(hostname="h1", domainname="d1"), look("hostname; cat /proc/sys/kernel/domainname"), "crun"),
    "the host's names": (spaces("uts"), ("true",), "runc"),
    "version 1.3": (top(ociVersion="1.3.0"), ("true",), "runc"),
    "what nobody knows": (top(extra={"a": 1}), ("true",), "runc"),
    "annotations": (top(annotations={"a": "b"}), ("true",), "runc"),
    "sysctl": (linux(sysctl={"net.ipv4.ip_forward": "1", "kernel.domainname": "d"}),
               ("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/domainname"), "runc"),
    "sysctl with slashes": (linux(sysctl={"net/ipv4/ip_forward": "1"}), ("cat", "/proc/sys/net/ipv4/ip_forward"), "runc"),
    "masks": (linux(maskedPaths=["/tmp/file", "/tmp/folder", "/none", "/proc/kcore"]),
              look("cat /tmp/file; ls /tmp/folder; echo > /tmp/folder/x; echo x > /tmp/file; ls -l /proc/kcore | cut -c1-10"), "runc"),
    "readonly paths": (linux(readonlyPaths=["/tmp/file", "/tmp/folder", "/none"]), look("echo > /tmp/folder/x; echo > /tmp/file"), "runc"),
    "readonly root": (top(root={"path": "rootfs", "readonly": True}), look("echo > /x; cat /tmp/file"), "runc"),
    "devices": (linux(devices=[
        {"path": "/dev/deep/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1, "gid": 2},
        {"path": "/dev/pipe", "type": "p"}, {"path": "/dev/block", "type": "b", "major": 7, "minor": 1},
        {"path": "/dev/tty", "type": "c", "major": 5, "minor": 0}]),
        look("ls -ln /dev/deep/null /dev/pipe /dev/block /dev/tty | cut -c1-44"), "runc"),
    "the host's mounts": (spaces("mount", maskedPaths=None, readonlyPaths=None), look("ls /; mount | grep -c /proc"), "runc"),
    **{f"rootfsPropagation {word}": (linux(rootfsPropagation=word), look("grep ' / / ' /proc/self/mountinfo | tr 0-9 N | cut -d' ' -f7"), peer)
       for word, peer in (("shared", "runc"), ("rshared", "runc"), ("slave", "runc"), ("rslave", "runc"), ("private", "runc"),
                          ("rprivate", "runc"), ("unbindable", "crun"))},
}
# name: (what is changed, what ours says, who else refuses it)
REFUSED: dict[str, tuple[Change, str, str]] = {
    "a limit of no name": (process(rlimits=[limit("ODD", 1, 1)]), "wrong rlimit value: RLIMIT_ODD", "runc"),
    "soft beyond hard": (process(rlimits=[limit("NOFILE", 700, 600)]), "error setting rlimit type 7: invalid argument", "runc"),
    "a score too high": (process(oomScoreAdj=2000), "write /proc/self/oom_score_adj: invalid argument", "crun"),
    "effective beyond permitted": (process(capabilities={"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]}),
                                   "unable to apply caps: operation not permitted", "runc"),
    "no variable": (process(env=["A"]), 'invalid environment variable: \\"A\\"', "runc"),
    "a label": (process(selinuxLabel="a:b:c"), "selinux label is specified in config, but selinux is disabled or not supported", "runc"),
    "no such program": (process(args=["nosuch"]), 'exec: \\"nosuch\\": executable file not found in $PATH', "runc"),
    "no such file": (process(args=["/nosuch"]), 'exec: \\"/nosuch\\": stat /nosuch: no such file or directory', "runc"),
    "a folder": (process(args=["/bin"]), "permission denied", "crun"),
    "no arguments": (process(args=[]), "args must not be empty", "runc"),
    "no working folder": (process(cwd=""), "Cwd property must not be empty", "runc"),
    "a relative working folder": (process(cwd="tmp"), "Cwd must be an absolute path", "runc"),
    "a file to work in": (process(cwd="/etc/passwd"), "not a directory", "runc"),
    "a terminal that nobody holds": (process(terminal=True), "open /dev/tty: no such device or address", "runc"),
    "another version": (top(ociVersion="2.0.0"), "unsupported ociVersion", "crun"),
    "no process": (lambda document: document.pop("process"), "process property must not be empty", "runc"),
    "no root": (lambda document: document.pop("root"), "root must be specified", "runc"),
    "a root that is not there": (top(root={"path": "nope"}), "invalid rootfs: stat ", "runc"),
    "a hostname of the host": (lambda document: (spaces("uts")(document), document.update(hostname="x")),
                               "unable to set hostname without a private UTS namespace", "runc"),
    "a sysctl of no namespace": (linux(sysctl={"kernel.foo": "1"}), "is not in a separate kernel namespace", "runc"),
    "the hostname by sysctl": (linux(sysctl={"kernel.hostname": "x"}), 'it conflicts with the OCI \\"hostname\\" field', "runc"),
    "a sysctl of the host's ipc": (spaces("ipc", sysctl={"kernel.msgmax": "8192"}), "is not allowed in the hosts ipc namespace", "runc"),
    "a sysctl of the host's network": (spaces("network", sysctl={"net.ipv4.ip_forward": "1"}), "not allowed in host network namespace", "runc"),
    "a sysctl that is not there": (linux(sysctl={"net.nope": "1"}), "no such file or directory", "runc"),
    "a namespace twice": (spaces(more=({"type": "pid"},)), 'malformed spec file: duplicated ns {\\"pid\\" \\"\\"}', "runc"),
    "a namespace of no kind": (spaces(more=({"type": "odd"},)), 'namespace {\\"odd\\" \\"\\"} does not exist', "runc"),
    "a namespace that is not there": (spaces("network", more=({"type": "network", "path": "/nope"},)),
                                      "namespace path: lstat /nope: no such file or directory", "runc"),
    "a namespace of another kind": (spaces("network", more=({"type": "network", "path": "/proc/self/ns/ipc"},)), "invalid argument", "crun"),
    "masks on the host's mounts": (spaces("mount"), "unable to restrict sys entries without a private MNT namespace", "runc"),
    "a propagation of no name": (linux(rootfsPropagation="odd"), "rootfsPropagation=odd is not supported", "runc"),
    "a device of no kind": (linux(devices=[{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]), 'invalid device type \\"z\\"', "runc"),
}
# What the specification forbids, and both let pass: «process.rlimits» says that an entry given twice is an error.
AGAINST = {"a limit twice": (process(rlimits=[limit("NOFILE", 500, 600), limit("NOFILE", 501, 600)]), 'rlimit \\"RLIMIT_NOFILE\\" given twice')}


def prepare(bundle: Path, change: Change, args: tuple[str, ...]) -> None:
    configure(bundle, *args)
    (bundle / "rootfs/tmp/folder").mkdir(exist_ok=True)
    (bundle / "rootfs/tmp/folder/inside").write_text("")
    (bundle / "rootfs/tmp/file").write_text("content\n")
    shutil.rmtree(bundle / "rootfs/new", ignore_errors=True)
    document = json.loads((bundle / "config.json").read_text())
    change(document)
    (bundle / "config.json").write_text(json.dumps(document))


def mounts_below(bundle: Path) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        return [line for line in lines if str(bundle) in line]


@pytest.mark.parametrize("name", RUN)
def test_what_runs(bundle: Path, name: str) -> None:
    change, args, peer = RUN[name]
    needs(peer)
    seen = {}
    for runtime in (WHERRY, peer):
        prepare(bundle, change, args)
        seen[runtime] = call(runtime, bundle, "run", "x")
        if runtime == WHERRY:
            assert mounts_below(bundle) == []
    assert seen[WHERRY] == seen[peer]
    clear(bundle)


def test_a_further_process_beside_the_host_s_mounts_is_in_the_root_all_the_same(bundle: Path) -> None:
    prepare(bundle, spaces("mount", maskedPaths=None, readonlyPaths=None), ("sleep", "1000"))
    assert call(WHERRY, bundle, "run", "-d", "x") == (0, "")
    assert mounts_below(bundle)
    assert call(WHERRY, bundle, "exec", "x", "cat", "/tmp/file") == (0, "content\n")
    assert call(WHERRY, bundle, "delete", "--force", "x") == (0, "")
    assert mounts_below(bundle) == []


def clear(bundle: Path) -> None:
    """Takes away what a peer has left mounted."""
    while mounts_below(bundle):
        subprocess.run(["umount", "--lazy", bundle / "rootfs"], check=True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(bundle: Path, name: str) -> None:
    change, said, peer = REFUSED[name]
    needs(peer)
    for runtime in (WHERRY, peer):
        prepare(bundle, change, ("true",))
        code, text = call(runtime, bundle, "run", "x")
        assert (runtime, code != 0) == (runtime, True)
        assert said in text or runtime != WHERRY
    assert call(WHERRY, bundle, "list", "-q") == (0, "")
    assert mounts_below(bundle) == []


@pytest.mark.parametrize("name", AGAINST)
def test_what_only_the_specification_refuses(bundle: Path, name: str) -> None:
    change, said = AGAINST[name]
    prepare(bundle, change, ("true",))
    code, text = call(WHERRY, bundle, "run", "x")
    assert code == 1
    assert said in text


def test_a_volume_that_is_shared_shows_the_host_what_is_mounted(bundle: Path) -> None:
    """With rootfsPropagation «shared»: not the root, but a volume of that kind, has peers on the host."""
    needs("runc")
    volume = bundle / "volume"
    volume.mkdir()
    for words in (("-t", "tmpfs", "tmpfs"), ("--make-shared",)):
        subprocess.run(["mount", *words, volume], check=True)
    try:
        for runtime in (WHERRY, "runc"):
            def change(document: dict[str, Any]) -> None:
                document["linux"]["rootfsPropagation"] = "shared"
                document["process"]["capabilities"] = {name: ["CAP_SYS_ADMIN"] for name in SETS[:3]}
                document["mounts"].append({"destination": "/v", "source": str(volume), "type": "bind", "options": ["rbind", "rshared"]})
            prepare(bundle, change, look("busybox mkdir /v/inner && mount -t tmpfs inner /v/inner"))
            shutil.rmtree(volume / "inner", ignore_errors=True)
            assert call(runtime, bundle, "run", "x") == (0, "")
            assert len(mounts_below(volume)) == 2, runtime
            assert len(mounts_below(bundle)) == 2, runtime
            subprocess.run(["umount", volume / "inner"], check=True)
    finally:
        subprocess.run(["umount", "--lazy", volume], check=True)
