"""Small cases of the docker command line, each a shell line on the real dockerd and on wherryd: both print and return the same.

A line has `docker` (20.10) and `ask METHOD PATH [JSON]`, which prints the body and the status. What is random or the clock's is
left out of the comparison, and so are names of one daemon's own folders.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from clients import DOCKERS
from real_dockerd import dockerd
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT = DOCKERS["docker20"]
pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(not os.access(CLIENT, os.X_OK), reason=f"needs {CLIENT}")]

FUNCTIONS = f"""
docker() {{ {CLIENT} -H unix://$SOCKET "$@"; }}
ask() {{ curl -sS -m 30 --unix-socket $SOCKET -w ' %{{http_code}}\\n' -X $1 ${{3:+-H Content-Type:application/json -d "$3"}} http://d/v1.41$2; }}
"""
VARYING = [
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b", "<short>"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<time>"),
    (r"failed to create task for container: failed to create shim task", "failed to create shim task"),  # 28's words, and 20.10's
    (r"Invalid filter", "invalid filter"),
    (r"(?m)^time=.*context canceled\"\n", ""),  # printed by the client or not, as its requests happen to end
]

CASES = {
    # -- what is run, and as whom
    "an empty word is a command that is not found": """
        docker create --name empty busybox '' >/dev/null; docker start empty; docker rm empty; docker create busybox
        docker run -d --name e1 busybox top >/dev/null; docker exec e1 ''; docker rm -f e1""",
    "a command of an exec is a list": """
        docker run -d --name e2 busybox top >/dev/null
        ask POST /containers/e2/exec '{"Cmd": "true"}' | grep -o 'cannot unmarshal string\\|40.'; docker rm -f e2""",
    "numbers of users have bounds": """
        for user in -1 2147483648 -x 1:-1; do docker run --rm -u $user busybox id; done""",
    "the first word of a host name is a name too": """
        docker run --rm -h a.b.c busybox sh -c 'tail -1 /etc/hosts | cut -f2'
        docker run --rm -h a --domainname b.c busybox sh -c 'tail -1 /etc/hosts | cut -f2'""",

    # -- files
    "the working folder is there before the first start": """
        docker create --name w1 -w /new/folder busybox pwd >/dev/null; docker cp w1:/new/folder - | tar t
        echo x >file; docker cp file w1:/new/folder/; docker start -a w1; docker cp w1:/new/folder/file - | tar xO; docker rm w1""",
    "a folder of the host is not filled": "docker create -v /tmp:/etc:nocopy busybox",
    "volumes with options are not pruned": """
        docker volume create -o type=tmpfs -o device=tmpfs mine; docker volume create plain
        docker volume prune -f | grep -c 'plain\\|mine'; docker volume ls -q; docker volume rm mine""",

    # -- who is looked for
    "a name with its slash": """
        docker run -d --name n1 busybox top >/dev/null
        for name in '^/n1$' '^n1$' /n1 n '[' /n2; do docker ps --filter name=$name --format '{{.Names}}'; done
        docker ps --filter isolation=x --format '{{.Names}}'; docker rm -f n1""",
    "nobody to attach to": """
        docker run -d --name a1 busybox top >/dev/null; docker pause a1
        ask POST '/containers/nosuch/attach?stdout=1'; ask POST '/containers/a1/attach?stream=1&stdout=1' | sed 's/[Cc]ontainer a1/it/'
        docker unpause a1; ask POST '/containers/a1/attach?detachKeys=ctrl-zz'; docker rm -f a1""",

    # -- images and logs
    "what is no image": """
        docker pull scratch; docker pull -q scratch:x; docker export $(docker create --name i1 busybox) >i.tar; docker rm i1
        docker import --platform windows i.tar; docker import --platform linux/arm64 i.tar >/dev/null""",
    "a log driver that nobody has": "docker run --log-driver nosuch busybox true",
}


@pytest.fixture(scope="module")
def sockets() -> Iterator[tuple[str, str]]:
    """Of wherryd and of dockerd."""
    with wherryd() as ours, dockerd() as theirs:
        yield ours.path, theirs.socket.removeprefix("unix://")


def printed(script: str, socket: str, folder: Path) -> str:
    """Both outputs of a line, each command's status told by the line itself."""
    folder.mkdir()
    done = subprocess.run(["bash", "-c", FUNCTIONS + script], cwd=folder, env={**os.environ, "SOCKET": socket, "HOME": str(folder)},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    text = done.stdout.decode(errors="replace") + f"\nstatus {done.returncode}"
    for pattern, stand_in in VARYING:
        text = re.sub(pattern, stand_in, text)
    return text


@pytest.mark.parametrize("name", CASES)
def test_both_say_the_same(sockets: tuple[str, str], tmp_path: Path, name: str) -> None:
    mine, theirs = (printed(CASES[name], socket, tmp_path / str(number)) for number, socket in enumerate(sockets))
    assert mine == theirs
