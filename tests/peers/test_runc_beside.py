"""wherry-runc beside Debian's runc: the same bundle, the same calls, the same words and exit statuses; and under runc's callers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from beside_runc import WHERRY, both, bundle_of_busybox, call, configure, needs  # noqa: F401

from wherry.runtime.commands.spec import example, rootless

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer]
@pytest.mark.parametrize("program", ["nosuch", "/no/such", "/etc/passwd", "/bin/garbage", "true"])
def test_run_says_and_returns_the_same(bundle: Path, program: str) -> None:
    configure(bundle, program)
    ours, theirs = both(bundle, ("run", "x"), ("list", "-q"))
    assert ours == theirs


def test_a_whole_life_says_and_returns_the_same(bundle: Path) -> None:
    configure(bundle, "sleep", "1000")
    ours, theirs = both(
        bundle, ("create", "x"), ("create", "x"), ("state", "x"), ("exec", "x", "id"), ("start", "x"), ("start", "x"), ("state", "x"),
        ("exec", "x", "nosuch"), ("exec", "x", "/etc/passwd"), ("exec", "x", "/bin/garbage"), ("exec", "x", "sh", "-c", "exit 5"),
        ("exec", "x", "sh", "-c", "kill -9 $$"), ("exec", "--cwd", "/nope", "x", "id"), ("exec", "-t", "x", "tty"),
        ("exec", "-u", "1000:1000", "-g", "7", "-e", "A=b", "x", "sh", "-c", "id; env | grep -v SHLVL"),
        ("pause", "x"), ("exec", "x", "id"), ("resume", "x"), ("resume", "x"), ("update", "--pids-limit", "50", "x"),
        ("delete", "x"), ("kill", "x", "0"), ("kill", "x", "FOO"), ("kill", "-a", "x", "KILL"))
    assert ours == theirs
    for runtime in (WHERRY, "runc"):
        deadline = time.monotonic() + 10
        while '"stopped"' not in call(runtime, bundle, "state", "x")[1]:
            assert time.monotonic() < deadline
    ours, theirs = both(
        bundle, ("kill", "x"), ("exec", "x", "id"), ("start", "x"), ("pause", "x"), ("kill", "-a", "x"), ("delete", "x"), ("delete", "x"),
        ("delete", "-f", "x"), ("state", "x"), ("kill", "x"), ("start", "x"), ("create", "a b"), ("nosuch",), ("create", "-b", "/no", "x"))
    # runc's message for an unknown command ends with an escaped line feed.
    assert [(code, text.replace("\\n", "")) for code, text in theirs] == ours


def test_inside_it_looks_the_same(bundle: Path) -> None:
    look = "mount | grep -v ' / '; ls -l /dev | grep -v total; grep -E 'Cap|NoNew|Sig|Groups' /proc/self/status; cat /proc/self/limits"
    configure(bundle, "sh", "-c", look)
    ours, theirs = both(bundle, ("run", "x"))
    times = [[re.sub(r"[A-Z][a-z]{2} +\d+ \d+:\d+", "", line) for line in text.splitlines()] for _, text in (ours[0], theirs[0])]
    # Asked to be read-only, the tmpfs over the v1 hierarchies is left writable by runc 1.1; ours is as asked.
    theirs_as_asked = [line.replace("(rw,", "(ro,") if line.startswith("tmpfs on /sys/fs/cgroup ") else line for line in times[1]]
    assert sorted(times[0]) == sorted(theirs_as_asked)


@pytest.mark.parametrize("flag", [(), ("--rootless",)])
def test_spec_is_the_same_but_for_the_hostname(tmp_path: Path, flag: tuple[str, ...]) -> None:
    needs("runc")
    subprocess.run(["runc", "spec", *flag], cwd=tmp_path, check=True)
    theirs = json.loads((tmp_path / "config.json").read_text())
    ours = rootless(example()) if flag else example()
    theirs["ociVersion"], theirs["hostname"] = ours["ociVersion"], ours["hostname"]
    for document in (ours, theirs):
        document["linux"]["namespaces"].sort(key=lambda one: one["type"])
        document["process"]["capabilities"].pop("inheritable", None)
    assert json.loads(json.dumps(ours)) == theirs


def tool(*command: str, **options: object) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout + done.stderr


def in_terminal(command: str) -> tuple[int, str]:
    return tool("script", "-qec", command, "/dev/null")


@pytest.fixture(scope="module")
def containerd() -> Iterator[str]:
    needs("containerd", "ctr")
    place = Path(f"/var/tmp/wherry-ctrd-{os.getpid()}")
    socket = f"/run/ctrd-{os.getpid()}/c.sock"
    daemon = subprocess.Popen(["containerd", "--root", place, "--state", os.path.dirname(socket), "-a", socket],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while tool("ctr", "-a", socket, "version")[0]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield socket
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()
    shutil.rmtree(place, ignore_errors=True)


def test_under_containerd(bundle: Path, containerd: str) -> None:
    ctr = ["ctr", "-a", containerd]
    run = [*ctr, "run", "--rootfs", "--runc-binary", WHERRY]
    rootfs = str(bundle / "rootfs")
    assert tool(*run, "--rm", rootfs, "c1", "/bin/sh", "-c", "echo hello; exit 3") == (3, "hello\n")
    assert tool(*run, "-d", rootfs, "c2", "/bin/sleep", "1000")[0] == 0
    assert tool(*ctr, "t", "exec", "--exec-id", "e", "c2", "/bin/sh", "-c", "echo there; exit 4") == (4, "there\n")
    code, text = in_terminal(f"ctr -a {containerd} t exec -t --exec-id f c2 /bin/sh -c 'tty; exit 5'")
    assert code == 5
    assert "/dev/pts/0" in text
    assert tool(*ctr, "t", "pause", "c2")[0] == 0
    assert "PAUSED" in tool(*ctr, "t", "ls")[1]
    assert tool(*ctr, "t", "resume", "c2")[0] == 0
    assert tool(*ctr, "t", "kill", "-s", "KILL", "c2")[0] == 0
    deadline = time.monotonic() + 10
    while "STOPPED" not in tool(*ctr, "t", "ls")[1]:
        assert time.monotonic() < deadline
    assert "137" in tool(*ctr, "t", "rm", "c2")[1]
    assert tool(*ctr, "c", "rm", "c2")[0] == 0
    code, text = tool(*run, "--rm", rootfs, "c3", "nosuch")
    assert 'exec: "nosuch": executable file not found in $PATH: unknown' in text


def test_under_podman(bundle: Path) -> None:
    needs("podman")
    place = Path(f"/var/tmp/wherry-podman-{os.getpid()}")
    podman = ["podman", "--log-level", "error", "--root", f"{place}/s", "--runroot", f"{place}/r", "--tmpdir", f"{place}/t",
              "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", WHERRY]
    try:
        with subprocess.Popen(["tar", "-C", bundle / "rootfs", "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run([*podman, "import", "-q", "-", "localhost/b"], stdin=tar.stdout, check=True, capture_output=True)
        run = [*podman, "run", "--network", "none"]
        assert tool(*run, "--rm", "localhost/b", "sh", "-c", "echo hello; exit 3") == (3, "hello\n")
        assert tool(*run, "-d", "--name", "p", "localhost/b", "sleep", "1000")[0] == 0
        assert tool(*podman, "exec", "p", "sh", "-c", "echo there; exit 4") == (4, "there\n")
        code, text = in_terminal(" ".join(podman) + " exec -it p sh -c 'tty; exit 5'")
        assert code == 5
        assert "/dev/pts/0" in text
        assert tool(*podman, "pause", "p")[0] == tool(*podman, "unpause", "p")[0] == 0
        assert tool(*podman, "stop", "-t", "0", "p")[0] == 0
        assert tool(*podman, "rm", "p")[0] == 0
        assert tool(*run, "--rm", "localhost/b", "nosuch")[0] == 127
        assert tool(*run, "--rm", "localhost/b", "/etc/passwd")[0] == 126
        code, text = tool(*run, "--rm", "--read-only", "--user", "1000", "localhost/b", "sh", "-c", "id -u; echo x >/x")
        assert "1000" in text
        assert "Read-only file system" in text
    finally:
        subprocess.run([*podman, "rm", "-fa"], capture_output=True, check=False)
        for one in reversed([line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]):
            if one.startswith(str(place)):
                subprocess.run(["umount", "-l", one], check=False)
        shutil.rmtree(place)


def test_under_dockerd(bundle: Path) -> None:
    needs("dockerd", "docker")
    place = Path(f"/var/tmp/wherry-dockerd-{os.getpid()}")
    place.mkdir()
    socket = f"unix:///run/dockerd-{os.getpid()}.sock"
    with open(place / "log", "w") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", place / "d", "--exec-root", f"/run/dockerd-{os.getpid()}", "-p", place / "pid", "-H", socket,
             "--add-runtime", f"w={WHERRY}", "--default-runtime", "w", "--bridge", "none", "--iptables=false", "--storage-driver", "overlay2"],
            stdout=log, stderr=log)
    docker = ["docker", "-H", socket]
    try:
        deadline = time.monotonic() + 60
        while tool(*docker, "info")[0]:
            assert time.monotonic() < deadline, (place / "log").read_text()[-2000:]
            time.sleep(0.1)
        with subprocess.Popen(["tar", "-C", bundle / "rootfs", "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run([*docker, "import", "-", "b"], stdin=tar.stdout, check=True, capture_output=True)
        run = [*docker, "run", "--network", "none"]
        assert tool(*run, "--rm", "b", "sh", "-c", "echo hello; exit 3") == (3, "hello\n")
        code, text = tool(*run, "-d", "--name", "box", "b", "sleep", "1000")
        assert code == 0, text
        assert tool(*docker, "exec", "box", "sh", "-c", "echo there; exit 4") == (4, "there\n")
        for command in ("exec -it box", "run --rm --network none -it b"):
            text = in_terminal(" ".join(docker) + f" {command} sh -c 'tty; exit 5'")[1]
            assert "/dev/pts/0" in text
        assert tool(*docker, "update", "-m", "64m", "--memory-swap", "128m", "box")[0] == 0
        assert tool(*docker, "pause", "box")[0] == tool(*docker, "unpause", "box")[0] == 0
        assert tool(*docker, "stop", "-t", "0", "box")[0] == tool(*docker, "start", "box")[0] == tool(*docker, "rm", "-f", "box")[0] == 0
        for program, code, message in (
            ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH: unknown'),
            ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied: unknown'), ("/etc", 126, 'exec: "/etc": permission denied: unknown'),
            ("/bin/garbage", 1, "exec /bin/garbage: exec format error"),
        ):
            done, text = tool(*run, "--rm", "b", program)
            assert (done, message in text) == (code, True), text
        code, text = tool(*run, "--rm", "-v", "/nowhere/x:/etc/passwd", "b", "true")
        assert "Are you trying to mount a directory onto a file" in text
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        shutil.rmtree(place, ignore_errors=True)
