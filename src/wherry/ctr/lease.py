"""Leases: what is made while one is held stays until it ends, or expires."""

from __future__ import annotations

import contextlib
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wherry.ctr.client import Client

EXPIRES_LABEL = "containerd.io/gc.expire"
DAY_S = 24 * 3600.0


def expiry(seconds: float) -> str:
    """The moment so many seconds from now, as labels carry it (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def create_lease(client: Client, name: str, expires_s: float, labels: Mapping[str, str] | None = None) -> str:
    """Makes a lease (with a name of its own where that is empty) and returns its id."""
    held = dict(labels or {})
    if expires_s:
        held[EXPIRES_LABEL] = expiry(expires_s)
    return str(client.leases.Create(id=name or _name(), labels=held).lease.id)


def _name() -> str:
    """A name that no other lease has: the time in nanoseconds and some chance."""
    import base64

    chance = base64.urlsafe_b64encode(os.urandom(3)).decode().rstrip("=")
    return f"{time.time_ns()}-{chance}"


@contextlib.contextmanager
def held(client: Client, expires_s: float = DAY_S) -> Iterator[None]:
    """Inside, all that is made is held by a lease of its own; the end deletes the lease. Nothing is done where one is held."""
    if client.lease:
        yield
        return
    client.lease = create_lease(client, "", expires_s)
    try:
        yield
    finally:
        lease, client.lease = client.lease, ""
        client.leases.Delete(id=lease)
