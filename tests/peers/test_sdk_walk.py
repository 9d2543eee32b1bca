"""The unmodified Python SDK on wherryd and on the real dockerd: options of run, networks and volumes look the same.

Each walk is a function of a client; what it returns is compared after names that differ by themselves (ids, addresses, times) are left out.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest
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
    "mem_limit": ({"mem_limit": "64m", "memswap_limit": "64m"}, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"),
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
    "ipc private": ({"ipc_mode": "private"}, "grep -c /dev/shm /proc/mounts"),
    "network host": ({"network_mode": "host"}, "[ -e /sys/class/net/lo ] && echo lo"),
    "network none": ({"network_mode": "none"}, "ls /sys/class/net"), "bridge": ({"network_mode": "bridge"}, "ls /sys/class/net; ip route | wc -l"),
    "mac_address": ({"mac_address": "02:42:ac:00:00:77", "network_mode": "bridge"}, "cat /sys/class/net/eth0/address"),
    "labels": ({"labels": {"a": "b"}}, "true"),
    "log_config": ({"log_config": {"type": "json-file", "config": {"max-size": "10k", "max-file": "2"}}}, "echo logged"),
    "stop_signal": ({"stop_signal": "SIGUSR1"}, "true"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_run(clients: tuple[Client, Client], name: str) -> None:
    options, script = OPTIONS[name]
    theirs, ours = (output(client, script, **options) for client in clients)
    assert ours == theirs


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


@pytest.mark.parametrize("walk", [networks, volumes], ids=lambda walk: walk.__name__)
def test_walk(clients: tuple[Client, Client], walk: Callable[[Client], Any]) -> None:
    theirs, ours = (walk(client) for client in clients)
    assert ours == theirs


def test_client_and_system(clients: tuple[Client, Client]) -> None:
    theirs, ours = ((client.ping(), set(client.version()) - {"Components"}, client.info()["OSType"], sorted(client.df())) for client in clients)
    assert theirs[0] == ours[0]
    assert theirs[1] <= ours[1]
    assert theirs[2:] == ours[2:]
