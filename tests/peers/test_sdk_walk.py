"""The unmodified Python SDK walks what a container engine is for, on wherryd and on the real dockerd: it sees the same.

Each walk is a function of a client; what it returns is compared after names that differ by themselves (ids, addresses, times) are left out.
"""

from __future__ import annotations

import io
import itertools
import re
import shutil
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest
from busybox_image import rootfs_tar
from docker.types import IPAMConfig, IPAMPool, Mount, Ulimit
from real_dockerd import dockerd
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]

IMAGE = "busybox:latest"
HEX = re.compile(r"\b[0-9a-f]{12,64}\b")
Client = Any
LIVE_S = 30
LIMIT = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"


@pytest.fixture(scope="module")
def clients() -> Iterator[tuple[Client, Client]]:
    with dockerd() as real, wherryd() as ours:
        both = tuple(docker.DockerClient(base_url=one.socket, version="1.41", timeout=20) for one in (real, ours))
        yield both  # type: ignore[misc]
        for client in both:
            client.close()


def output(client: Client, script: str, **options: Any) -> str:
    options.setdefault("network_mode", "none")
    text: bytes = client.containers.run(IMAGE, ["sh", "-c", script], remove=True, stdout=True, stderr=True, **options)
    return text.decode()


def refusal(call: Callable[[], Any]) -> tuple[int, str]:
    """Status and message of a request that is refused."""
    try:
        call()
    except docker.errors.APIError as error:
        return error.response.status_code, HEX.sub("<id>", error.explanation or "")
    raise AssertionError("it was not refused")


# What `run` can be asked for, and a script that sees it from inside.
OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "environment": ({"environment": {"COLOUR": "blue", "EMPTY": ""}}, "echo $COLOUR; env | grep EMPTY"),
    "working_dir": ({"working_dir": "/made/here"}, "pwd; stat -c '%a %u' /made"),
    "user": ({"user": "daemon:staff"}, "id"), "user by number": ({"user": "4711:4712"}, "id"),
    "entrypoint": ({"entrypoint": ["echo", "first"]}, "x"),
    "hostname": ({"hostname": "box", "domainname": "example.org"}, "hostname; cat /proc/sys/kernel/domainname"),
    "extra_hosts": ({"extra_hosts": {"there": "192.0.2.1"}, "network_mode": "bridge"}, "grep there /etc/hosts"),
    "dns": ({"dns": ["192.0.2.2"], "dns_search": ["example.net"], "dns_opt": ["ndots:3"], "network_mode": "bridge"}, "sort /etc/resolv.conf"),
    "tmpfs": ({"tmpfs": {"/t": "size=1m,mode=700"}}, "stat -c %a /t; grep ' /t ' /proc/mounts | grep -o 'size=[0-9]*k'; grep -c ' /t .*noexec' /proc/mounts"),
    "read_only": ({"read_only": True}, "touch /x 2>&1; echo $?"),
    "volumes": ({"volumes": {"/etc/hostname": {"bind": "/there", "mode": "ro"}}}, "touch /there 2>&1; echo $?"),
    "mounts": ({"mounts": [Mount("/m", None, type="tmpfs", tmpfs_size=1 << 20)]}, "df -k /m | tail -n 1 | awk '{print $2}'"),
    "cap_add": ({"cap_add": ["SYS_TIME"], "cap_drop": ["CHOWN"]}, "touch /x; chown 1 /x 2>&1; echo $?"),
    "cap_drop": ({"cap_drop": ["ALL"]}, "grep Cap /proc/self/status"),
    "security_opt": ({"security_opt": ["no-new-privileges"]}, "grep NoNewPrivs /proc/self/status"),
    "unconfined": ({"security_opt": ["seccomp=unconfined"]}, "grep '^Seccomp:' /proc/self/status"),
    "seccomp": ({}, "grep '^Seccomp:' /proc/self/status"),
    "ulimits": ({"ulimits": [Ulimit(name="nofile", soft=100, hard=200)]}, "ulimit -n; ulimit -Hn"),
    "mem_limit": ({"mem_limit": "64m", "memswap_limit": "64m"}, LIMIT),
    "nano_cpus": ({"nano_cpus": 500_000_000}, "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us || cat /sys/fs/cgroup/cpu.max"),
    "cpu_shares": ({"cpu_shares": 512}, "cat /sys/fs/cgroup/cpu/cpu.shares || cat /sys/fs/cgroup/cpu.weight"),
    "cpuset": ({"cpuset_cpus": "0"}, "grep Cpus_allowed_list /proc/self/status"),
    "pids_limit": ({"pids_limit": 50}, "cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max"),
    "shm_size": ({"shm_size": "1m"}, "df -k /dev/shm | tail -n 1 | awk '{print $2}'"),
    "devices": ({"devices": ["/dev/null:/dev/mine:r"]}, "ls -l /dev/mine | awk '{print $1, $5, $6}'"),
    "init": ({"init": True}, "[ $$ != 1 ] && echo under an init"),
    "group_add": ({"group_add": ["staff", "4711"]}, "id -G"),
    "oom_score_adj": ({"oom_score_adj": 321}, "cat /proc/self/oom_score_adj"),
    "sysctls": ({"sysctls": {"net.ipv4.ip_forward": "1"}}, "cat /proc/sys/net/ipv4/ip_forward"),
    "pid_mode": ({"pid_mode": "host"}, "[ $$ = 1 ] || echo not alone"), "uts_mode": ({"uts_mode": "host"}, "hostname | wc -l"),
    "ipc none": ({"ipc_mode": "none"}, "grep -c /dev/shm /proc/mounts || true"),
    "ipc private": ({"ipc_mode": "private"}, "grep -c /dev/shm /proc/mounts"),
    "network host": ({"network_mode": "host"}, "[ -e /sys/class/net/lo ] && echo lo"),
    "network none": ({"network_mode": "none"}, "ls /sys/class/net"), "bridge": ({"network_mode": "bridge"}, "ls /sys/class/net; ip route | wc -l"),
    "mac_address": ({"mac_address": "02:42:ac:00:00:77", "network_mode": "bridge"}, "cat /sys/class/net/eth0/address"),
    "tty": ({"tty": True}, "[ -t 0 ] && [ -t 1 ] && echo a terminal; readlink /proc/self/fd/0; stty size 2>&1"),
    "labels": ({"labels": {"a": "b"}}, "true"),
    "log_config": ({"log_config": {"type": "json-file", "config": {"max-size": "10k", "max-file": "2"}}}, "echo logged"),
    "stop_signal": ({"stop_signal": "SIGUSR1"}, "true"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_run(clients: tuple[Client, Client], name: str) -> None:
    options, script = OPTIONS[name]
    theirs, ours = (output(client, script, **options) for client in clients)
    assert ours == theirs


def life(client: Client) -> Any:
    """From create to prune: the verbs that change a container's state."""
    one = client.containers.create(IMAGE, ["sh", "-c", "trap 'echo told; exit 7' TERM; echo begun; while :; do sleep 0.05; done"], name="walker",
                                   network_mode="none", labels={"walk": "yes"}, detach=True)
    seen: list[Any] = [(one.status, one.name, one.labels, one.image.tags)]
    one.start()
    seen.append(first_line(one))
    one.reload()
    seen += [one.status, [each.name for each in client.containers.list(filters={"label": "walk"})]]
    one.pause()
    one.reload()
    seen += [one.status, refusal(lambda: one.exec_run("true"))]
    one.unpause()
    one.rename("renamed")
    one.reload()
    seen += [one.status, one.name, refusal(lambda: client.containers.create(IMAGE, name="renamed"))]
    one.stop(timeout=20)
    seen += [one.wait()["StatusCode"], one.logs(), one.logs(tail=1), one.logs(since=4_000_000_000), one.diff()]
    one.restart(timeout=20)
    one.kill()
    seen += [one.wait()["StatusCode"], refusal(one.kill), refusal(one.pause)]
    return [*seen, len(client.containers.prune(filters={"label": ["walk"]})["ContainersDeleted"]), refusal(one.reload)]


def inside(client: Client) -> Any:
    """What can be asked of a running container: exec, top, stats, attach, update, resize, diff."""
    one = client.containers.run(IMAGE, ["sh", "-c", "echo begun; read line; echo got $line; sleep 1000"], name="inside", network_mode="none", tty=True,
                                stdin_open=True, detach=True, stop_signal="SIGKILL", mem_limit="64m")
    seen: list[Any] = [first_line(one), one.top()["Titles"], [row[-1] for row in one.top(ps_args="-o pid,args")["Processes"]]]
    seen.append(one.exec_run(["sh", "-c", "echo $A; pwd; id -u; exit 3"], environment={"A": "b"}, workdir="/tmp", user="daemon"))
    seen.append(one.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True))
    seen += [one.exec_run("tty", tty=True).output, one.exec_run(["sh", "-c", "echo kept > /new; rm /etc/group"]).exit_code]
    seen += [one.exec_run("nosuch").exit_code, one.exec_run("true", user="nosuch").exit_code]
    stats = one.stats(stream=False)
    seen += [stats["name"], stats["memory_stats"]["limit"]]
    one.update(mem_limit="32m", memswap_limit="32m", cpu_shares=77)
    one.reload()
    seen += [one.attrs["HostConfig"]["Memory"], one.attrs["HostConfig"]["CpuShares"], one.exec_run(["sh", "-c", LIMIT]).output]
    one.resize(height=33, width=77)
    seen.append(one.exec_run(["sh", "-c", "stty size < /dev/pts/0"]).output)
    stream = one.attach(stream=True)
    typed = one.attach_socket(params={"stdin": 1, "stream": 1})
    keyboard = typed._sock  # the SDK gives a stream that only reads
    keyboard.sendall(b"a line\n")
    text = b""
    for part in stream:
        text += part
        if b"got a line" in text:
            break
    end(stream)
    keyboard.close()
    typed._response.close()
    seen += [text.strip(), sorted((each["Path"], each["Kind"]) for each in one.diff())]
    one.remove(force=True)
    return seen


def end(stream: Any) -> None:
    """Closes a stream of the SDK, and the answer from which it came: that one it leaves open."""
    stream.close()
    stream._response.close()


def first_line(container: Any) -> bytes:
    """What it prints first, as soon as it is there."""
    stream = container.logs(stream=True, follow=True)
    line: bytes = next(stream)
    end(stream)
    return line


def printed(client: Client, image: str, command: str | None = None) -> bytes:
    """What a container printed, read after its end: dockerd 20.10 now and then loses the last words for those who follow."""
    one = client.containers.run(image, command, network_mode="none", detach=True)
    one.wait()
    text: bytes = one.logs()
    one.remove()
    return text


def files(client: Client) -> Any:
    """A container's files in and out, and as an image."""
    one = client.containers.create(IMAGE, "true", network_mode="none")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("given")
        info.size, info.uid, info.mode, info.mtime = 5, 4711, 0o640, 1_000_000_000
        tar.addfile(info, io.BytesIO(b"hello"))
    seen: list[Any] = [one.put_archive("/tmp", packed.getvalue())]
    data, stat = one.get_archive("/tmp/given")
    with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as tar:
        seen.append([(entry.name, entry.size, entry.uid, entry.mode & 0o7777, entry.mtime) for entry in tar])
    seen += [(stat["name"], stat["size"], stat["mode"], stat["linkTarget"]), one.diff(), refusal(lambda: one.get_archive("/nosuch"))]
    seen += [refusal(lambda: one.put_archive("/nosuch", packed.getvalue())), refusal(lambda: one.put_archive("/etc/passwd", packed.getvalue()))[1]]
    with tarfile.open(fileobj=io.BytesIO(b"".join(one.export()))) as tar:
        seen.append("tmp/given" in tar.getnames())
    image = one.commit("walked", "1", message="by the walk", author="a walker", changes=["ENV A=b"])
    seen += [image.tags, [row["Comment"] for row in image.history()][:1], image.attrs["Author"], "A=b" in image.attrs["Config"]["Env"]]
    seen.append(printed(client, "walked:1", "cat /tmp/given"))
    one.remove()
    client.images.remove("walked:1")
    return seen


def images(client: Client) -> Any:
    image = client.images.get(IMAGE)
    seen: list[Any] = [image.id, image.tags, len(image.history()), image.tag("other", "2"), sorted(client.images.get(IMAGE).tags)]
    saved = b"".join(client.images.get("other:2").save(named="other:2"))
    client.images.remove("other:2")
    seen.append(refusal(lambda: client.images.get("other:2"))[0])
    seen.append([one.tags for one in client.images.load(saved)])
    client.images.remove("other:2")
    client.api.import_image_from_data(rootfs_tar(), repository="imported", tag="3")
    seen.append(printed(client, "imported:3", "echo from an import"))
    client.images.remove("imported:3")
    built, lines = client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nRUN echo built > /file\nCMD cat /file\n".encode()), tag="built", rm=True)
    seen += [built.tags, any("Successfully built" in line.get("stream", "") for line in lines)]
    seen.append(printed(client, "built"))
    client.images.remove("built")
    return [*seen, sorted(tag for one in client.images.list() for tag in one.tags), sorted(client.images.prune())]


def networks(client: Client) -> Any:
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet="10.212.0.0/24", gateway="10.212.0.1")])
    net = client.networks.create("walk-net", driver="bridge", ipam=pool, labels={"a": "b"}, internal=True)
    try:
        one = client.containers.run(IMAGE, "sleep 1000", network="walk-net", name="first", detach=True, stop_signal="SIGKILL")
        two = client.containers.run(IMAGE, "sleep 1000", network_mode="none", name="second", detach=True, stop_signal="SIGKILL")
        client.networks.get("none").disconnect(two)
        net.connect(two, aliases=["alias"], ipv4_address="10.212.0.77")
        net.reload()
        seen: list[Any] = [net.name, net.attrs["Labels"], net.attrs["Internal"], net.attrs["IPAM"]["Config"], sorted(each.name for each in net.containers)]
        seen.append(one.exec_run("ping -c 1 -W 20 alias").exit_code)
        two.reload()
        seen += [two.attrs["NetworkSettings"]["Networks"]["walk-net"]["IPAddress"], refusal(net.remove)[0]]
        net.disconnect(two)
        two.reload()
        seen.append(sorted(two.attrs["NetworkSettings"]["Networks"]))
        for each in (one, two):
            each.remove(force=True)
        return [*seen, sorted(each.name for each in client.networks.list(names=["walk-net"]))]
    finally:
        net.remove()


def volumes(client: Client) -> Any:
    volume = client.volumes.create("walk-volume", labels={"a": "b"})
    output(client, "echo kept > /v/file", volumes={"walk-volume": {"bind": "/v", "mode": "rw"}})
    seen: list[Any] = [volume.name, volume.attrs["Driver"], volume.attrs["Labels"],
                       output(client, "cat /v/file; touch /v/x", volumes={"walk-volume": {"bind": "/v", "mode": "rw"}})]
    holder = client.containers.create(IMAGE, volumes={"walk-volume": {"bind": "/v", "mode": "rw"}}, network_mode="none")
    seen.append(refusal(volume.remove)[0])
    holder.remove()
    seen.append([each.name for each in client.volumes.list(filters={"label": "a"})])
    volume.remove()
    return [*seen, refusal(lambda: client.volumes.get("walk-volume")), sorted(client.volumes.prune())]


def events(client: Client) -> Any:
    """Those of one container, while it lives and afterwards, and no other's."""
    wanted = {"type": ["container"], "label": ["watched"]}
    stream = client.events(decode=True, filters=wanted)
    seen: list[Any] = []

    def listen() -> None:
        seen.extend(itertools.islice(stream, 3))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    client.containers.run(IMAGE, "true", network_mode="none", remove=True)
    client.containers.run(IMAGE, ["sh", "-c", "exit 0"], labels={"watched": ""}, network_mode="none")
    listener.join(LIVE_S)
    end(stream)
    again = list(client.events(decode=True, filters=wanted, since=seen[0]["time"], until=seen[-1]["time"] + 1))
    none = list(client.events(decode=True, filters={"event": ["pause"], "label": ["watched"]}, since=seen[0]["time"], until=seen[-1]["time"] + 1))
    client.containers.prune()
    return [[(each["Type"], each["Action"], each["scope"], each["from"], each["Actor"]["Attributes"].get("exitCode")) for each in some]
            for some in (seen, again, none)]


def errors(client: Client) -> Any:
    def run(*command: str, **options: Any) -> Callable[[], Any]:
        return lambda: client.containers.run(IMAGE, list(command), network_mode="none", **options)

    seen: list[Any] = [refusal(run("nosuch"))[0], refusal(run("/etc/passwd"))[0], refusal(run("true", working_dir="/etc/passwd"))[0],
                       refusal(run("true", user="nosuch")), refusal(run("true", mem_limit="1k"))[1]]
    status, words = refusal(run("true", cpu_shares=1))  # on the hybrid hierarchy the kernel has a least
    seen.append((status, words.rpartition(": the minimum")[1:]))
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run(IMAGE, ["sh", "-c", "echo wrong >&2; exit 9"], network_mode="none")
    seen.append((caught.value.exit_status, caught.value.stderr))
    for one in client.containers.list(all=True):
        one.remove(force=True)
    return seen


def shared(client: Client) -> Any:
    """Namespaces of another container."""
    one = client.containers.run(IMAGE, "sleep 1000", name="sharer", network_mode="bridge", ipc_mode="shareable", detach=True, stop_signal="SIGKILL")
    seen = [output(client, "ps | grep -c 'slee[p] 1000'", pid_mode="container:sharer"), output(client, "touch /dev/shm/x; echo $?", ipc_mode="container:sharer"),
            one.exec_run("ls /dev/shm").output, output(client, "ls /sys/class/net", network_mode="container:sharer")]
    one.remove(force=True)
    return seen


WALKS = (life, inside, files, images, networks, volumes, events, errors, shared)


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_walk(clients: tuple[Client, Client], walk: Callable[[Client], Any]) -> None:
    theirs, ours = (walk(client) for client in clients)
    assert ours == theirs


def test_client_and_system(clients: tuple[Client, Client]) -> None:
    theirs, ours = ((client.ping(), set(client.version()) - {"Components"}, client.info()["OSType"], sorted(client.df())) for client in clients)
    assert theirs[0] == ours[0]
    assert theirs[1] <= ours[1]
    assert theirs[2:] == ours[2:]
