"""The private world of the tests that need root: the whole run moves into it before the first test.

A run that names tests/system or tests/peers is executed again by scripts/isolate.py, in mount, PID, network and
cgroup namespaces of its own, so that no test can touch the host. Unit tests run where they are.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NEEDS_WORLD = ("system", "peers")


def _wants_world(config: pytest.Config) -> bool:
    """Whether any path asked for lies in, or contains, a folder whose tests start containers."""
    for argument in config.args:
        path = Path(str(argument).split("::")[0]).resolve()
        for folder in NEEDS_WORLD:
            if (HERE / folder) == path or (HERE / folder) in path.parents or path in (HERE / folder).parents:
                return True
    return False


def _forget_the_clock() -> None:
    """What hypothesis calls too slow says how busy the machine is, and nothing of what is tested."""
    from hypothesis import HealthCheck, settings

    settings.register_profile("wherry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("wherry")


def pytest_configure(config: pytest.Config) -> None:
    if config.pluginmanager.hasplugin("hypothesispytest"):
        _forget_the_clock()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is in its background; clients would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.geteuid() or os.environ.get("WHERRY_WORLD") or config.option.collectonly or not _wants_world(config):
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()
    os.execv(sys.executable, [sys.executable, str(HERE.parent / "scripts/isolate.py"),
                              sys.executable, "-m", "pytest", *config.invocation_params.args])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root") or any(folder in item.path.parts for folder in NEEDS_WORLD):
            item.add_marker(pytest.mark.skip(reason="needs root (namespaces, mounts, cgroups)"))
