"""wherry beside docker on the real dockerd: the same words give the same output and exit code; terminals behave alike."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from cli_recorder import WHERRY
from real_dockerd import dockerd
from terminal_lab import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from real_dockerd import Dockerd

pytestmark = [pytest.mark.peer, pytest.mark.root]
DOCKER = shutil.which("docker", path="/usr/local/bin") or "docker"
HOME = "/run/cli-home"

# One command line per line, run by both; nothing here changes what the next one finds.
READING = r"""
ps
ps -a
ps -aq
ps -a --no-trunc
ps -as
ps -n 1
ps -l
ps --format json
ps -a --format '{{.ID}} {{.Names}} {{.Label "who"}} {{.Ports}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}}'
ps -a --format 'table {{.Names}}\t{{.Status}}\t{{.Label "who"}}'
ps -a --format raw
ps --filter name=one --filter status=running
ps --filter foo=bar
ps --filter foo
ps --format '{{.Foo}}'
ps --format '{{.ID'
ps --format '{{foo}}'
ps -n x
ps -Z
ps extra
ps --all=maybe
images
images -a
images -q --no-trunc
images --digests
images busybox
images nope
images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
images --format '{{.ID}} {{.Foo}}'
images --format json
history busybox
history --no-trunc -H=false busybox
history --format '{{.CreatedBy}}' busybox
history nope
inspect one
inspect busybox
inspect one busybox
inspect nope
inspect --type image one
inspect --type foo one
inspect -f '{{.State.Status}} {{.Config.Labels}} {{json .Config.Cmd}}' one
inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}' one
inspect -f '{{with .HostConfig}}{{.NetworkMode}} {{.Binds}} {{.Memory}}{{end}}' one
inspect -f '{{index .Config.Env 0}} {{len .Config.Env}} {{printf "%-12s|" .Name}}' one
inspect -f '{{if eq .State.Status "running"}}up{{else}}down{{end}} {{upper .Name}} {{join .Config.Cmd ","}}' one
inspect -f '{{.Foo}}' one
inspect -f '{{.State.Foo}}' one
inspect -f '{{.State.Status' one
container inspect nope
image inspect nope
network inspect bridge
network inspect nope
network ls
network ls -q
network ls --no-trunc
network ls --format json
volume ls
volume ls -q
volume ls --format '{{.Name}} {{.Mountpoint}}'
volume inspect data
volume inspect nope
logs talker
logs -t --tail 1 talker
logs --since zz talker
logs nope
port one
port one 80
port one 99
top one
top one -o pid,comm
diff talker
version
version --format '{{.Server.Version}} {{.Client.DefaultAPIVersion}}'
version --format '{{.Foo}}'
info --format '{{.Driver}} {{.NCPU}}'
info --format '{{.Foo}}'
system df
system df -v
system df --format json
stats --no-stream --format '{{.Name}} {{.PIDs}}' one
events --since 1h --until 0s --filter container=talker --filter event=create --format '{{.Type}} {{.Action}}'
wait nope
stop nope
kill nope
kill -s FOO one
pause nope
rename one one
rename one ''
rm nope
rmi nope
rmi -f nope
tag nope x
tag busybox A
save nope
export nope
commit nope
exec nope ls
exec one sh -c 'echo out; echo err >&2; exit 4'
exec -u 65534 -w /tmp -e A=b one sh -c 'id -u; pwd; echo $A'
exec one nope
exec -it one true
exec one
run --rm busybox sh -c 'echo out; echo err >&2; exit 7'
run --rm busybox nope
run --rm busybox /etc
run --rm busybox /etc/passwd
run --rm -e A=b -w /tmp busybox sh -c 'echo $A; pwd'
run --rm -it busybox true
run --rm -d -a stdout busybox true
run
run --bogus x
run --rm BAD
run --rm -m 1m busybox true
attach nope
attach talker
start nope
start -a talker
update one
update --cpus 1 one
restart -t x one
cp one:/nope /tmp
cp one:/a two:/b
cp a b
cp one:/etc/passwd -
cp one:/bin /etc/passwd
cp one:/etc/passwd /tmp/nope/
cp one:/etc/passwd /tmp/nope/x
cp - one:/nope
cp nope:/x /tmp/x
network rm nope
network rm bridge
network connect nope one
network disconnect nope one
network create
volume create x
volume create --name a b
volume rm nope
volume rm -f nope
login -u a -p b localhost:1
logout localhost:1
pull -q BAD
push BAD
load -i /nope
import /nope
context ls
context show
context inspect
context use nope
context create default
context rm nope
container prune
system prune
volume prune
network prune
image prune
image prune -a
container foo
tag a
"""
SECRET = re.compile(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{64}\b")
NUMBERS = re.compile(r"\d+ (seconds?|minutes?)|About a minute|Less than a second|\d{4}-\d\d-\d\dT[\d:.]+Z")
OWN_LINES = re.compile(r"^ ?(Version|API version|Go version|Git commit|Built):.*\n", re.MULTILINE)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Dockerd]:
    with dockerd() as one:
        one("run", "-d", "--name", "one", "-p", "8081:80", "-p", "53:53/udp", "--label", "who=me", "-v", "data:/data", "busybox", "sleep", "10000")
        one("run", "--name", "talker", "busybox", "sh", "-c", "echo first; echo second >&2; echo third; echo x > /file")
        yield one


def call(daemon: Dockerd, program: str, words: str, data: bytes = b"") -> tuple[int, str]:
    env = {"PATH": os.environ["PATH"], "HOME": HOME, "DOCKER_HOST": daemon.socket}
    done = subprocess.run(f"exec {program} {words}", shell=True, env=env, input=data, capture_output=True, cwd="/", timeout=60)
    text = (done.stdout + b"--\n" + done.stderr).decode(errors="replace")
    return done.returncode, normal(text)


def normal(text: str) -> str:
    """Without the names of the programs, ids and times."""
    text = text.replace("docker:", "wherry:").replace("docker ", "wherry ").replace("'docker", "'wherry")
    text = OWN_LINES.sub("", text).replace("Client: wherry\n", "Client:\n")
    text = NUMBERS.sub("TIME", SECRET.sub("ID", text))
    return re.sub(r" +", " ", text)


@pytest.mark.parametrize("words", [line for line in READING.splitlines() if line])
def test_same_output(daemon: Dockerd, words: str) -> None:
    theirs = call(daemon, DOCKER, words)
    ours = call(daemon, WHERRY, words)
    if words == "diff talker" or words.startswith("images"):  # the daemon's order, which is none for what is as old
        theirs, ours = ((code, "\n".join(sorted(text.splitlines()))) for code, text in (theirs, ours))
    assert ours == theirs


def test_stdin_through_a_pipe(daemon: Dockerd) -> None:
    data = os.urandom(3_000_000)
    for program in (DOCKER, WHERRY):
        done = subprocess.run([program, "-H", daemon.socket, "run", "-i", "--rm", "busybox", "cat"], input=data, capture_output=True, timeout=60)
        assert done.returncode == 0
        assert done.stdout == data


def test_copies_both_ways(daemon: Dockerd, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "sub").mkdir(parents=True)
    (source / "sub/file").write_text("content")
    (source / "link").symlink_to("sub/file")
    (source / "sub/file").chmod(0o640)
    wherry = [WHERRY, "-H", daemon.socket]
    for target in ("/made", "/made", "/tmp"):
        subprocess.run([*wherry, "cp", str(source), f"one:{target}"], check=True)
    listed = daemon("exec", "one", "find", "/made", "/tmp", "-type", "f")
    assert sorted(listed.split()) == ["/made/sub/file", "/made/tree/sub/file", "/tmp/tree/sub/file"]
    subprocess.run([*wherry, "cp", "one:/made/.", str(tmp_path / "back")], check=True)
    assert (tmp_path / "back/sub/file").read_text() == "content"
    assert (tmp_path / "back/sub/file").stat().st_mode & 0o777 == 0o640
    assert os.readlink(tmp_path / "back/link") == "sub/file"
    subprocess.run([*wherry, "cp", "-L", "one:/made/link", str(tmp_path / "followed")], check=True)
    assert (tmp_path / "followed").read_text() == "content"
    stream = subprocess.run([*wherry, "cp", "one:/made/sub", "-"], check=True, capture_output=True).stdout
    subprocess.run([*wherry, "cp", "-", "one:/home"], check=True, input=stream)
    assert daemon("exec", "one", "cat", "/home/sub/file") == "content"


def test_build_prints_what_docker_prints(daemon: Dockerd, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG who=nobody\nCOPY . /context\nRUN ls /context/data && echo $who\n")
    (tmp_path / ".dockerignore").write_text("**/*.log\ndata/*\n!data/kept\n")
    (tmp_path / "data").mkdir()
    for name in ("data/kept", "data/left", "x.log"):
        (tmp_path / name).write_text(name)
    texts = [call(daemon, program, f"build --no-cache --build-arg who=me -t built:1 {tmp_path}")[1].partition("--\n")[0] for program in (DOCKER, WHERRY)]
    assert texts[0] == texts[1]
    assert "\nkept\n" in texts[1]
    assert "\nme\n" in texts[1]
    code, text = call(daemon, WHERRY, "build -", b"FROM busybox\nRUN false\n")
    assert code == 1
    assert "returned a non-zero code: 1" in text
    outside = tmp_path.parent / "outside"
    outside.write_text("FROM busybox\nCMD [\"outside\"]\n")
    done = subprocess.run([WHERRY, "-H", daemon.socket, "build", "-q", "-f", str(outside), "--iidfile", str(tmp_path / "iid"), str(tmp_path)],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (tmp_path / "iid").read_text()
    assert daemon("inspect", "-f", "{{.Config.Cmd}}", done.stdout.strip()) == "[outside]"


def test_signals_reach_the_process(daemon: Dockerd) -> None:
    script = "trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.1; done"
    words = [WHERRY, "-H", daemon.socket, "run", "--rm", "busybox", "sh", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == "got\n"
    assert process.returncode == 9


def test_terminal_session(daemon: Dockerd) -> None:
    terminal = Terminal([WHERRY, "-H", daemon.socket, "run", "--rm", "-it", "busybox", "sh"])
    terminal.expect(b"# ")
    terminal.type(b"stty size; tty\n")
    terminal.expect(b"33 99\r\n")
    terminal.expect(b"/dev/pts/0")
    terminal.resize(44, 111)
    terminal.expect(b"# ")
    terminal.type(b"while [ \"$(stty size)\" != '44 111' ]; do sleep 0.1; done; echo re''sized\n")
    terminal.expect(b"resized\r\n")
    terminal.type(b"sh -c 'trap \"echo cau\"\"ght; exit 3\" INT; echo re\"\"ady; while :; do sleep 0.1; done'\n")
    terminal.expect(b"ready\r\n")
    terminal.type(b"\x03")
    terminal.expect(b"caught\r\n")
    terminal.type(b"exit 5\n")
    terminal.expect(b"exit 5")
    assert terminal.end() == 5


def test_detach_and_attach_again(daemon: Dockerd) -> None:
    wherry = [WHERRY, "-H", daemon.socket]
    terminal = Terminal([*wherry, "run", "--name", "left", "-it", "busybox", "sh"])
    terminal.expect(b"# ")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 0
    assert daemon("inspect", "-f", "{{.State.Running}}", "left") == "true"
    terminal = Terminal([*wherry, "attach", "left"])
    terminal.type(b"echo ag''ain\n")
    terminal.expect(b"again\r\n")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 1
    assert b"read escape sequence" in terminal.text
    terminal = Terminal([*wherry, "exec", "-it", "--detach-keys", "a,b", "left", "sh"])
    terminal.expect(b"# ")
    terminal.type(b"ab")
    assert terminal.end() == 1
    daemon("rm", "-f", "left")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_terminal_is_restored_after_a_signal(daemon: Dockerd, number: int) -> None:
    terminal = Terminal(["sh", "-c", f'{WHERRY} -H {daemon.socket} exec -it one sh; echo "ended $?"; read line'])
    terminal.expect(b"# ")
    assert not terminal.restored()
    child = subprocess.run(["pgrep", "-P", str(terminal.pid)], capture_output=True, text=True, check=True).stdout.split()[0]
    os.kill(int(child), number)
    terminal.expect(f"ended {128 + number}".encode())
    assert terminal.restored()
    terminal.type(b"\n")
    terminal.end()


def test_ssh_runs_a_program_and_speaks_through_it(daemon: Dockerd, tmp_path: Path) -> None:
    script = tmp_path / "ssh"
    script.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/words\nexec {WHERRY} -H {daemon.socket} system dial-stdio\n")
    script.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": HOME}
    words = [WHERRY, "-H", "ssh://me@far:22", "run", "--rm", "-i", "busybox", "cat"]
    data = os.urandom(300_000)
    done = subprocess.run(words, env=env, input=data, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")
    assert "-T -l me -p 22 -- far docker system dial-stdio\n" in (tmp_path / "words").read_text()
