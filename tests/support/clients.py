"""The command lines that tests drive wherryd with: our own, and docker's of each version that this machine has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

WHERRY = str(Path(sys.executable).parent / "wherry")
DOCKERS = {"docker20": "/usr/bin/docker", "docker28": "/usr/local/bin/docker"}
CLIENTS = (
    pytest.param(WHERRY, id="wherry"),
    *(pytest.param(path, id=name, marks=(pytest.mark.peer, pytest.mark.skipif(not os.access(path, os.X_OK), reason=f"needs {path}")))
      for name, path in DOCKERS.items()),
)
