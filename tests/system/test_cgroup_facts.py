"""What is said of this machine's cgroups is what they take."""

from __future__ import annotations

import os

import pytest

from wherry.engine.spec.facts import read_facts
from wherry.linux import cgroup

pytestmark = pytest.mark.root


def test_the_facts_are_those_of_a_new_cgroup():
    facts = read_facts()
    group = cgroup.manager(f"/wherry-facts/{os.getpid()}")
    group.create()
    try:
        assert facts.cgroup_version == group.version
        present = {name for name in facts.files
                   if any(os.path.exists(f"{folder}/{name}") for folder in group.paths().values())}
        assert present == facts.files
        assert {"memory", "pids", "cpu", "cpuset"} <= facts.controllers
        assert len(facts.cpus) >= 1
        assert "CAP_CHOWN" in facts.capabilities
    finally:
        group.remove()
