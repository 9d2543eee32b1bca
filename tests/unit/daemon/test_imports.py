"""What a daemon imports before anybody has asked for anything."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_grpc_and_the_messages_wait_for_their_first_client() -> None:
    program = "import sys, wherry.daemon.program; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "wherry" in loaded
    assert not {"grpc", "grpc_health", "google", "sqlite3"} & set(loaded)


def test_grpc_says_nothing_of_a_fork_beside_it(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
from wherry.daemon.containerd import ContainerdApi, Ground
from wherry.engine.pool import Pool

async def walk(path):
    try:  # this far that gRPC is imported
        await ContainerdApi.open(Ground(pool=Pool(), zygote=None, pace=None, data_folder="/dev/null/x", run_folder=""), path, path)
    except OSError:
        pass
    from wherry.api.containerd.server import Server
    server = Server(())
    await server.listen(path)
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
    await server.close(0)

asyncio.run(walk(sys.argv[1]))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "s")], capture_output=True, text=True, env=environment,
                          timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
