"""The real dockerd 20.10 on a data root of the test's choosing, without networks."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import real_dockerd

if TYPE_CHECKING:
    from collections.abc import Iterator


class Dockerd(real_dockerd.Dockerd):
    """Its command line must succeed, and gives the output as it is."""

    def __call__(self, *words: str, data: bytes | None = None) -> str:  # type: ignore[override]
        done = subprocess.run([self.client, "-H", self.socket, *words], input=data or b"", capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@contextlib.contextmanager
def dockerd(data_root: str, *options: str) -> Iterator[Dockerd]:
    """A dockerd without a bridge, unless `options` say otherwise, for as long as the `with` block runs."""
    with tempfile.TemporaryDirectory(prefix="dockerd-", dir="/run") as run:
        daemon = Dockerd(Path(run), data_root, ("--iptables=false", *(options or ("--bridge=none",))))
        try:
            real_dockerd.wait(daemon)
            yield daemon
        finally:
            daemon.stop()
