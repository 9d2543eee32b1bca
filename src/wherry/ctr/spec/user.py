"""Who a container's program is, by the image's `User` and the root's own passwd and group files. Pure."""

from __future__ import annotations

from wherry.errors import InvalidArgument, NotFound
from wherry.linux import accounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def of_image(user: str, passwd: str, group: str) -> dict[str, Any]:
    """`process.user` for an image's `User` (`name|uid[:group|gid]`), with the groups that list that user."""
    found = resolved(user, passwd, group) if user else {"uid": 0, "gid": 0}
    who = str(found["uid"]) if user else "root"
    return {**found, "additionalGids": additional(who, found["gid"], passwd, group)}


def resolved(user: str, passwd: str, group: str) -> dict[str, Any]:
    """`uid` and `gid`. Raises NotFound for a name that is not there, InvalidArgument for what is no user."""
    who, colon, group_name = user.partition(":")
    if ":" in group_name:
        raise InvalidArgument(f"invalid USER value {user}")
    users = list(accounts.accounts(passwd))
    if who.isdigit():
        account = next((one for one in users if one.uid == int(who)), None)
        uid, gid = int(who), account.gid if account is not None else 0
    else:
        account = next((one for one in users if one.name == who), None)
        if account is None:
            raise NotFound("no users found")
        uid, gid = account.uid, account.gid
    if colon:
        gid = int(group_name) if group_name.isdigit() else _group(group_name, group)
    return {"uid": uid, "gid": gid}


def _group(name: str, group: str) -> int:
    for one in accounts.groups(group):
        if one.name == name:
            return one.gid
    raise NotFound("no groups found")


def additional(who: str, gid: int, passwd: str, group: str) -> list[int]:
    """The groups of a user that is named by name or number: the own one first."""
    name = who
    if who.isdigit():
        account = next((one for one in accounts.accounts(passwd) if one.uid == int(who)), None)
        name = account.name if account is not None else ""
    listed = [one.gid for one in accounts.groups(group) if name and name in one.members]
    return list(dict.fromkeys([gid, *listed]))
