"""«mounts» of config.json as a program in the container sees them: by wherry-runc, runc and crun."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer]
FLAGS = "grep ' /m' /proc/self/mountinfo | cut -d' ' -f5-6"
WHOLE = "grep ' /m' /proc/self/mountinfo | cut -d' ' -f5-"
KIND = "ls -ld /m | cut -c1"
FULL = "mkdir -p full/d; echo a >full/a; chmod 640 full/a; chown 5:6 full/a; ln -s a full/l"


@pytest.fixture(scope="module", name="source")
def folder_with_all_kinds(bundle: Path) -> Iterator[Path]:
    """A folder of the host with a file, links, a socket, a fifo, and another filesystem below it."""
    source = bundle / "source"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_text("content\n")
    (source / "link").symlink_to("file")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(source / "socket"))
    subprocess.run(["mount", "-t", "tmpfs", "x", source / "sub"], check=True)
    (source / "sub/in").write_text("1")
    yield source
    subprocess.run(["umount", source / "sub"], check=True)


def mount(source: str, *options: str, kind: str = "bind", at: str = "/m", **more: Any) -> dict[str, Any]:
    return {"destination": at, "source": source, "type": kind, "options": list(options), **more}


# name: (mounts; «@» is the folder's path, what the program does, what is done in the root before)
CASES: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "a file": ([mount("@/file", "bind", "ro")], f"cat /m; {FLAGS}", ""),
    "a file, by a link": ([mount("@/link", "bind")], "cat /m", ""),
    "a socket": ([mount("@/socket", "bind")], KIND, ""),
    "a fifo": ([mount("@/fifo", "bind")], KIND, ""),
    "a device": ([mount("/dev/zero", "bind")], KIND, ""),
    "a folder over a link": ([mount("@", "bind")], f"ls /l; {KIND}", "mkdir l; ln -s /l m"),
    "a file over a link": ([mount("@/file", "bind")], f"cat /l; {KIND}", "touch l; ln -s /l m"),
    "a link out of the root": ([mount("@", "bind")], f"ls /l; {KIND}", "mkdir l; ln -s ../../../../l m"),
    "a relative source": ([mount("source", "bind")], "ls /m", ""),
    "a relative destination": ([mount("@", "bind", at="m")], "ls /m", ""),
    "type none": ([mount("@", "rbind", kind="none")], "ls /m/sub", ""),
    "a bind without its tree": ([mount("@", "bind")], "ls /m/sub", ""),
    "rro": ([mount("@", "rbind", "rro")], f"{FLAGS}; touch /m/sub/z", ""),
    "ro is not for the tree": ([mount("@", "rbind", "ro")], f"{FLAGS}; touch /m/sub/z && rm /m/sub/z", ""),
    "rnosuid rnodev rnoexec": ([mount("@", "rbind", "rnosuid", "rnodev", "rnoexec")], FLAGS, ""),
    "rnoatime rnodiratime": ([mount("@", "rbind", "rnoatime", "rnodiratime")], FLAGS, ""),
    "rstrictatime": ([mount("@", "rbind", "rstrictatime")], FLAGS, ""),
    "rrelatime": ([mount("@", "rbind", "rrelatime")], FLAGS, ""),
    "ro, then rrw": ([mount("@", "rbind", "ro", "rrw")], FLAGS, ""),
    "rnosymfollow": ([mount("@", "rbind", "rnosymfollow")], FLAGS, ""),
    "remount of a bind": ([mount("@", "bind"), mount("@", "bind", "remount", "ro")], FLAGS, ""),
    "remount of a tmpfs": ([mount("tmpfs", "nosuid", kind="tmpfs"), mount("tmpfs", "remount", "ro", "size=64k", kind="tmpfs")], WHOLE, ""),
    "tmpcopyup": ([mount("tmpfs", "tmpcopyup", kind="tmpfs", at="/full")], "ls -ln /full | cut -c1-40; cat /full/a", FULL),
    "tmpcopyup, read-only": ([mount("tmpfs", "tmpcopyup", "ro", kind="tmpfs", at="/full")], "ls /full; touch /full/x", FULL),
    "mqueue": ([mount("mqueue", "nosuid", kind="mqueue")], f"ls -ld /m | cut -c1-10; {FLAGS}", ""),
    "tmpfs": ([mount("tmpfs", "mode=1700", "size=1m", kind="tmpfs")], f"ls -ld /m | cut -c1-10; {WHOLE}", ""),
    "ramfs": ([mount("x", kind="ramfs")], FLAGS, ""),
    "sysfs": ([mount("sysfs", "ro", kind="sysfs")], FLAGS, ""),
    "another proc": ([mount("proc", kind="proc")], "ls /m/1 >/dev/null && echo shown", ""),
    "another devpts": ([mount("devpts", "newinstance", kind="devpts")], "ls /m", ""),
    "rshared": ([mount("@", "rbind", "rshared")], f"{WHOLE} | sed 's/:[0-9]*//'", ""),
    "runbindable": ([mount("@", "rbind", "runbindable")], f"{WHOLE} | sed 's/:[0-9]*//'", ""),
    "an unknown option of a bind": ([mount("@", "bind", "nosuch")], "ls /m", ""),
}
REFUSED: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "an unknown option of a tmpfs": ([mount("tmpfs", "nosuch", kind="tmpfs")], "invalid argument", ""),
    "an unknown filesystem": ([mount("x", kind="nosuchfs")], "no such device", ""),
    "no such source": ([mount("@/none", "bind")], "no such file or directory", ""),
    "a file on a folder": ([mount("@/file", "bind")], "not a directory", "mkdir m"),
    "a folder on a file": ([mount("@", "bind")], "not a directory", "touch m"),
    # It is of the mount namespace outside, from which the kernel lets nobody bind.
    "a source by descriptor": ([mount("/proc/self/fd/0", "bind")], "invalid argument", ""),
    "remount of nothing": ([mount("tmpfs", "remount", "ro", kind="tmpfs")], "invalid argument", "mkdir m"),
}


def run(runtime: str, bundle: Path, source: Path, mounts: list[dict[str, Any]], script: str, before: str) -> tuple[int, str]:
    for name in ("m", "l", "full"):
        place = bundle / "rootfs" / name
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink(missing_ok=True)
    subprocess.run(before, shell=True, cwd=bundle / "rootfs", check=True)
    for name in ("touch", "cut", "rm", "sed"):
        if not (bundle / "rootfs/bin" / name).exists():
            (bundle / "rootfs/bin" / name).symlink_to("busybox")
    configure(bundle, "sh", "-c", script)
    document = json.loads((bundle / "config.json").read_text())
    document["mounts"] += [{**one, "source": one["source"].replace("@", str(source))} for one in mounts]
    document["mounts"][2]["options"] = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    (bundle / "config.json").write_text(json.dumps(document))
    return call(runtime, bundle, "run", "mounts")


@pytest.mark.parametrize("name", CASES)
def test_a_mount(bundle: Path, source: Path, name: str) -> None:
    mounts, script, before = CASES[name]
    ours = run(WHERRY, bundle, source, mounts, script, before)
    assert "level=error" not in ours[1], ours
    theirs = {runtime: run(runtime, bundle, source, mounts, script, before) for runtime in ("runc", "crun") if shutil.which(runtime)}
    # A case in which they differ has two right answers; what neither does would be wrong.
    assert not theirs or ours in theirs.values(), theirs


@pytest.mark.parametrize("name", REFUSED)
def test_a_mount_that_cannot_be(bundle: Path, source: Path, name: str) -> None:
    mounts, reason, before = REFUSED[name]
    for runtime in (WHERRY, "runc", "crun"):
        if shutil.which(runtime):
            code, text = run(runtime, bundle, source, mounts, "true", before)
            assert code == 1, (runtime, text)
            assert reason in text.lower(), (runtime, text)
