"""`wherry.Engine` without a daemon: a Python program that runs containers in its own process tree."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess

import pytest
from busybox_image import archive

import wherry
from wherry.engine import logs, waits
from wherry.engine.container import Ended
from wherry.engine.model import ContainerConfig, HostConfig
from wherry.engine.options import EngineOptions, NetworkOptions
from wherry.errors import Unavailable

pytestmark = [pytest.mark.root, pytest.mark.net]


def test_a_program_runs_a_container(tmp_path_factory) -> None:
    root = tmp_path_factory.mktemp("root")
    options = EngineOptions(data_root=str(root), run_folder=f"/run/{root.name}", network=NetworkOptions(bridge="none"))

    async def run() -> str:
        engine = await wherry.Engine.open(options)
        try:
            with pytest.raises(Unavailable):
                await wherry.Engine.open(options)  # one engine per root
            await engine.transfer.load(io.BytesIO(archive()), None)
            container, _ = await engine.creator.create(
                "", ContainerConfig(image="busybox", cmd=("echo", "from a program")), HostConfig(network_mode="none"), None,
                version=(1, 50))
            await engine.lifecycle.start(container)
            ended = waits.begin(container, "not-running")
            assert (ended if isinstance(ended, Ended) else await ended).exit_code == 0
            output = b"".join([chunk async for chunk in logs.read(container, logs.LogsRequest(stdout=True))])
            await engine.removal.remove(container, engine.lifecycle)
            return output[8:].decode()
        finally:
            await engine.close()

    assert asyncio.run(run()) == "from a program\n"
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "wherry-shim" not in left
    assert "wherry-zygote" not in left
    assert os.listdir(root / "containers") == []
