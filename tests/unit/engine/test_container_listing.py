"""Lists of containers: which are shown, in which order, and in which words."""

from __future__ import annotations

import json

import pytest

from wherry.engine.container import Container
from wherry.engine.containers import Containers
from wherry.engine.filters import Filters
from wherry.engine.listing import Listing, ListRequest
from wherry.engine.model import ContainerConfig, Empty, Health, HostConfig, PortBinding
from wherry.engine.records import EndpointRecord, MountRecord, NetworkRecord, Record, State, timestamp
from wherry.engine.status import describe, duration
from wherry.errors import Conflict, InvalidArgument, NotFound

NOW = 1_800_000_000 * 10**9
VERSION = (1, 50)


def made(name: str, age_s: int, **details: object) -> Container:
    record = Record(id=(name.encode().hex() * 64)[:64], name=f"/{name}", created=timestamp(NOW - age_s * 10**9),
                    image="sha256:1", **details)
    return Container(record, HostConfig(network_mode="default"), "/run/x")


UP = State(running=True, pid=1, started_at=timestamp(NOW - 300 * 10**9))


@pytest.fixture
def listing() -> Listing:
    containers = Containers()
    for one in (
        made("web", 30, state=UP, config=ContainerConfig(image="img", labels={"a": "b"}, exposed_ports={"80/tcp": Empty()}),
             path="sh", args=("-c", "sleep 1"),
             network_settings=NetworkRecord(networks={"bridge": EndpointRecord(network_id="n1")},
                                            ports={"80/tcp": (PortBinding(host_ip="0.0.0.0", host_port="8080"),), "81/tcp": None}),
             mount_points={"/data": MountRecord(type="volume", name="vol", destination="/data")}),
        made("old", 90, state=State(started_at=timestamp(NOW - 50 * 10**9), finished_at=timestamp(NOW - 3 * 10**9), exit_code=3)),
        made("new", 10, state=State()),
        made("sick", 20, state=State(running=True, started_at=timestamp(NOW), health=Health(status="unhealthy"))),
    ):
        containers.add(one)
    return Listing(containers, lambda name: frozenset({"sha256:1"} if name == "img" else ()))


def names(listing: Listing, **asked: object) -> list[str]:
    filters = Filters({key: [text] if isinstance(text, str) else text for key, text in asked.pop("filters", {}).items()})
    return [one.name for one in listing.select(ListRequest(filters=filters, **asked))]


@pytest.mark.parametrize(("asked", "expected"), [
    ({}, ["sick", "web"]),
    ({"all": True}, ["new", "sick", "web", "old"]),
    ({"limit": 2}, ["new", "sick"]),
    ({"filters": {"status": "exited"}}, ["old"]),
    ({"filters": {"status": ["created", "running"]}}, ["new", "sick", "web"]),
    ({"all": True, "filters": {"exited": "3"}}, ["old"]),
    ({"all": True, "filters": {"name": "^o"}}, ["old"]),
    ({"all": True, "filters": {"label": "a=b"}}, ["web"]),
    ({"all": True, "filters": {"label": "a=c"}}, []),
    ({"filters": {"health": "unhealthy"}}, ["sick"]),
    ({"filters": {"health": "none"}}, ["web"]),
    ({"all": True, "filters": {"before": "web"}}, ["old"]),
    ({"all": True, "filters": {"since": "web"}}, ["new", "sick"]),
    ({"filters": {"network": "bridge"}}, ["web"]),
    ({"filters": {"network": "n1"}}, ["web"]),
    ({"filters": {"volume": "vol"}}, ["web"]),
    ({"filters": {"volume": "/data"}}, ["web"]),
    ({"filters": {"publish": "8080"}}, ["web"]),
    ({"filters": {"publish": "8000-8079/tcp"}}, []),
    ({"filters": {"expose": "80/tcp"}}, ["web"]),
    ({"filters": {"ancestor": "img"}}, ["sick", "web"]),
    ({"filters": {"ancestor": "other"}}, []),
])
def test_what_a_list_shows(listing, asked, expected) -> None:
    assert names(listing, **asked) == expected


@pytest.mark.parametrize("filters", [{"what": "x"}, {"status": "up"}, {"health": "so-so"}, {"exited": "x"}, {"before": "nobody"},
                                     {"publish": "80-70"}])
def test_filters_that_make_no_sense(listing, filters) -> None:
    with pytest.raises(InvalidArgument):
        names(listing, filters=filters)


def test_an_entry(listing) -> None:
    chosen = [one for one in listing.select(ListRequest()) if one.name == "web"]
    (entry,) = json.loads(listing.encode(chosen, VERSION, NOW, {chosen[0].id: (5, 7)}))
    assert entry["Names"] == ["/web"]
    assert entry["Command"] == "sh -c 'sleep 1'"
    assert (entry["State"], entry["Status"], entry["SizeRw"], entry["SizeRootFs"]) == ("running", "Up 5 minutes", 5, 7)
    assert entry["Ports"] == [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                              {"PrivatePort": 81, "Type": "tcp"}]
    assert entry["NetworkSettings"]["Networks"]["bridge"]["NetworkID"] == "n1"
    assert json.loads(listing.encode([], VERSION, NOW)) == []


def test_what_is_kept_follows_the_record_and_the_version(listing) -> None:
    (one,) = [one for one in listing.select(ListRequest()) if one.name == "web"]
    assert "DNSNames" in json.loads(listing.encode([one], (1, 50), NOW))[0]["NetworkSettings"]["Networks"]["bridge"]
    assert "DNSNames" not in json.loads(listing.encode([one], (1, 43), NOW))[0]["NetworkSettings"]["Networks"]["bridge"]
    one.record = Record(id=one.id, name="/web2", created=one.record.created)
    assert json.loads(listing.encode([one], (1, 50), NOW))[0]["Names"] == ["/web2"]


@pytest.mark.parametrize(("seconds", "words"), [
    (0.9, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
    (120, "2 minutes"), (46 * 60, "46 minutes"), (3600, "About an hour"), (2 * 3600, "2 hours"), (47 * 3600, "47 hours"),
    (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"), (729 * 86400, "24 months"),
    (730 * 86400, "2 years"),
])
def test_spans_of_time_in_dockers_words(seconds, words) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("state", "words"), [
    (State(), "Created"), (State(dead=True), "Dead"), (State(removal_in_progress=True), "Removal In Progress"),
    (State(running=True, paused=True, started_at=timestamp(NOW - 5 * 10**9)), "Up 5 seconds (Paused)"),
    (State(running=True, restarting=True, exit_code=1, finished_at=timestamp(NOW - 10**9), started_at=timestamp(NOW)),
     "Restarting (1) 1 second ago"),
    (State(running=True, started_at=timestamp(NOW - 5 * 10**9), health=Health(status="starting")), "Up 5 seconds (health: starting)"),
    (State(running=True, started_at=timestamp(NOW - 5 * 10**9), health=Health(status="healthy")), "Up 5 seconds (healthy)"),
])
def test_statuses(state, words) -> None:
    assert describe(state, NOW) == words


def test_looking_up_by_id_name_and_unique_beginning(listing) -> None:
    containers = listing._containers
    web = containers.find("web")
    assert containers.find("/web") is web
    assert containers.find(web.id) is web
    assert containers.find(web.id[:7]) is web
    with pytest.raises(NotFound, match="No such container: nobody"):
        containers.find("nobody")
    twin = made("web", 1)
    twin.record = Record(id=web.id[:-1] + "0", name="/twin")
    containers.add(twin)
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix"):
        containers.find(web.id[:7])


def test_names_are_reserved_once(listing) -> None:
    containers = listing._containers
    with pytest.raises(Conflict, match='The container name "/web" is already in use by container'):
        containers.reserve("/web", "x")
    containers.reserve("/fresh", "x")
    with pytest.raises(Conflict):
        containers.reserve("/fresh", "y")
    containers.release("/fresh")
    containers.reserve("/fresh", "y")
