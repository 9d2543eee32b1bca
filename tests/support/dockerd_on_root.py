"""The real dockerd 20.10 on a data root of the test's choosing, without networks."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Dockerd:
    """A real dockerd on a data root, and the docker command line on it."""

    def __init__(self, data_root: str, run: str, options: tuple[str, ...]) -> None:
        self.socket = f"unix://{run}/docker.sock"
        self._log = Path(f"{run}/log").open("wb")  # noqa: SIM115  # closed by stop
        self._process = subprocess.Popen(
            ["dockerd", "--data-root", data_root, "--exec-root", f"{run}/exec", "-H", self.socket, "--pidfile", f"{run}/pid",
             "--iptables=false", *options], stdout=self._log, stderr=subprocess.STDOUT)
        for _ in range(300):
            if subprocess.run(["docker", "-H", self.socket, "version"], capture_output=True).returncode == 0:
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        raise AssertionError(Path(f"{run}/log").read_text())

    def __call__(self, *command: str, stdin: bytes = b"") -> str:
        done = subprocess.run(["/usr/bin/docker", "-H", self.socket, *command], input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._log.close()


@contextlib.contextmanager
def dockerd(data_root: str, *options: str) -> Iterator[Dockerd]:
    """A dockerd without a bridge, unless `options` say otherwise, for as long as the `with` block runs."""
    run = tempfile.mkdtemp(prefix="dockerd-", dir="/run")
    daemon = Dockerd(data_root, run, options or ("--bridge=none",))
    try:
        yield daemon
    finally:
        daemon.stop()
