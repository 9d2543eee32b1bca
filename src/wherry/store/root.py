"""The data root: where everything lies on disk, who may use it, and what is cleaned up when it is opened.

<root>/wherry.lock                            held while a daemon uses the root
<root>/image/overlay2/repositories.json       references.py
<root>/image/overlay2/imagedb/…               images.py
<root>/image/overlay2/layerdb/…               layers.py, mounts.py
<root>/image/overlay2/distribution/…          distribution.py
<root>/overlay2/<cache id>/…                  overlay.py
<root>/containers volumes network             of the engine and the network room
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class DataRoot:
    """An opened data root of which this process is the only user."""

    path: str

    @classmethod
    def open(cls, path: str) -> Self:
        """Makes the folders that are missing, takes the lock, and removes what a crash left half made.

        Raises Unavailable when another process holds the lock, Unsupported when the root is one of another
        storage driver only. What was committed is never removed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Gives the lock back."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
