"""The end of a container with fakes around it: the order of what happens, and what cannot stop it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wherry.engine import ending
from wherry.engine.afterwards import Afterwards
from wherry.engine.container import Container, Ended
from wherry.engine.ending import Ender
from wherry.engine.events import Events
from wherry.engine.model import HostConfig, RestartPolicy
from wherry.engine.pool import Pool
from wherry.engine.records import EndpointRecord, MountRecord, NetworkRecord, Record, State
from wherry.errors import Unavailable
from wherry.network.model import Endpoint
from wherry.shim.protocol import Exited

ENDPOINT = Endpoint(id="e", network_id="n", network_name="bridge", container_id="c", container_name="x", ipv4_address="172.17.0.2")


class Fakes:
    """Whatever an end touches, noting what it was asked for."""

    def __init__(self, *, disk: BaseException | None = None, network: BaseException | None = None) -> None:
        self.told: list[str] = []
        self.disk, self.network = disk, network
        self.pool, self.events, self.afterwards = Pool(2, 1), Events(), Afterwards()
        self.ender = Ender(pool=self.pool, records=self, premises=self, connections=self, events=self.events,  # type: ignore[arg-type]
                           afterwards=self.afterwards, start=self.start, remove=self.remove, forget=lambda _: self.told.append("forget"),
                           spawn=asyncio.create_task)

    def write(self, record: Record) -> None:
        self.told.append(f"write {record.state.status}")
        if self.disk:
            raise self.disk

    def release(self, connected: Any) -> None:
        self.told.append(f"network {list(connected.endpoints)}")
        if self.network:
            raise self.network

    def driver_of(self, _network_id: str) -> str:
        return "bridge"

    def vacate(self, _container: Container) -> None:
        self.told.append("vacate")

    async def start(self, _container: Container) -> None:
        self.told.append("start")

    async def remove(self, _container: Container) -> None:
        self.told.append("remove")


class FakeShim:
    def __init__(self, fakes: Fakes) -> None:
        self.fakes = fakes

    async def release(self) -> None:
        self.fakes.told.append("shim")


def ended(fakes: Fakes, code: int = 3, **host: Any) -> Container:
    """A running container that has just ended; everything that follows is done."""
    async def run() -> Container:
        container = Container(
            Record(id="c", name="/x", state=State(running=True, pid=5, started_at="2026-01-01T00:00:00Z"),
                   network_settings=NetworkRecord(networks={"bridge": EndpointRecord(ip_address="172.17.0.2")}),
                   mount_points={"/v": MountRecord(type="volume", name="vol", driver="local")}), HostConfig(**host), "/run/c")
        container.shim = FakeShim(fakes)  # type: ignore[assignment]
        container.endpoints = {"n": ENDPOINT}
        waiter = container.exited()
        async with container.lock:
            await fakes.ender.ended(container, Exited(code=code, at_ns=10**18))
        assert await waiter == Ended(code)
        if container.next_start is not None:
            await container.next_start
        await fakes.afterwards.close()
        fakes.pool.close()
        return container

    return asyncio.run(run())


def test_an_end_is_written_then_told_and_the_rest_comes_after() -> None:
    fakes = Fakes()
    container = ended(fakes)
    assert fakes.told == ["forget", "network ['n']", "write exited", "shim", "vacate"]
    assert [(one.type, one.action) for one in fakes.events.past()] == [
        ("container", "die"), ("network", "disconnect"), ("volume", "unmount")]
    assert (container.state.status, container.state.exit_code, container.shim, container.endpoints) == ("exited", 3, None, {})
    assert (container.record.network_settings.networks or {})["bridge"].ip_address == ""


@pytest.mark.parametrize("trouble", [{"disk": OSError(28, "No space left on device")}, {"network": Unavailable("nft")}])
def test_trouble_does_not_keep_a_container_from_having_ended(trouble) -> None:
    fakes = Fakes(**trouble)
    assert ended(fakes).state.status == "exited"
    assert fakes.told[-2:] == ["shim", "vacate"]


def test_a_policy_starts_it_again_after_its_pause() -> None:
    fakes = Fakes()
    container = ended(fakes, restart_policy=RestartPolicy(name="always"))
    assert "write restarting" in fakes.told
    assert "start" in fakes.told
    assert (container.backoff.failures, container.record.restart_count) == (1, 1)


def test_auto_removal_and_a_daemon_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "REMOVAL_PAUSE_S", 0.0)
    fakes = Fakes()
    ended(fakes, auto_remove=True)
    assert "remove" in fakes.told
    fakes = Fakes()
    fakes.ender.restarting_allowed = False
    assert ended(fakes, restart_policy=RestartPolicy(name="always")).state.status == "exited"
