"""The config beside the one that Docker 20.10 wrote for the same container: some ninety sets of flags, recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry.engine import gojson
from wherry.engine.model import ContainerConfig, HostConfig
from wherry.engine.records import MountRecord
from wherry.engine.spec.capabilities import EVERY
from wherry.engine.spec.config import oci_config
from wherry.engine.spec.devices import Device, Found
from wherry.engine.spec.facts import Facts
from wherry.engine.spec.places import Places, User

RECORDED = json.loads((Path(__file__).parent / "recorded/runtime-spec-20.10.json").read_text())
PLAIN = RECORDED["plain"]
# Docker 20.10 did not know these yet.
FILES = frozenset({"memory.memsw.limit_in_bytes", "memory.swappiness", "memory.oom_control", "memory.kmem.limit_in_bytes",
                   "memory.soft_limit_in_bytes", "cpu.cfs_quota_us", "cpu.rt_runtime_us", "blkio.throttle.read_bps_device"})
FACTS = Facts(files=FILES, capabilities=tuple(name for name in EVERY if name not in ("CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE")))
DOCKERS_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
# What 20.10 wrote although it could not be started, or refuses by now.
SKIPPED = {"ipc_bad"}


def whole(name):
    """A recorded case, its differences from the plain one filled in."""
    case = RECORDED[name]
    spec = {**PLAIN["spec"], **case["spec"]}
    for key in ("linux", "process"):
        spec[key] = {**PLAIN["spec"][key], **case["spec"].get(key, {})}
        spec[key] = {one: value for one, value in spec[key].items() if value is not None}
    spec = {key: value for key, value in spec.items() if value is not None}
    host = {**PLAIN["host"], **case["host"]}
    return gojson.convert(case.get("config", PLAIN["config"]), ContainerConfig), gojson.convert(host, HostConfig), spec


def places_of(spec):
    """What the engine would have told us, from what Docker's engine told its runtime."""
    by_place = {one["destination"]: one for one in spec["mounts"]}
    files = {place: by_place.get(place, {"source": ""})["source"] for place in DOCKERS_FILES}
    shm = by_place.get("/dev/shm", {"type": "", "source": ""})
    joined = {one["type"]: one["path"] for one in spec["linux"]["namespaces"] if "path" in one and "netns/default" not in one["path"]}
    return Places(rootfs=spec["root"]["path"], cgroups_path=spec["linux"]["cgroupsPath"], resolv_conf_path=files["/etc/resolv.conf"],
                  hostname_path=files["/etc/hostname"], hosts_path=files["/etc/hosts"], joined=joined,
                  shm_path=shm["source"] if shm["source"].startswith(("/data", "/dev")) else "", init_path="/usr/bin/docker-init",
                  links_env=tuple(one for one in spec["process"]["env"] if "_NAME=" in one), recursive_read_only=False)


def asked_of(host, spec):
    """The mounts that the engine planned: those that are neither everybody's nor of --tmpfs."""
    known = {one["destination"] for one in PLAIN["spec"]["mounts"]} | set(host.tmpfs or {}) | {"/sbin/docker-init"}
    user = {text.split(":")[1] for text in host.binds or () if ":" in text}
    found = []
    for one in spec["mounts"]:
        if one["destination"] in known and one["destination"] not in user:
            continue
        mount = next((asked for asked in host.mounts or () if asked.target == one["destination"]), None)
        volume = "/volumes/" in one["source"]
        options = {"type": one["type"], "target": one["destination"]}
        if mount is not None:
            options |= {"bind_options": gojson.plain(mount.bind_options), "tmpfs_options": gojson.plain(mount.tmpfs_options)}
        spec_of = gojson.convert({}, MountRecord).spec
        found.append(MountRecord(type="volume" if volume else one["type"], source=one["source"], destination=one["destination"],
                                 rw="ro" not in one["options"], propagation="" if volume else "rprivate",
                                 spec=type(spec_of)(**options)))
    return found


def found_of(host, spec):
    """The devices as they were found."""
    access = {one.path_in_container: one.cgroup_permissions for one in host.devices or ()}
    nodes = [Device(path=one["path"], kind=one["type"], major=one["major"], minor=one["minor"], mode=one["fileMode"],
                    access=access.get(one["path"], "rwm")) for one in spec["linux"].get("devices", ())]
    return Found(devices=tuple(nodes))


@pytest.mark.parametrize("name", sorted(set(RECORDED) - SKIPPED))
def test_equals_dockers(name):
    config, host, expected = whole(name)
    user = expected["process"]["user"]
    ours = oci_config(config, host, places=places_of(expected), facts=FACTS, found=found_of(host, expected), asked=asked_of(host, expected),
                      user=User(uid=user["uid"], gid=user["gid"], additional_gids=tuple(user.get("additionalGids", ()))))
    seccomp = ours["linux"].pop("seccomp", None)
    assert (seccomp is not None) == expected["linux"].pop("seccomp", False)
    for document in (ours, expected):
        for names in document["process"]["capabilities"].values():
            names.sort()
        # A network of the host's is not joined by path here, but simply not left.
        document["linux"]["namespaces"] = sorted(
            (one for one in document["linux"]["namespaces"] if "netns/default" not in one.get("path", "")), key=lambda one: one["type"])
        document["mounts"].sort(key=lambda one: (one["destination"].count("/"), one["destination"]))
        document["linux"].setdefault("sysctl", {})
        document["process"]["env"].sort()
    assert ours == expected


def build(config=None, host=None, **more):
    return oci_config(ContainerConfig(cmd=("sh",), hostname="box", **(config or {})), HostConfig(**(host or {})), facts=FACTS,
                      places=more.pop("places", Places(rootfs="/rootfs", cgroups_path="/wherry/x")), user=more.pop("user", User()),
                      found=more.pop("found", Found()), **more)


def test_outer_folders_are_mounted_before_inner_ones():
    asked = [MountRecord(type="bind", source="/x", destination=place, rw=True) for place in ("/a/b/c", "/a", "/d", "/a/b")]
    order = [one["destination"] for one in build(asked=asked)["mounts"]]
    assert [one for one in order if one.startswith(("/a", "/d/")) or one == "/d"] == ["/a", "/d", "/a/b", "/a/b/c"]


def test_a_bind_is_read_only_with_all_that_is_mounted_below():
    mount = MountRecord(type="bind", source="/x", destination="/y", rw=False, propagation="rprivate")
    assert build(asked=[mount])["mounts"][-1]["options"] == ["rbind", "rro", "rprivate"]


def test_the_hosts_annotations_console_and_defaults_of_the_daemon():
    document = build({"tty": True}, {"annotations": {"a": "b"}, "console_size": (24, 80)}, ulimits={"nofile": (1, -1)},
                     no_new_privileges=True, seccomp_profile="unconfined")
    assert document["annotations"] == {"a": "b"}
    assert document["process"]["consoleSize"] == {"height": 24, "width": 80}
    assert document["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2**64 - 1}]
    assert document["process"]["noNewPrivileges"] is True
    assert "seccomp" not in document["linux"]
    own = build(host={"security_opt": ("no-new-privileges=false",)}, no_new_privileges=True)
    assert "noNewPrivileges" not in own["process"]


def test_a_machine_that_lacks_a_capability_hands_on_what_it_has():
    few = Facts(capabilities=tuple(name for name in EVERY if name != "CAP_SYS_RESOURCE"))
    document = oci_config(ContainerConfig(cmd=("sh",)), HostConfig(privileged=True), facts=few, found=Found(), user=User(),
                          places=Places(rootfs="/", cgroups_path="/x"))
    assert "CAP_SYS_RESOURCE" not in document["process"]["capabilities"]["bounding"]
    assert "CAP_SYS_ADMIN" in document["process"]["capabilities"]["bounding"]


def test_environment():
    env = build({"env": ("A=1", "B=2", "A=3", "PATH=/x", "HOSTNAME", "NEVER")})["process"]["env"]
    assert env == ["PATH=/x", "A=3", "B=2"]


@pytest.mark.parametrize("host", [HostConfig(), HostConfig(privileged=True), HostConfig(cap_add=("ALL",))])
def test_no_capability_is_inheritable(host):
    """CVE-2022-24769, CVE-2022-29162: a program with inheritable file capabilities would get back what was dropped."""
    document = oci_config(ContainerConfig(cmd=("sh",)), host, facts=FACTS, found=Found(devices=(), numbers={}), user=User(),
                          places=Places(rootfs="/r", cgroups_path="/c"))
    assert document["process"]["capabilities"]["bounding"]
    assert not document["process"]["capabilities"].get("inheritable")
