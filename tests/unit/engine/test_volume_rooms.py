"""Volumes without root: names, options, what is on disk, who uses what; and the flags of mount."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from wherry.engine import volume_options
from wherry.engine.events import Events
from wherry.engine.filters import Filters
from wherry.engine.pool import Pool
from wherry.engine.records import MountRecord
from wherry.engine.volume_options import Device
from wherry.engine.volumes import ANONYMOUS, Volumes
from wherry.errors import Conflict, InvalidArgument, NotFound, Unsupported
from wherry.linux import mount as mounts

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path


class House:
    """Volumes in a folder, and containers that are only said to be there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.containers: list[Any] = []
        self.events = Events()
        self.pool = Pool(1, 1)
        self.open()

    def open(self) -> None:
        self.volumes = Volumes(pool=self.pool, events=self.events, containers=self.containers,  # type: ignore[arg-type]
                               folder=f"{self.root}/volumes")
        self.run(self.volumes.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def use(self, name: str, container: str) -> None:
        mount = MountRecord(type="volume", name=name, destination="/v")
        self.containers.append(SimpleNamespace(id=container, record=SimpleNamespace(mount_points={"/v": mount})))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.pool.close()


def test_a_volume_is_made_kept_and_removed(house: House) -> None:
    made = house.run(house.volumes.create("data", labels={"a": "b"}))
    assert made.mountpoint == f"{house.root}/volumes/data/_data"
    assert os.stat(made.mountpoint).st_mode & 0o777 == 0o755
    assert os.stat(f"{house.root}/volumes/data").st_mode & 0o777 == 0o701
    assert house.run(house.volumes.create("data", labels={"other": "x"})) == made
    house.open()
    assert house.volumes.get("data") == made
    house.run(house.volumes.remove("data"))
    assert os.listdir(f"{house.root}/volumes") == []
    house.open()
    with pytest.raises(NotFound, match=r"^get data: no such volume$"):
        house.volumes.get("data")
    assert [one.action for one in house.events.past()] == ["create", "destroy"]


def test_without_a_name_it_gets_one_and_is_marked(house: House) -> None:
    made = house.run(house.volumes.create())
    assert len(made.name) == 64
    assert made.labels == {ANONYMOUS: ""}
    assert made.is_anonymous


@pytest.mark.parametrize(("name", "message"), [
    ("a", "create a: volume name is too short, names should be at least two alphanumeric characters"),
    ("/tmp", ('create /tmp: "/tmp" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
              "If you intended to pass a host directory, use absolute path")),
    ("..", 'create ..: ".." includes invalid characters'),
    ("a/b", 'create a/b: "a/b" includes invalid characters'),
    (".hidden", 'create .hidden: ".hidden" includes invalid characters'),
])
def test_names(house: House, name: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        house.run(house.volumes.create(name))
    assert raised.value.message.startswith(message)
    assert os.listdir(f"{house.root}/volumes") == []


@pytest.mark.parametrize(("options", "message"), [
    ({"x": "y"}, 'create vv: invalid option: "x"'),
    ({"type": "tmpfs"}, 'create vv: missing required option: "device"'),
    ({"device": "tmpfs"}, 'create vv: missing required option: "type"'),
    ({"o": "ro"}, 'create vv: missing required option: "device"'),
])
def test_options_that_make_no_sense(house: House, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        house.run(house.volumes.create("vv", options=options))
    assert raised.value.message == message


def test_what_is_not_done_is_refused_by_name(house: House) -> None:
    with pytest.raises(Unsupported, match='"size"'):
        house.run(house.volumes.create("vv", options={"size": "10m"}))
    with pytest.raises(NotFound, match='plugin "nope" not found'):
        house.run(house.volumes.create("vv", driver="nope"))


def test_options_are_kept_for_us_and_for_dockerd(house: House) -> None:
    options = {"type": "nfs", "device": ":/export", "o": "addr=10.0.0.1,rw"}
    house.run(house.volumes.create("share", options=options))
    house.open()
    assert house.volumes.get("share").options == options
    assert volume_options.read_driver_options(f"{house.root}/volumes/share") == options
    os.unlink(f"{house.root}/volumes/share/wherry.json")  # as dockerd would have made it
    house.open()
    assert house.volumes.get("share").options == options


def test_a_volume_in_use_stays(house: House) -> None:
    house.run(house.volumes.create("used"))
    house.use("used", "c" * 64)
    with pytest.raises(Conflict) as raised:
        house.run(house.volumes.remove("used", force=True))
    assert raised.value.message == f"remove used: volume is in use - [{'c' * 64}]"
    assert house.volumes.users("used") == ["c" * 64]


def test_force_forgives_what_is_not_there(house: House) -> None:
    with pytest.raises(NotFound, match="get nope: no such volume"):
        house.run(house.volumes.remove("nope"))
    house.run(house.volumes.remove("nope", force=True))


def test_lists(house: House) -> None:
    for name, labels in (("bb", {"x": "1"}), ("aa", None), ("used", None)):
        house.run(house.volumes.create(name, labels=labels))
    house.use("used", "c" * 64)
    for text, expected in (("", ["aa", "bb", "used"]), ('{"dangling":["true"]}', ["aa", "bb"]), ('{"dangling":["0"]}', ["used"]),
                           ('{"label":["x"]}', ["bb"]), ('{"label":["x=2"]}', []), ('{"name":["a"]}', ["aa"]), ('{"driver":["local"]}', [
                               "aa", "bb", "used"]), ('{"driver":["other"]}', [])):
        assert [one.name for one in house.volumes.rows(Filters.parse(text))] == expected
    with pytest.raises(InvalidArgument, match="invalid filter 'z'"):
        house.volumes.rows(Filters.parse('{"z":["1"]}'))


def test_prune(house: House) -> None:
    anonymous = house.run(house.volumes.create()).name
    for name, labels in (("named", None), ("marked", {"keep": ""}), ("used", None)):
        house.run(house.volumes.create(name, labels=labels))
    house.run(house.volumes.create("device", options={"type": "tmpfs", "device": "tmpfs"}))
    house.use("used", "c" * 64)
    with open(f"{house.volumes.get(anonymous).mountpoint}/file", "wb") as file:
        file.write(bytes(1000))
    os.link(f"{house.volumes.get(anonymous).mountpoint}/file", f"{house.volumes.get(anonymous).mountpoint}/twin")
    assert house.run(house.volumes.prune(Filters.parse(""), anonymous_only=True)) == ([anonymous], 1000)
    assert house.run(house.volumes.prune(Filters.parse('{"label!":["keep"],"all":["1"]}'), anonymous_only=True)) == (["named"], 0)
    assert house.run(house.volumes.prune(Filters.parse(""), anonymous_only=False)) == (["marked"], 0)
    assert {one.name for one in house.volumes} == {"device", "used"}


def test_what_a_crash_left_half_made_is_swept(house: House) -> None:
    house.run(house.volumes.create("whole"))
    os.makedirs(f"{house.root}/volumes/.0123456789abcdef.half/_data")
    os.makedirs(f"{house.root}/volumes/no-volume")
    house.open()
    assert [one.name for one in house.volumes] == ["whole"]
    assert sorted(os.listdir(f"{house.root}/volumes")) == ["no-volume", "whole"]


@pytest.mark.parametrize(("options", "flags", "propagation", "data"), [
    ("", 0, 0, ""),
    ("ro,noexec,size=1m", mounts.MS_RDONLY | mounts.MS_NOEXEC, 0, "size=1m"),
    ("ro,rw", 0, 0, ""),
    ("bind", mounts.MS_BIND, 0, ""),
    ("rbind,rshared", mounts.MS_BIND | mounts.MS_REC, mounts.MS_SHARED | mounts.MS_REC, ""),
    ("addr=10.0.0.1,nfsvers=4,nosuid", mounts.MS_NOSUID, 0, "addr=10.0.0.1,nfsvers=4"),
])
def test_words_of_mount(options: str, flags: int, propagation: int, data: str) -> None:
    assert volume_options.split(options) == (flags, propagation, data)


def test_a_plain_volume_has_no_device() -> None:
    assert volume_options.parse({}) is None
    assert volume_options.parse({"type": "tmpfs", "device": "tmpfs"}) == Device("tmpfs", "tmpfs", "")
