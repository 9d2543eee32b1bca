"""The shim under load and in trouble: slow clients, floods, full disks, kills, floods of lines; with our own runtime."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shim_box import Box, Client, alive, wait_for

from wherry.errors import Conflict, NotFound
from wherry.linux import cgroup
from wherry.shim.client import (
    AttachEnded,
    AttachRequest,
    ExecRequest,
    Exited,
    LogFailed,
    LogOptions,
    Lost,
    NetnsRequest,
    OutOfMemory,
    Shim,
    SocketRequest,
    StartFailed,
    read_exit,
)
from wherry.shim.logfile import LogFile, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
OUTPUT = AttachRequest(attach_id="run", stdout=True, stderr=True)
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    base = Path("/run") / f"shim-{os.getpid()}"
    base.mkdir()
    one = Box(base)
    yield one
    one.close()


@pytest.fixture(autouse=True)
def _nothing_is_left(box: Box) -> Iterator[None]:
    yield
    box.finish()
    left = subprocess.run(["find", "/sys/fs/cgroup", "-name", f"{box.base.name}-*", "-type", "d"], capture_output=True, text=True, check=True).stdout
    assert left == ""


def private_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


# What it looks like from outside


def test_the_processes_are_named_and_hang_together(box: Box) -> None:
    one = box.start(["sleep", "100"])
    shown = subprocess.run(["ps", "ww", "-eH", "-o", "cmd"], capture_output=True, text=True, check=True).stdout.splitlines()
    place = [line.strip() for line in shown].index(f"wherry-shim {one.shim.id}")
    assert shown[place + 1].strip() == "sleep 100"
    assert len(shown[place + 1]) - len(shown[place + 1].lstrip()) > len(shown[place]) - len(shown[place].lstrip())
    assert "wherry-zygote" in [line.strip() for line in shown]
    assert os.getsid(one.shim.shim_pid) == one.shim.shim_pid


def test_the_interpreter_cannot_be_written_through_any_process(box: Box) -> None:
    one = box.launch(["sleep", "100"])
    for pid in (box.zygote.pid, one.shim.shim_pid, one.shim.pid):  # the last one is about to be the container's
        with pytest.raises(OSError, match=r"Read-only|busy|assign") as refused:
            os.open(f"/proc/{pid}/exe", os.O_WRONLY)
        assert refused.value.errno in (errno.EROFS, errno.ETXTBSY)
        with pytest.raises(OSError, match=r"Read-only|busy|assign") as refused:
            os.open(f"/proc/{pid}/exe", os.O_RDWR)
        assert refused.value.errno in (errno.EROFS, errno.ETXTBSY)
    exe = os.open(f"/proc/{box.zygote.pid}/exe", os.O_PATH)
    try:
        assert os.fstatvfs(exe).f_flag & os.ST_RDONLY
    finally:
        os.close(exe)


def test_a_shim_has_little_memory_of_its_own(box: Box) -> None:
    others = [box.start(["sleep", "100"]) for _ in range(2)]
    one = box.start("seq 100000; sleep 100")
    wait_for(lambda: (one.folder / "log").read_bytes().endswith(b"Z\"}\n") and b'"100000\\n"' in (one.folder / "log").read_bytes()[-200:], lambda: "the log")
    assert private_kib(others[0].shim.shim_pid) < 3072
    assert private_kib(one.shim.shim_pid) < private_kib(others[0].shim.shim_pid) + 768


# Streams


def test_a_hundred_megabytes_arrive_whole_and_the_shim_does_not_grow(box: Box) -> None:
    size = 100 * MEGABYTE
    one = box.launch("read go; head -c 104857600 /dev/zero | tr '\\0' 'x'", open_stdin=True, log=LogOptions(driver="none"))
    client = Client()
    box.run(one.shim.attach(OUTPUT.replace(stdin=True, multiplex=True), client.theirs))
    one.start()
    before = private_kib(one.shim.shim_pid)
    client.send(b"go\n")
    taken, most, hashed = 0, 0, hashlib.sha256()
    from wherry.shim.stdcopy import Demultiplexer

    demultiplexer = Demultiplexer()
    while data := client.ours.recv(1 << 18):
        for _, piece in demultiplexer.feed(data):
            hashed.update(piece)
            taken += len(piece)
        if taken % 64 == 0:
            most = max(most, private_kib(one.shim.shim_pid))
    client.ours.close()
    assert taken == size
    assert hashed.digest() == hashlib.sha256(b"x" * size).digest()
    assert most - before < 1024
    assert one.exited().code == 0


def test_a_slow_client_loses_nothing_and_holds_the_process_up(box: Box) -> None:
    slow, quick = Client(), Client()
    one = box.launch("head -c 8000000 /dev/zero | tr '\\0' 'y'; echo done >&2", log=LogOptions(driver="none"))
    box.run(one.shim.attach(OUTPUT, slow.theirs))
    box.run(one.shim.attach(OUTPUT, quick.theirs))
    one.start()
    before = private_kib(one.shim.shim_pid)
    quick.read()
    wait_for(lambda: len(quick.raw) > 0, lambda: "the first bytes")
    time.sleep(0.2)
    assert not quick.ended
    assert private_kib(one.shim.shim_pid) < before + 512
    slow.read()
    for client in (slow, quick):
        assert client.streams() == (b"y" * 8_000_000, b"done\n")


def test_a_client_that_does_not_read_does_not_keep_the_exit_back(box: Box) -> None:
    client = Client()
    client.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one = box.launch("head -c 60000 /dev/zero | tr '\\0' 'z'", log=LogOptions(driver="none"))
    box.run(one.shim.attach(OUTPUT, client.theirs))
    one.start()
    assert one.exited().code == 0
    box.run(one.shim.release())
    assert client.streams() == (b"z" * 60000, b"")


def test_a_client_that_goes_away_disturbs_nobody(box: Box) -> None:
    gone, stays = Client(), Client()
    one = box.launch("seq 200000", log=LogOptions(driver="none"))
    box.run(one.shim.attach(OUTPUT.replace(attach_id="gone"), gone.theirs))
    box.run(one.shim.attach(OUTPUT.replace(attach_id="stays"), stays.theirs))
    gone.ours.close()
    one.start()
    stays.read()
    assert stays.streams()[0] == b"".join(b"%d\n" % number for number in range(1, 200001))
    one.event(AttachEnded, attach_id="gone")
    assert one.exited().code == 0


def test_a_tcp_client_gets_the_last_byte_though_its_input_was_not_read(box: Box) -> None:
    client = Client(tcp=True)
    one = box.launch("seq 50000")
    box.run(one.shim.attach(OUTPUT, client.theirs))
    client.send(b"nobody reads this" * 100)
    one.start()
    client.read()
    assert client.streams()[0].endswith(b"\n50000\n")
    assert one.exited().code == 0


def test_detach_keys_leave_the_process_alone(box: Box) -> None:
    client = Client()
    one = box.start("while read line; do echo \"got $line\"; done; echo end", terminal=True, open_stdin=True,
                    clients=((OUTPUT.replace(stdin=True, detach_keys=b"ab\x11"), client),))
    client.send(b"abc\r")
    client.until(b"got abc")
    client.send(b"xa")
    client.send(b"b\x11ignored")
    client.all()
    ended = one.event(AttachEnded, attach_id="run")
    assert ended.detached
    again = one.attach(attach_id="again", stdin=True, logs=True)
    again.until(b"got abc")
    again.send(b"\r")
    again.until(b"got x")
    again.send(b"\x04")
    assert again.all().endswith(b"end\r\n")


def test_stdin_of_the_container_stays_open_for_the_next_client(box: Box) -> None:
    one = box.start("while read line; do echo \"got $line\"; done; echo end", open_stdin=True)
    for word in (b"one", b"two"):
        client = one.attach(stdin=True, multiplex=False)
        client.send(word + b"\n")
        client.until(b"got " + word)
        client.half_close()
        client.all()
    last = one.attach(multiplex=False)
    box.run(one.shim.close_stdin())
    assert last.all() == b"end\n"


def test_much_input_waits_for_a_process_that_reads_late(box: Box) -> None:
    client = Client()
    one = box.launch("sleep 0.3; sha256sum; sleep 0.3", open_stdin=True, stdin_once=True)
    box.run(one.shim.attach(OUTPUT.replace(stdin=True), client.theirs))
    one.start()
    client.read()
    before = private_kib(one.shim.shim_pid)
    data = os.urandom(3_000_000)
    sender = threading.Thread(target=lambda: (client.send(data), client.half_close()))
    sender.start()
    sender.join()
    assert private_kib(one.shim.shim_pid) < before + 768
    assert client.streams()[0].split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_an_attach_with_the_log_begins_there_and_goes_on_without_a_gap(box: Box) -> None:
    one = box.start("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; printf half; read x; echo -end", open_stdin=True)
    first = one.attach(logs=True)
    second = one.attach(logs=True, stdin=True)
    only = one.attach(logs=True, stream=False)
    expected = b"".join(b"line %d\n" % number for number in range(3000))
    second.until(b"half")
    second.send(b"\n")
    box.run(one.shim.close_stdin())
    assert first.streams()[0] == expected + b"half-end\n"
    assert second.streams()[0] == expected + b"half-end\n"
    assert (expected + b"half").startswith(only.streams()[0])


# Ends


def test_a_background_child_does_not_keep_an_execs_end_back(box: Box) -> None:
    one = box.start(["sleep", "100"])
    client = Client()
    one.exec("e", "sleep 90 & echo hi; exit 2", client)
    assert client.streams() == (b"hi\n", b"")
    assert one.exited("e").code == 2


def test_in_a_shared_pid_namespace_the_others_end_with_the_init(box: Box) -> None:
    def shared(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [space for space in config["linux"]["namespaces"] if space["type"] != "pid"]

    client = Client()
    one = box.start("sleep 987 & echo started; exit 1", change=shared, clients=((OUTPUT, client),))
    assert client.streams() == (b"started\n", b"")
    assert one.exited().code == 1
    assert subprocess.run(["pgrep", "-f", "^sleep 987"], capture_output=True, check=False).stdout == b""


def test_running_out_of_memory_is_reported(box: Box) -> None:
    def small(config: dict[str, Any]) -> None:
        config["linux"].setdefault("resources", {})["memory"] = {"limit": 16 * MEGABYTE, "swap": 16 * MEGABYTE}

    one = box.start("dd if=/dev/zero of=/dev/shm/x bs=1M count=60; echo survived; sleep 100", change=small)
    one.event(OutOfMemory)
    box.run(one.shim.signal(15))
    box.run(one.shim.signal(9))
    exited = one.exited()
    assert exited.oom
    assert exited.code == 137


def test_a_full_disk_is_reported_and_stops_nobody(box: Box) -> None:
    one_request = box.request("seq 50000; exit 6")
    folder = Path(one_request.run_folder) / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        shim = box.run(box.zygote.launch(one_request.replace(log=LogOptions(path=str(folder / "log")))))
        events: list[Any] = []
        shim.on_event = events.append
        box.run(shim.start())
        box.wait_for(lambda: any(isinstance(one, Exited) for one in events), lambda: "the exit")
        assert [type(one) for one in events] == [LogFailed, Exited]
        assert events[1].code == 6
        box.run(shim.release())
        kept = b"".join(LogFile(str(folder / "log")).read(ReadOptions(multiplex=False)))
        assert kept.startswith(b"1\n2\n3\n")
        assert kept.endswith(b"\n")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_million_lines_are_all_logged_and_rotated_on_the_way(box: Box) -> None:
    one = box.start("seq 1000000", log=LogOptions(max_size_bytes=20 * MEGABYTE, max_file=10))
    assert one.exited().code == 0
    assert b"".join(LogFile(str(one.folder / "log")).read(ReadOptions(multiplex=False))) == b"".join(b"%d\n" % number for number in range(1, 1_000_001))
    assert (one.folder / "log.3").stat().st_size >= 20 * MEGABYTE


# The daemon and the zygote


def test_a_shim_does_not_end_by_what_ends_daemons(box: Box) -> None:
    one = box.start("trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    one.attach(logs=True).until(b"ready")
    for number in (1, 2, 15):
        os.kill(one.shim.shim_pid, number)
    box.run(one.shim.signal(15))  # the container's process has its own way with signals
    assert one.exited().code == 5


def test_a_forgotten_exec_is_forgotten_when_its_clients_are_gone(box: Box) -> None:
    one = box.start(["sleep", "100"])
    client = Client()
    one.exec("e", "head -c 3000000 /dev/zero", client)
    one.exec("f", "true")
    for exec_id in "ef":
        one.exited(exec_id)
        box.run(one.shim.forget(exec_id))
    client.all()
    one.exec("g", "true")
    one.exited("g")

    def known() -> set[str]:
        box.run(one.shim.forget("nosuch"))  # any such order makes it look
        again = box.run(Shim.connect(str(one.folder)))
        again.close()
        return {state.exec_id for state in again.execs}

    box.wait_for(lambda: known() == {"g"}, lambda: f"only g in {known()}")


def test_orders_that_make_no_sense_are_refused(box: Box) -> None:
    one = box.start(["sleep", "100"])
    for work, error in ((one.shim.start(), Conflict), (one.shim.release(), Conflict), (one.shim.signal(9, "nosuch"), NotFound),
                        (one.shim.resize(1, 1), Conflict), (one.shim.close_stdin("nosuch"), NotFound)):
        with pytest.raises(error):
            box.run(work)
    one.exec("e", "true")
    one.exited("e")
    with pytest.raises(NotFound):
        box.run(one.shim.signal(9, "e"))
    box.run(one.shim.signal(9))
    one.exited()
    client = Client()
    with pytest.raises(Conflict):
        box.run(one.shim.attach(OUTPUT, client.theirs))
    os.close(client.theirs)
    client.all()


def test_a_dead_zygote_is_started_again_and_shims_do_not_notice(box: Box) -> None:
    one = box.start("read x; echo $x", open_stdin=True)
    dead = box.zygote.pid
    os.kill(dead, 9)
    other = box.start(["true"])
    assert other.exited().code == 0
    assert box.zygote.pid != dead
    client = one.attach(stdin=True, multiplex=False)
    client.send(b"still here\n")
    assert client.all() == b"still here\n"


def test_a_launch_that_is_given_up_leaves_nothing(box: Box) -> None:
    async def given_up() -> None:
        request = box.request(["sleep", "100"])
        task = asyncio.ensure_future(box.zygote.launch(request))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return request

    request: Any = box.run(given_up())
    time.sleep(0.05)
    wait_for(lambda: f"wherry-shim {request.id}" not in subprocess.run(["ps", "ww", "-eo", "cmd"], capture_output=True, text=True, check=True).stdout,
             lambda: "the shim ends")
    assert not (Path(request.run_folder) / "shim.sock").exists()


def test_another_daemon_takes_over(box: Box) -> None:
    one = box.start("echo first; read x; echo second; exit 9", open_stdin=True)
    pid = one.exec("e", "sleep 100")
    one.exec("ended", "exit 3")
    one.exited("ended")
    one.shim.close()
    taken = box.run(Shim.connect(str(one.folder)))
    events: list[Any] = []
    taken.on_event = events.append
    assert (taken.id, taken.pid, taken.shim_pid, taken.start_time, taken.started) == (
        one.shim.id, one.shim.pid, one.shim.shim_pid, one.shim.start_time, True)
    assert {state.exec_id: (state.pid, state.exited and state.exited.code) for state in taken.execs} == {"e": (pid, None), "ended": (0, 3)}
    assert taken.rtnetlink_fd is not None
    box.run(taken.forget("ended"))
    box.run(taken.close_stdin())
    box.wait_for(lambda: taken.exited is not None, lambda: "the exit")
    box.run(taken.release())
    assert not any(isinstance(event, Lost) for event in events)
    assert [record["log"] for record in one.log()] == ["first\n", "second\n"]
    with pytest.raises(NotFound):
        box.run(Shim.connect(str(one.folder)))


def test_a_container_that_ends_without_a_daemon_leaves_its_exit(box: Box) -> None:
    one = box.start("sleep 0.2; exit 11")
    one.shim.close()
    wait_for(lambda: not alive(one.shim.shim_pid), lambda: "the shim ends by itself")
    exited = read_exit(str(one.folder))
    assert exited is not None
    assert exited.code == 11
    assert not (one.folder / "shim.sock").exists()


def test_a_killed_shim_is_lost(box: Box) -> None:
    one = box.start(["sleep", "100"])
    os.kill(one.shim.shim_pid, 9)
    one.event(Lost)
    os.kill(one.shim.pid, 9)
    wait_for(lambda: not alive(one.shim.pid), lambda: "the init ends")
    assert read_exit(str(one.folder)) is None
    from wherry.runtime import container

    container.delete(container.load(f"{one.folder}/runtime", one.shim.id), force=True)


# Namespaces


def test_sockets_and_rules_are_made_inside_a_network_namespace(box: Box) -> None:
    one = box.start(["sleep", "100"])
    netns = os.open(f"/proc/{one.shim.pid}/ns/net", os.O_RDONLY)
    subprocess.run(["nsenter", f"-n/proc/{one.shim.pid}/ns/net", "ip", "link", "set", "lo", "up"], check=True)
    sockets = (SocketRequest(family=socket.AF_INET, kind=socket.SOCK_DGRAM, address=("127.0.0.11", 0)),
               SocketRequest(family=socket.AF_INET, kind=socket.SOCK_STREAM, address=("127.0.0.11", 0), backlog=5))
    rules = "table ip dns { chain out { type nat hook output priority -100; ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:$port0; }; }"
    try:
        made = box.run(box.zygote.in_network_namespace(NetnsRequest(nft=rules, sockets=sockets), netns))
        ports = []
        for fd in made:
            with socket.socket(fileno=fd) as one_socket:
                assert one_socket.getsockname()[0] == "127.0.0.11"
                ports.append(one_socket.getsockname()[1])
        listed = subprocess.run(["nsenter", f"-n/proc/{one.shim.pid}/ns/net", "nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        assert f"dnat to 127.0.0.11:{ports[0]}" in listed
        with pytest.raises(OSError, match=r"Read-only|busy|assign") as refused:
            box.run(box.zygote.in_network_namespace(NetnsRequest(sockets=(sockets[0].replace(address=("10.9.8.7", 53)),)), netns))
        assert refused.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(OSError, match="syntax error"):
            box.run(box.zygote.in_network_namespace(NetnsRequest(nft="nonsense"), netns))
    finally:
        os.close(netns)


# Further processes


def test_later_execs_have_the_processors_of_their_container(box: Box) -> None:
    last = str(max(os.sched_getaffinity(0)))
    for name, affinity in (("both", {"initial": "0", "final": last}), ("initial", {"initial": last}), ("final", {"final": last})):
        one = box.start(["sleep", "100"], change=lambda config, given=affinity: config["process"].update(execCPUAffinity=given))
        for number in range(3):
            client = Client()
            one.exec(f"{name}{number}", "grep Cpus_allowed_list /proc/self/status", client)
            assert client.streams()[0].split()[-1:] == [last.encode()]
            assert one.exited(f"{name}{number}").code == 0
            if not number and cgroup.detect() != "v2":
                box.wait_for(lambda one=one: one.shim.parked_pid > 0, lambda: "the parked child")
        box.run(one.shim.signal(9))
        one.exited()
        one.release()


def test_later_execs_come_from_a_child_parked_in_the_cgroups(box: Box) -> None:
    one = box.start(["sleep", "100"])
    one.exec("first", "exit 1")
    assert one.exited("first").code == 1
    if cgroup.detect() == "v2":
        pytest.skip("cgroup v2 clones processes into their cgroup: nobody is parked")
    box.wait_for(lambda: one.shim.parked_pid > 0, lambda: "the parked child")
    parked = one.shim.parked_pid
    client, terminal = Client(), Client()
    one.exec("second", "cat /proc/self/cgroup; cat; echo err >&2; exit 2", client, open_stdin=True)
    client.send(b"typed\n")
    client.half_close()
    out, err = client.streams()
    assert out.endswith(b"typed\n")
    assert err == b"err\n"
    assert one.exited("second").code == 2
    assert Path(f"/proc/{parked}/cgroup").read_text() == Path(f"/proc/{one.shim.pid}/cgroup").read_text()
    one.exec("third", "tty; id -u; exit 3", terminal, terminal=True)
    assert terminal.all().startswith(b"/dev/")
    assert one.exited("third").code == 3
    with pytest.raises(StartFailed) as failed:
        box.run(one.shim.exec(ExecRequest(exec_id="bad", process={"args": ["nosuch"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}})))
    assert failed.value.exit_code == 127
    assert one.shim.parked_pid == parked
    os.kill(parked, 9)
    wait_for(lambda: not alive(parked), lambda: "its end")
    one.exec("fourth", "exit 4")
    assert one.exited("fourth").code == 4
    box.wait_for(lambda: one.shim.parked_pid not in (0, parked), lambda: "another parked child")
    again = one.shim.parked_pid
    box.run(one.shim.signal(9))
    one.exited()
    one.release()
    assert not alive(again)
