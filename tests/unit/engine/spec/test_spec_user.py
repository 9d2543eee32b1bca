"""Who a container is, by the image's own files, which are not trusted."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine.spec.user import find_user, resolve_user
from wherry.errors import InvalidArgument

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home/web:/bin/sh\nbroken\nworse:x:a:b:c:d:e\n"
GROUP = "root:x:0:\nweb:x:1001:\naudio:x:29:web,other\nbroken\n"


@pytest.mark.parametrize(("user", "add", "expected"), [
    ("", (), (0, 0, (0,))), ("root", (), (0, 0, (0,))), ("1234", (), (1234, 0, (0,))), ("web", (), (1000, 1001, (1001, 29))),
    ("1000", (), (1000, 1001, (1001, 29))), ("1:29", (), (1, 29, (29,))), ("web:audio", (), (1000, 29, (29,))),
    ("", ("audio", "77"), (0, 0, (0, 29, 77))), ("web:", (), (1000, 1001, (1001, 29))),
])
def test_as_docker(user, add, expected):
    found = resolve_user(user, add, PASSWD, GROUP)
    assert (found.uid, found.gid, found.additional_gids) == expected


@pytest.mark.parametrize(("user", "add", "message"), [
    ("nobody", (), "unable to find user nobody: no matching entries in passwd file"),
    ("web:nobody", (), "unable to find group nobody: no matching entries in group file"),
    ("", ("nobody",), "Unable to find group nobody: no matching entries in group file"),
    ("99999999999", (), "uids and gids must be in range 0-2147483647"),
])
def test_who_is_not_there(user, add, message):
    with pytest.raises(InvalidArgument) as refused:
        resolve_user(user, add, PASSWD, GROUP)
    assert refused.value.message == message


@given(st.text(max_size=60), st.text(max_size=60))
def test_files_full_of_nonsense(passwd, group):
    resolve_user("", (), passwd, group)


def test_no_link_leads_out(tmp_path):
    (tmp_path / "host").write_text("root:x:0:0:root:/root:/bin/sh\nsecret:x:5:5::/:\n")
    rootfs = tmp_path / "rootfs"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "etc/passwd").symlink_to(tmp_path / "host")
    os.mkfifo(rootfs / "etc/group")
    with pytest.raises(InvalidArgument, match="unable to find user secret"):
        find_user(str(rootfs), "secret")
    assert find_user(str(rootfs), "7:8").gid == 8


def test_a_number_is_never_a_name():
    """CVE-2016-3697: an image whose passwd calls root «1000»."""
    assert resolve_user("1000", (), "1000:x:0:0:root:/root:/bin/sh\n", "").uid == 1000
    assert resolve_user("1000:50", (), "", "50:x:0:\n").gid == 50
