"""What a call brings beside its message: the namespace and the lease, from the request's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import Conflict
from wherry.store.metadata.names import check_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMESPACE = "containerd-namespace"
LEASE = "containerd-lease"


class Call:
    """One call of one client."""

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._namespace = self.lease = ""
        for key, value in metadata:
            if key == NAMESPACE:
                self._namespace = str(value)
            elif key == LEASE:
                self.lease = str(value)

    @property
    def namespace(self) -> str:
        """The namespace that the call is about. Raises Conflict when there is none, InvalidArgument for no valid name."""
        if not self._namespace:
            raise Conflict("namespace is required: failed precondition")
        return check_identifier(self._namespace, "namespace validation")

    def namespace_or(self, other: str) -> str:
        """The namespace of the call, or another where it has none. Raises InvalidArgument for no valid name."""
        return self.namespace if self._namespace else other
