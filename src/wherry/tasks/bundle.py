"""A task's bundle: the folder that its shim works in. Where it is, `<folder>/<namespace>/<id>`, tells whose it is.

config.json     the container's specification, byte for byte as it was given
rootfs          where its root is mounted
address         where its shim listens; there before the shim is, so that none is forgotten
runtime         which runtime it was made with
"""

from __future__ import annotations

import os

from wherry.errors import AlreadyExists
from wherry.linux.file import read, replace
from wherry.store.tree import remove_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Bundle:
    """One bundle, made or found."""

    def __init__(self, folder: str, namespace: str, container_id: str) -> None:
        self.namespace, self.id = namespace, container_id
        self.path = f"{folder}/{namespace}/{container_id}"

    def make(self, spec: bytes, runtime: str) -> None:
        """Makes the folder. Raises AlreadyExists."""
        os.makedirs(os.path.dirname(self.path), mode=0o711, exist_ok=True)
        try:
            os.mkdir(self.path, 0o711)
        except FileExistsError:
            raise AlreadyExists(f"task {self.id}: already exists") from None
        os.mkdir(f"{self.path}/rootfs", 0o711)
        self._write("runtime", runtime.encode())
        if spec:
            self._write("config.json", spec)

    def _write(self, name: str, content: bytes) -> None:
        fd = os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(content)

    @property
    def address(self) -> str:
        """The path of its shim's socket, "" while it has none."""
        return self._read("address").removeprefix("unix://")

    @address.setter
    def address(self, path: str) -> None:
        replace(f"{self.path}/address", f"unix://{path}".encode())

    @property
    def runtime(self) -> str:
        """The name of its runtime."""
        return self._read("runtime")

    def _read(self, name: str) -> str:
        try:
            return read(f"{self.path}/{name}").decode()
        except FileNotFoundError:
            return ""

    def remove(self) -> None:
        """Removes the folder, in which nothing is mounted any more."""
        remove_path(self.path)


def all_bundles(folder: str) -> Iterator[Bundle]:
    """Those that there are."""
    if not os.path.isdir(folder):
        return
    for namespace in sorted(os.listdir(folder)):
        for container_id in sorted(os.listdir(f"{folder}/{namespace}")):
            yield Bundle(folder, namespace, container_id)
