"""Lines of the mount table."""

from __future__ import annotations

import pytest

from wherry.linux import mountinfo


@pytest.mark.parametrize(("line", "path", "filesystem", "is_shared", "is_slave"), [
    ("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue", "/mnt2", "ext3", False, True),
    ("36 35 98:0 / / rw - ext4 /dev/root rw", "/", "ext4", False, False),
    ("36 35 98:0 / /a\\040b\\134c rw shared:5 master:2 propagate_from:1 - tmpfs none rw", "/a b\\c", "tmpfs", True, True),
])
def test_a_line(line: str, path: str, filesystem: str, *, is_shared: bool, is_slave: bool) -> None:
    assert mountinfo.parse(line) == mountinfo.Mounted(path=path, filesystem=filesystem, is_shared=is_shared, is_slave=is_slave)


def test_what_is_there() -> None:
    assert mountinfo.is_mounted("/proc")
    assert not mountinfo.is_mounted("/proc/self")
    assert mountinfo.covering("/proc/self/status").filesystem == "proc"
    assert mountinfo.covering("/no/such/folder").path == "/"
