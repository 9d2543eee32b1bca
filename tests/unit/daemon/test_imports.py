"""What a daemon imports before anybody has asked for anything."""

from __future__ import annotations

import subprocess
import sys


def test_grpc_and_the_messages_wait_for_their_first_client() -> None:
    program = "import sys, wherry.daemon.program; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "wherry" in loaded
    assert not {"grpc", "grpc_health", "google", "sqlite3"} & set(loaded)
