"""Smaller pure parts: names, filters, events, detach keys, merging with an image, log options, health, ports, signals."""

from __future__ import annotations

import asyncio
import json

import pytest

from wherry.engine import connections, detachkeys, health, logconfig, merge, naming, stats, top
from wherry.engine.afterwards import Afterwards
from wherry.engine.changes import apply_changes
from wherry.engine.container import Container, Ended
from wherry.engine.ending import ended_record
from wherry.engine.events import Events, matches
from wherry.engine.filters import Filters
from wherry.engine.lifecycle import signal_number, updated
from wherry.engine.model import (
    ContainerConfig,
    Empty,
    EndpointSettings,
    HealthcheckResult,
    HealthConfig,
    HostConfig,
    LogConfig,
    NetworkingConfig,
    PortBinding,
    RestartPolicy,
    UpdateRequest,
)
from wherry.engine.model import Health as HealthState
from wherry.engine.options import EngineOptions
from wherry.engine.records import EndpointRecord, NetworkRecord, Record, State
from wherry.engine.restart import Backoff
from wherry.engine.streams import from_thread
from wherry.engine.waits import begin
from wherry.errors import Conflict, InvalidArgument, Unsupported
from wherry.network.model import Endpoint, PublishedPort
from wherry.shim.protocol import Exited


def test_names() -> None:
    assert naming.check_name("a-b_c.1") == "/a-b_c.1"
    assert naming.check_name("/ab") == "/ab"
    for wrong in ("!!", "a", "-ab", "a b", "ab\n", ""):
        with pytest.raises(InvalidArgument, match="only \\[a-zA-Z0-9\\]"):
            naming.check_name(wrong)
    first = naming.random_name(lambda _: False, "id")
    naming.check_name(first)
    assert naming.random_name(lambda name: name[-1] not in "12345", "id")[-1] in "12345"
    assert naming.random_name(lambda _: True, "0123456789abcdef") == "/0123456789ab"
    assert len(naming.new_id()) == 64


def test_filters_in_both_forms() -> None:
    assert Filters.parse('{"label": ["a", "b"]}').values("label") == ("a", "b")
    assert Filters.parse('{"label": {"a": true, "b": false}}').values("label") == ("a",)
    assert not Filters.parse("")
    for wrong in ("{", "[]", '{"a": 1}'):
        with pytest.raises(InvalidArgument):
            Filters.parse(wrong)
    with pytest.raises(InvalidArgument, match="invalid filter 'x'"):
        Filters({"x": ["1"]}).check(("y",))


def test_events_are_kept_filtered_and_followed() -> None:
    async def run() -> None:
        clock = iter(range(10**9, 10**12, 10**9))
        events = Events(lambda: next(clock))
        for number in range(300):
            events.publish("container", "start", f"c{number}", {"name": f"n{number}", "image": "img:1"})
        assert [one.actor.id for one in events.past()][::255] == ["c44", "c299"]
        followed = events.stream(Filters({"container": ["n299", "later"]}), since_ns=0)
        assert (await anext(followed)).actor.id == "c299"
        events.publish("network", "connect", "n", {"name": "bridge", "container": "c1"})
        events.publish("container", "health_status: healthy", "later", {})
        assert (await anext(followed)).action == "health_status: healthy"
        await followed.aclose()
        assert events.listeners() == 0

    asyncio.run(run())


def test_which_events_pass_which_filters() -> None:
    event = Events(lambda: 5).publish("container", "exec_start: sh -c x", "cid", {"name": "web", "image": "busybox:1", "a": "b"})
    for filters, expected in (
        ({"event": ["exec_start"]}, True), ({"event": ["die"]}, False), ({"container": ["ci"]}, True), ({"container": ["web"]}, True),
        ({"image": ["busybox"]}, True), ({"image": ["alpine"]}, False), ({"label": ["a=b"]}, True), ({"label": ["a=c"]}, False),
        ({"type": ["image"]}, False), ({"type": ["image", "container"]}, True), ({"network": ["x"]}, False), ({"scope": ["swarm"]}, False),
    ):
        assert matches(event, Filters(filters)) is expected, filters


def test_a_reader_of_events_who_does_not_read_is_dropped() -> None:
    async def run() -> None:
        events = Events()
        followed = events.stream(Filters(), since_ns=0)
        events.publish("container", "start", "x")
        await anext(followed)
        for _ in range(5000):
            events.publish("container", "start", "x")
        assert events.listeners() == 0
        with pytest.raises(StopAsyncIteration):
            await anext(followed)

    asyncio.run(run())


def test_detach_keys() -> None:
    assert detachkeys.parse("") == b"\x10\x11"
    assert detachkeys.parse("ctrl-a,x,ctrl-[") == b"\x01x\x1b"
    for wrong in ("foo", "ctrl-", "ctrl-p,,", "ctrl-1"):
        with pytest.raises(InvalidArgument, match="Invalid detach keys"):
            detachkeys.parse(wrong)


@pytest.mark.parametrize(("asked", "image", "expected"), [
    ((None, None), (("ep",), ("cmd",)), (("ep",), ("cmd",))),
    ((None, ("x",)), (("ep",), ("cmd",)), (("ep",), ("x",))),
    ((("e",), None), (("ep",), ("cmd",)), (("e",), None)),
    (((), ("x",)), (("ep",), ("cmd",)), ((), ("x",))),
    ((("",), ("x",)), (("ep",), ("cmd",)), (None, ("x",))),
])
def test_entrypoint_and_command_under_an_image(asked, image, expected) -> None:
    found = merge.merged(ContainerConfig(entrypoint=asked[0], cmd=asked[1]), ContainerConfig(entrypoint=image[0], cmd=image[1]))
    assert (found.entrypoint, found.cmd) == expected


def test_the_rest_of_the_merge() -> None:
    image = ContainerConfig(env=("A=1", "B=2"), labels={"x": "i", "y": "i"}, exposed_ports={"1/tcp": Empty()}, user="u", cmd=("c",),
                            volumes={"/v": Empty()}, working_dir="/w", stop_signal="SIGINT",
                            healthcheck=HealthConfig(test=("CMD", "t"), retries=7))
    asked = ContainerConfig(env=("B=3", "C"), labels={"x": "a"}, exposed_ports={"2/tcp": Empty()},
                            healthcheck=HealthConfig(interval=5))
    found = merge.merged(asked, image)
    assert found.env == ("B=3", "C", "A=1")
    assert found.labels == {"x": "a", "y": "i"}
    assert set(found.exposed_ports or ()) == {"1/tcp", "2/tcp"}
    assert (found.user, found.working_dir, found.stop_signal) == ("u", "/w", "SIGINT")
    assert found.healthcheck == HealthConfig(test=("CMD", "t"), retries=7, interval=5)
    with pytest.raises(InvalidArgument, match="No command specified"):
        merge.merged(ContainerConfig(), ContainerConfig())


def test_log_options() -> None:
    host = HostConfig(log_config=LogConfig(config={"max-size": "10m", "max-file": "3", "labels": "a", "env-regex": "^V"}))
    found = logconfig.resolve(host, EngineOptions())
    assert found.type == "json-file"
    record = Record(id="1" * 64, config=ContainerConfig(labels={"a": "1", "b": "2"}, env=("VX=3", "W=4")))
    options = logconfig.log_options(record, HostConfig(log_config=found), "/p")
    assert (options.max_size_bytes, options.max_file, dict(options.attributes)) == (10_000_000, 3, {"a": "1", "VX": "3"})
    assert logconfig.log_options(record, HostConfig(log_config=LogConfig(type="none")), "").driver == "none"
    assert logconfig.attributes(record, {"tag": "{{.ID}}/x"}) == {"tag": "111111111111/x"}
    for driver, config, kind, words in (
        ("what", {}, InvalidArgument, "plugin \"what\" not found"),
        ("syslog", {}, Unsupported, "'syslog'"),
        ("json-file", {"foo": "1"}, InvalidArgument, "unknown log opt 'foo' for json-file log driver"),
        ("json-file", {"max-file": "0"}, InvalidArgument, "max-file cannot be less than 1"),
        ("json-file", {"max-size": "lots"}, InvalidArgument, "invalid size: 'lots'"),
        ("json-file", {"compress": "true"}, InvalidArgument, "compress cannot be true"),
        ("json-file", {"mode": "non-blocking"}, Unsupported, "mode=non-blocking"),
    ):
        with pytest.raises(kind, match=words):
            logconfig.check(driver, config)


def result(code: int) -> HealthcheckResult:
    return HealthcheckResult(exit_code=code)


def test_what_probes_make_of_health() -> None:
    state = HealthState(status="starting")
    state = health.judged(state, result(1), 2, in_start_period=True)
    assert (state.status, state.failing_streak) == ("starting", 0)
    state = health.judged(state, result(1), 2, in_start_period=False)
    assert (state.status, state.failing_streak) == ("starting", 1)
    state = health.judged(state, result(-1), 2, in_start_period=False)
    assert (state.status, state.failing_streak) == ("unhealthy", 2)
    state = health.judged(state, result(0), 2, in_start_period=False)
    assert (state.status, state.failing_streak) == ("healthy", 0)
    state = health.judged(state, result(1), 2, in_start_period=True)
    assert (state.status, state.failing_streak) == ("healthy", 1)
    for _ in range(9):
        state = health.judged(state, result(0), 2, in_start_period=False)
    assert len(state.log or ()) == 5


def test_probes_as_execs() -> None:
    container = Container(Record(config=ContainerConfig(user="u", shell=("/bin/bash", "-lc"))), HostConfig(), "")
    assert health.probe_request(container, HealthConfig(test=("CMD", "a", "b"))).cmd == ("a", "b")
    shell = health.probe_request(container, HealthConfig(test=("CMD-SHELL", "a b")))
    assert (shell.cmd, shell.user) == (("/bin/bash", "-lc", "a b"), "u")


def test_ports_that_are_asked_for() -> None:
    record = Record(config=ContainerConfig(exposed_ports={"80/tcp": Empty(), "53/udp": Empty()}))
    host = HostConfig(port_bindings={"80/tcp": (PortBinding(host_ip="127.0.0.1", host_port="8080-8090"), PortBinding())},
                      publish_all_ports=True)
    found = connections.port_requests(record, host)
    assert [(one.container_port, one.protocol, one.host_ip, one.host_port, one.host_port_end) for one in found] == [
        (80, "tcp", "127.0.0.1", 8080, 8090), (80, "tcp", "", 0, 0), (53, "udp", "", 0, 0)]
    for wrong in ("0/tcp", "65536", "x/tcp"):
        with pytest.raises(InvalidArgument):
            connections.port_requests(record, HostConfig(port_bindings={wrong: None}))


def test_networks_of_a_new_container() -> None:
    def names(mode: str, asked: dict[str, EndpointSettings] | None = None, version: tuple[int, int] = (1, 50), **host: object):
        networking = NetworkingConfig(endpoints_config=asked)
        return list(connections.planned(Record(), HostConfig(network_mode=mode, **host), networking, version).networks or {})

    assert names("default") == ["bridge"]
    assert names("none") == ["none"]
    assert names("container:x") == []
    assert names("mine", {"mine": EndpointSettings(aliases=("a",)), "other": EndpointSettings()}) == ["mine", "other"]
    for call in (lambda: names("mine", {"a": EndpointSettings(), "b": EndpointSettings()}, (1, 43)),
                 lambda: names("host", {"a": EndpointSettings()}), lambda: names("container:x", dns=("1.1.1.1",)),
                 lambda: names("container:x", port_bindings={"80/tcp": None})):
        with pytest.raises(InvalidArgument):
            call()
    host = HostConfig(network_mode="mine", links=("a:b", "c"))
    networking = NetworkingConfig(endpoints_config={"mine": EndpointSettings(links=("c", "d"))})
    assert (connections.planned(Record(), host, networking, (1, 50)).networks or {})["mine"].links == ("c", "d", "a:b")


def test_what_a_record_says_of_networks_while_it_runs_and_after(tmp_path) -> None:
    record = Record(id="c" * 64, network_settings=NetworkRecord(networks={"bridge": EndpointRecord(aliases=("a",))}),
                    config=ContainerConfig(exposed_ports={"80/tcp": Empty(), "90/tcp": Empty()}))
    endpoint = Endpoint(id="e1", network_id="n1", network_name="bridge", container_id=record.id, container_name="x",
                        ipv4_address="172.17.0.2", ipv4_prefix_length=16, ipv4_gateway="172.17.0.1", mac_address="02:42:ac:11:00:02")
    port = PublishedPort(container_port=80, protocol="tcp", host_ip="0.0.0.0", host_port=8080)
    held = connections.Connected({"n1": endpoint}, {"n1": (port,)})
    up = connections.connected_record(record, held, "/run/x")
    place = (up.networks or {})["bridge"]
    assert (place.ip_address, place.gateway, place.aliases) == ("172.17.0.2", "172.17.0.1", ("a",))
    assert up.ports == {"80/tcp": (PortBinding(host_ip="0.0.0.0", host_port="8080"),), "90/tcp": None}
    down = connections.disconnected_record(up)
    assert (down.networks or {})["bridge"].ip_address == ""
    assert down.ports == {}
    connections.write_state(str(tmp_path), held)
    assert connections.read_state(str(tmp_path)) == held
    assert connections.read_state(str(tmp_path / "no")) == connections.Connected()


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("sigkill", 9), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)])
def test_signals(text, number) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["FOO", "0", "99", "SIGRTMIN+99", "-1"])
def test_signals_that_are_none(text) -> None:
    with pytest.raises(InvalidArgument):
        signal_number(text)


def test_updates_keep_what_they_do_not_name() -> None:
    before = HostConfig(memory=100 << 20, cpu_shares=5, auto_remove=True)
    after = updated(before, UpdateRequest(memory=200 << 20, memory_swap=-1))
    assert (after.memory, after.cpu_shares, after.auto_remove) == (200 << 20, 5, True)
    with pytest.raises(Conflict, match="AutoRemove is enabled"):
        updated(before, UpdateRequest(restart_policy=RestartPolicy(name="always")))
    with pytest.raises(Conflict, match="Nano CPUs cannot be updated"):
        updated(HostConfig(cpu_quota=5), UpdateRequest(nano_cpus=1))
    with pytest.raises(Conflict, match="memoryswap"):
        updated(HostConfig(memory=1, memory_swap=100), UpdateRequest(memory=200))
    with pytest.raises(Conflict, match="memoryswap"):  # dockerd says this also where there was no limit
        updated(HostConfig(), UpdateRequest(memory=200))


def test_the_record_of_an_end() -> None:
    record = Record(state=State(running=True, pid=5, started_at="2026-01-01T00:00:00Z", health=HealthState(status="healthy")))
    exited = Exited(code=137, at_ns=10**18, signalled=True, oom=True)
    after = ended_record(record, exited, None).state
    assert (after.status, after.exit_code, after.oom_killed, after.pid) == ("exited", 137, True, 0)
    assert after.health is not None
    assert after.health.status == "unhealthy"
    assert ended_record(record, exited, Backoff(1, 0.1)).state.status == "restarting"


def test_conditions_of_waiting() -> None:
    async def run() -> None:
        container = Container(Record(state=State(started_at="2026-01-01T00:00:00Z", exit_code=4)), HostConfig(), "")
        assert begin(container, "not-running") == Ended(4)
        following, removed = begin(container, "next-exit"), begin(container, "removed")
        assert isinstance(following, asyncio.Future)
        assert isinstance(removed, asyncio.Future)
        container.tell_exited(Ended(1))
        assert await following == Ended(1)
        assert not removed.done()
        container.tell_removed(Ended(1))
        assert await removed == Ended(1)
        with pytest.raises(InvalidArgument, match="invalid condition"):
            begin(container, "soon")

    asyncio.run(run())


def test_streams_from_threads_hand_on_errors_and_end_early() -> None:
    async def run() -> None:
        def broken():
            yield b"a"
            raise OSError("disk")

        stream = from_thread(broken)
        assert await anext(stream) == b"a"
        with pytest.raises(OSError, match="disk"):
            await anext(stream)
        closed = []

        def endless():
            try:
                while True:
                    yield b"x"
            finally:
                closed.append(True)

        stream = from_thread(endless)
        assert await anext(stream) == b"x"
        await stream.aclose()
        assert closed == [True]

    asyncio.run(run())


def test_tables_of_processes() -> None:
    output = "UID   PID CMD\nroot    1 init a b\nroot   22 sh -c x\n"
    assert top.parse(output, frozenset({22})) == {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "22", "sh -c x"]]}
    with pytest.raises(InvalidArgument, match="Couldn't find PID field"):
        top.parse("CMD\nx\n", frozenset())


def test_interfaces_counters(tmp_path) -> None:
    table = tmp_path / "dev"
    table.write_text("Inter-|\n face |\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n")
    container = Container(Record(), HostConfig(network_mode="default"), "")
    assert stats.networks(str(table), container)["networks"] == {"eth0": {
        "rx_bytes": 10, "rx_packets": 2, "rx_errors": 3, "rx_dropped": 4, "tx_bytes": 50, "tx_packets": 6, "tx_errors": 7,
        "tx_dropped": 8}}
    assert stats.networks(str(table), Container(Record(), HostConfig(network_mode="host"), "")) == {}


def test_changes_of_a_commit() -> None:
    found = apply_changes({"Env": ["A=1"], "Labels": None}, ('CMD ["x", "y"]', "ENV B=2\nEXPOSE 80", "USER me", "", "LABEL k=v"))
    assert found["Cmd"] == ["x", "y"]
    assert sorted(found["Env"]) == ["A=1", "B=2"]
    assert json.dumps(found["ExposedPorts"]) == '{"80/tcp": {}}'
    assert (found["User"], found["Labels"]) == ("me", {"k": "v"})
    with pytest.raises(InvalidArgument, match="run is not a valid change command"):
        apply_changes({}, ("RUN x",))


def test_work_after_an_answer_waits_for_quiet_and_is_done_once() -> None:
    async def run() -> None:
        queue, done = Afterwards(), []

        async def work(name: str) -> None:
            done.append(name)

        async def broken() -> None:
            raise OSError("disk")

        first = queue.later(lambda: work("first"))
        queue.later(lambda: work("second"))
        assert done == []
        await first.now()
        await first.now()
        assert done == ["first"]
        queue.later(broken)
        await queue.close()
        assert done == ["first", "second"]
        queue.later(lambda: work("third"))
        async with asyncio.timeout(5):
            while done[-1] != "third":
                queue.busy()  # also while it is never quiet
                await asyncio.sleep(0.01)

    asyncio.run(run())
