"""Where the hierarchies are, from the texts of /proc."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidArgument, Unsupported
from wherry.linux.cgroup.layout import read_layout
from wherry.linux.cgroup.stats_v1 import blkio_entries, rdma

HYBRID = """\
30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
36 30 0:32 /docker/abc /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
"""
HYBRID_OWN = "9:memory:/docker/abc/inner\n4:cpu,cpuacct:/user.slice\n1:name=systemd:/\n0::/user.slice/x\n"
UNIFIED = "24 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"


def test_hybrid():
    layout = read_layout(HYBRID, HYBRID_OWN)
    assert layout.kind == "hybrid"
    assert layout.folders("/wherry/c1") == {
        "memory": "/sys/fs/cgroup/memory/wherry/c1", "cpu": "/sys/fs/cgroup/cpu,cpuacct/wherry/c1",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/wherry/c1", "name=systemd": "/sys/fs/cgroup/systemd/wherry/c1"}
    assert layout.folders("c1")["memory"] == "/sys/fs/cgroup/memory/inner/c1"
    assert layout.folders("c1")["cpu"] == "/sys/fs/cgroup/cpu,cpuacct/user.slice/c1"
    assert layout.unified_folder("/") == "/sys/fs/cgroup/unified"


def test_unified():
    layout = read_layout(UNIFIED, "0::/a/b\n")
    assert layout.kind == "v2"
    assert layout.unified_folder("x/y") == "/sys/fs/cgroup/a/b/x/y"
    assert layout.unified_folder("/x//y/") == "/sys/fs/cgroup/x/y"


def test_v1_alone():
    assert read_layout("\n".join(HYBRID.splitlines()[3:]), HYBRID_OWN).kind == "v1"


def test_no_way_out():
    with pytest.raises(InvalidArgument, match="leads out"):
        read_layout(UNIFIED, "0::/\n").unified_folder("/a/../../b")


def test_nothing_is_mounted():
    with pytest.raises(Unsupported, match="no cgroup hierarchy"):
        read_layout("", "0::/\n")


def test_block_io_and_rdma_lines():
    entries = blkio_entries("8:0 Read 12\n8:0 Total 12\n259:1 5\nTotal 12\n")
    found = [(one.major, one.minor, one.op, one.value) for one in entries]
    assert found == [(8, 0, "Read", 12), (8, 0, "Total", 12), (259, 1, "", 5)]
    (one,) = rdma("mlx5_1 hca_handle=max hca_object=7\n")
    assert (one.device, one.handles, one.objects) == ("mlx5_1", 2**32 - 1, 7)
