"""`create`: for every list of arguments here the real docker and wherry send the same body, or refuse with the same words and exit code."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from cli_recorder import WHERRY, Recorder, recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.peer
DOCKER = shutil.which("docker", path="/usr/local/bin") or "docker"

# One list of arguments per line.
CASES = r"""
--network a --ip 1 y
--net none --net host y
--ipc foo y
--pid foo y
--uts foo y
--userns foo y
--cgroupns foo y
--memory-swappiness 200 y
--shm-size x y
--shm-size 3m y
-e = y
-e A -e HOME -e B=1 y
--env-file /nope y
--label-file /nope y
--label =x y
--label a --label b=c y
-a foo y
-a stdin y
-i y
-it y
--stop-timeout x y
--stop-timeout 3 --stop-signal foo y
--health-cmd a --no-healthcheck y
--no-healthcheck y
--health-cmd "a b" --health-interval 3s --health-retries 4 --health-timeout 1m --health-start-period 1s --health-start-interval 2s y
--health-interval -1s y
--health-retries -1 y
--blkio-weight 5 y
--blkio-weight-device foo y
--blkio-weight-device /dev/a:5 y
--blkio-weight-device /dev/a:50 y
--device-read-bps foo y
--device-read-bps /dev/a:zz y
--device-read-bps /dev/a:1mb y
--device-read-iops /dev/a:zz y
--device-write-iops /dev/a:33 y
--gpus foo=bar y
--gpus x y
--gpus all y
--gpus '"device=0,1"' y
--gpus 2,driver=nvidia,capabilities=compute y
--sysctl net.foo y
--sysctl net.foo=1 y
--log-opt foo y
--log-opt a=b y
--log-driver none --log-opt a=b y
--storage-opt foo y
--storage-opt a=b y
--security-opt foo y
--security-opt no-new-privileges y
--security-opt seccomp=/nope y
--security-opt seccomp:unconfined y
--security-opt systempaths=unconfined y
--tmpfs x y
--tmpfs /x:size=3 y
--pull foo y
--platform a/b/c/d y
--platform linux/arm64 y
--mac-address zz y
--mac-address 02:42:ac:11:00:02 y
--ip zz --network foo y
--ip 1.2.3.4 --ip6 ::1 --network foo --network-alias q y
--ip 1.2.3.4 y
--network-alias q y
--link-local-ip 169.254.1.1 --network foo --link a:b y
--link a:b y
--link a y
--network host y
--network none y
--network container:foo -p 80:80 y
--network name=foo,alias=a,alias=b,driver-opt=x=y,ip=1.2.3.4,mac-address=02:42:ac:11:00:02,gw-priority=3 y
--network foo --network bar y
--network name=foo,alias=a --network-alias q y
--network name=foo,ip=zz y
--network alias=a y
--network name=foo,bar=q y
--network host --network foo y
--mount type=bind,src=/a,dst=/b,ro,bind-propagation=shared,bind-nonrecursive,consistency=cached y
--mount type=bind,src=/a,dst=/b,bind-recursive=readonly,readonly,bind-propagation=rprivate y
--mount type=bind,src=/a,dst=/b,bind-recursive=foo y
--mount type=bind,src=/a,dst=/b,bind-recursive=writable y
--mount type=bind,src=/a,dst=/b,bind-recursive=readonly y
--mount dst=/b y
--mount type=volume,src=v,dst=/b,volume-nocopy,volume-label=a=b,volume-driver=q,volume-opt=o=p,volume-subpath=s y
--mount type=tmpfs,dst=/b,tmpfs-size=3m,tmpfs-mode=1777 y
--mount type=tmpfs,dst=/b,tmpfs-mode=9 y
--mount type=tmpfs,src=a,dst=/b y
--mount type=image,src=a,dst=/b,image-subpath=c y
--mount type=foo,dst=/x y
--mount type=bind,dst=/x y
--mount type=bind,src=a,dst=/x y
--mount type=bind,src=./a,dst=/x y
--mount type=volume,dst=/x,tmpfs-size=3 y
--mount type=cluster,src=a,dst=/b y
--mount type=npipe,src=a,dst=/b y
--mount type=bind,src=/a,dst=/b,volume-nocopy=zz y
--mount type=bind,src=/a,dst=/b,consistency=foo y
--mount type=bind,src=/a,dst=/b,bind-propagation=foo y
-v ./a:/b y
-v ~/a:/b y
-v /a y
-v a y
-v n:/b:ro,z y
-v a:b:c:d y
-v "" y
-v /a:/b:rshared y
-v /a/:/b/ y
y
--network bridge y
--network foo y
--network none --ip 1.2.3.4 y
--mac-address 02:42:ac:11:00:02 --network host y
--mac-address 02:42:ac:11:00:02 --network bridge y
--mac-address 02:42:ac:11:00:02 --network container:x y
--link a --network bridge y
--ip 1.2.3.4 --ip 1.2.3.5 --network foo --network bar y
--network foo --network foo y
--network name=foo,ip=1.2.3.4 --ip 1.2.3.4 y
--network name=foo,mac-address=02:42:ac:11:00:02 --mac-address 02:42:ac:11:00:02 y
--network foo --network container:a y
--network name=bridge,alias=q y
--network name=foo,link=a:b y
--network name=foo,link-local-ip=1.2.3.4 y
--network name=foo,driver-opt=q y
--network name=foo,gw-priority=zz y
--network name=foo,mac-address=zz y
--name x --platform linux/amd64/v2 y
-p 80:80 y
-p 127.0.0.1::53/udp y
-p 8000-8005:80-85 y
-p 8000-8005:80 y
-p [::1]:80:80 y
-p 80-81 y
-p 80/tcp -p 81:80/tcp y
-p 80:80/sctp --expose 90 --expose 100-102/udp y
-p 1:2:3:4 y
-p x y
-p 80:x y
-p x:80 y
-p 70000 y
-p 1-3:1-2 y
-p 80/foo y
-p a.b.c:80:80 y
-p "" y
-p : y
-p target=80,published=8080,protocol=udp y
--expose x y
--expose 5-1 y
--expose 80/foo y
-P y
--restart on-failure:3 y
--restart on-failure:x y
--restart :3 y
--restart always y
--rm --restart always y
--rm y
--device /dev/null:/dev/n:r y
--device /dev/null y
--device /dev/null:rw y
--device foo y
--device /dev/null:/a:zz y
--device vendor.com/class=all y
--add-host foo y
--add-host a:b y
--add-host a=1.2.3.4 --add-host b:::1 --add-host c:host-gateway --add-host d:[::1] y
--dns foo y
--ulimit foo y
--ulimit nofile=zz y
--ulimit bogus=1 y
--ulimit nofile=3:1 y
--ulimit nofile=1:2 --ulimit core=-1 y
--ulimit nofile=1:2:3 y
--cap-add A --cap-drop B --privileged --read-only --init y
--init=false y
-m 10m --memory-swap -1 --memory-reservation 5m --cpus 1.5 -c 3 --cpu-period 4 --cpu-quota 5 --cpuset-cpus 0-1 --cpuset-mems 0 --pids-limit -1 y
--cpus 0.0000000001 y
--cpus 1/3 y
--cpus x y
-m zz y
-m 10x y
-m -1 y
-m 1.5g y
--kernel-memory 4m y
--entrypoint sh y a b
--entrypoint "" y
-u 1:2 -w /x -h host --domainname dom y
--device-cgroup-rule foo y
--device-cgroup-rule 'c 1:3 rwm' y
--volume-driver x -v a:/b y
--group-add x BAD
--isolation foo --runtime x --oom-score-adj 5 --oom-kill-disable y
--log-driver x --log-opt a=b --log-opt c=d y
--userns host --uts host --pid host --ipc host --cgroupns private y
--pid container:x y
--pid container: y
--cgroup-parent /a --storage-opt size=3 y
--volumes-from a:ro --volumes-from b y
--annotation a=b --annotation foo y
--sysctl kernel.msgmax=1 y
--name=foo -dit y
--name x --hostname=y z --name q
y -- a b
-- y a
--tmpfs /x --tmpfs /y:size=1 y
-v a:/b -v a:/b y
-v /a:/b:c:d:e y
--mount type=bind,"src=/a,b",dst=/c y
--mount type=volume,dst=/x,volume-opt=a=b,volume-opt=c=d y
--mount type=bind,src=/a,dst=/b,readonly=1 y
--stop-timeout -1 y
--memory-swappiness 50 y
--network-alias a --network-alias b --network foo y
--device-read-bps /dev/a:1mb --device-write-bps /dev/b:2 --device-read-iops /dev/a:5 --device-write-iops /dev/a:6 --blkio-weight 300 y
--health-cmd= y
--health-interval 5s y
--attach stdin --attach stdout -i y
-e =x y
-e "A=b c" y
-e A= y
-l a=b=c y
-t y
--cpus=-1 y
--shm-size=-1 y
--stop-timeout=0 y
--security-opt seccomp={folder}/profile.json --security-opt apparmor=x y
--env-file {folder}/env --label-file {folder}/labels -e Q y
--env-file {folder}/profile.json y
--cpu-count 5 y
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Recorder]:
    if "version 28" not in subprocess.run([DOCKER, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("needs the docker command line 28")
    with recorder() as one:
        yield one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("files")
    (path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}\n')
    (path / "env").write_text("A=1\nHOME\n# c\n\n B=2\nNOSUCH\n")
    (path / "labels").write_text("x=1\ny\n")
    return str(path)


@pytest.mark.parametrize("line", [one for one in CASES.splitlines() if one])
def test_same_body(daemon: Recorder, folder: str, line: str) -> None:
    words = shlex.split(line.replace("{folder}", folder))
    theirs = daemon.call(DOCKER, "create", *words)
    ours = daemon.call(WHERRY, "create", *words)
    assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)
    assert ours.body == theirs.body
    assert ours.query == theirs.query
    if ours.body is not None:
        assert list(ours.body) == list(theirs.body)
        assert list(ours.body["HostConfig"]) == list(theirs.body["HostConfig"])


@pytest.mark.parametrize("words", [("--annotation", "a=b", "y"), ("--health-cmd", "a", "--health-start-interval", "3s", "y"),
                                   ("--mac-address", "02:42:ac:11:00:02", "y"), ("--cgroupns", "private", "y"), ("-m", "6m", "--kernel-memory", "4m", "y")])
@pytest.mark.parametrize("version", ["1.40", "1.41", "1.43"])
def test_older_daemons(daemon: Recorder, version: str, words: tuple[str, ...]) -> None:
    del daemon
    with recorder(version) as old:
        theirs, ours = (old.call(program, "create", *words) for program in (DOCKER, WHERRY))
    assert (ours.code, ours.err, ours.body) == (theirs.code, theirs.err, theirs.body)
