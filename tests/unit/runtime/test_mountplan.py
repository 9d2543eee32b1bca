"""What is mounted is decided without touching anything."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidArgument, Unsupported
from wherry.linux import mount
from wherry.oci.runtime import Config, Mount
from wherry.runtime.mountplan import plan_mount, plan_mounts, plan_root_propagation


def step(*options: str, kind: str = "bind", source: str = "/src", destination: str = "/dst"):  # type: ignore[no-untyped-def]
    return plan_mount(Mount(destination=destination, source=source, type=kind, options=options), "/bundle")


def test_a_bind_knows_its_flags_its_propagation_and_whether_it_takes_the_tree() -> None:
    one = step("rbind", "ro", "nosuid", "rprivate")
    assert (one.kind, one.recursive) == ("bind", True)
    assert one.attributes == (mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID, 0)
    assert one.propagation == ((mount.MS_PRIVATE, True),)


@pytest.mark.parametrize(("words", "expected"), [
    (("ro", "rw"), (0, 1)), (("rw", "ro"), (1, 0)), (("noexec", "exec", "noexec"), (8, 0)), (("rro",), (0, 0)),
])
def test_a_later_word_wins(words: tuple[str, ...], expected: tuple[int, int]) -> None:
    assert step("bind", *words).attributes == expected


def test_recursive_words_go_for_the_tree() -> None:
    assert step("rbind", "rro").recursive_attributes == (mount.MOUNT_ATTR_RDONLY, 0)


def test_options_of_the_filesystem_are_kept_for_it_and_dropped_for_binds() -> None:
    assert step("mode=755", "size=64k", kind="tmpfs").data == (("mode", "755"), ("size", "64k"))
    assert step("bind", "mode=755").data == ()


def test_a_relative_source_starts_at_the_bundle() -> None:
    assert step("bind", source="data").source == "/bundle/data"


@pytest.mark.parametrize("destination", ["/proc/self/attr", "/proc/sys", "proc/../proc/kcore"])
def test_nothing_is_mounted_into_proc(destination: str) -> None:
    with pytest.raises(InvalidArgument, match="because it is inside /proc"):
        step("bind", destination=destination)


def test_what_lxcfs_replaces_in_proc_is_allowed() -> None:
    assert step("bind", destination="/proc/meminfo").destination == "/proc/meminfo"


def test_cgroup_mounts_come_last_unless_something_is_mounted_below_them() -> None:
    def plan(*destinations: tuple[str, str]) -> list[str]:
        mounts = tuple(Mount(destination=where, type=kind, source="x") for where, kind in destinations)
        return [one.destination for one in plan_mounts(Config(mounts=mounts), "/")]

    assert plan(("/sys/fs/cgroup", "cgroup"), ("/dev", "tmpfs")) == ["/dev", "/sys/fs/cgroup"]
    assert plan(("/sys/fs/cgroup", "cgroup"), ("/sys/fs/cgroup/x", "tmpfs")) == ["/sys/fs/cgroup", "/sys/fs/cgroup/x"]


def test_what_is_not_done_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="only supported for bind-mounts"):
        plan_mount(Mount(destination="/x", type="tmpfs", options=("idmap",)), "/")
    with pytest.raises(InvalidArgument, match="rootfsPropagation=odd"):
        plan_root_propagation("odd")
    assert plan_root_propagation("") == (mount.MS_SLAVE, True)
