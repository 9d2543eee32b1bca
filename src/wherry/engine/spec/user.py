"""Who a container's program is: `--user` and `--group-add` by the image's own /etc/passwd and /etc/group."""

from __future__ import annotations

from wherry.engine.spec.places import User
from wherry.errors import InvalidArgument
from wherry.linux import accounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.linux.accounts import Group

_MAX_ID = 2**31 - 1


def find_user(rootfs: str, user: str, group_add: tuple[str, ...] = ()) -> User:
    """Reads the image's files and resolves. Raises InvalidArgument in Docker's words for a user or group that is not there."""
    return resolve_user(user, group_add, *accounts.read(rootfs))


def resolve_user(user: str, group_add: tuple[str, ...], passwd: str, group: str) -> User:
    """`name|uid[:group|gid]` by the texts of the two files: pure."""
    who, colon, group_name = user.partition(":")
    users, groups = list(accounts.accounts(passwd)), list(accounts.groups(group))
    uid, gid, name = 0, 0, ""
    if not who:
        account = next((one for one in users if one.uid == 0), None)
    elif who.isdigit():
        # A number is never a name: an image may call root «1000» (CVE-2016-3697).
        account = next((one for one in users if one.uid == int(who)), None)
    else:
        account = next((one for one in users if one.name == who), None)
    if account is not None:
        uid, gid, name = account.uid, account.gid, account.name
    elif who:
        uid = _number(who, f"unable to find user {who}: no matching entries in passwd file")
    additional: list[int] = []
    if colon and group_name:
        missing = f"unable to find group {group_name}: no matching entries in group file"
        gid = _number(group_name, missing) if group_name.isdigit() else _group_id(group_name, groups, missing)
    elif name:
        # Without a group of one's own choice, one is also in the groups that list one.
        additional = [one.gid for one in groups if name in one.members]
    additional += [_group_id(one, groups, f"Unable to find group {one}: no matching entries in group file") for one in group_add]
    return User(uid=uid, gid=gid, additional_gids=tuple(dict.fromkeys([gid, *additional])))


def _group_id(text: str, groups: list[Group], missing: str) -> int:
    for one in groups:
        if one.name == text:
            return one.gid
    return _number(text, missing)


def _number(text: str, missing: str) -> int:
    if not text.removeprefix("-").isdigit():
        raise InvalidArgument(missing)
    if not 0 <= int(text) <= _MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{_MAX_ID}")
    return int(text)
