"""A slot ends with its daemon, however that ends, and leaves no process and no cgroup."""

from __future__ import annotations

import os
import signal

import pytest
from containers_by_api import until
from slots_seen import V1, groups, helpers, processes, slots
from wherryd_box import folders

pytestmark = pytest.mark.root


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_slot_ends_with_its_daemon(number: int) -> None:
    with folders() as daemon:
        daemon.start("--bridge=none", "--iptables=false")
        (shim,) = until(lambda: slots(daemon))
        (helper,) = helpers(shim)
        until(lambda: groups([helper]) or not V1)
        made = groups([helper])
        daemon.stop(number)
        until(lambda: not {shim, helper} & set(processes("wherry-slot")) and not any(os.path.exists(one) for one in made))
