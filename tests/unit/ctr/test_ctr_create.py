"""A container by a configuration in a file: what the record gets, and files that hold none."""

from __future__ import annotations

import json
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from wherry.console.streams import Streams
from wherry.ctr.command import CommandFailed, Invocation
from wherry.ctr.commands.container_create import CREATE
from wherry.ctr.flags import Options, parse


def created(path) -> dict:
    """The configuration of the container that `containers create --config path c` makes."""
    client = MagicMock(lease="")
    options, arguments = parse(CREATE.flags, ("--config", str(path), "c"), {})
    nothing = Options((), {})
    CREATE.action(Invocation(program="ctr", options=options, arguments=tuple(arguments), group=nothing, globals=nothing,
                             streams=Streams(), environment={}, connect=lambda: client))
    record = SimpleNamespace(**client.containers.Create.call_args.kwargs["container"])
    assert (record.id, record.snapshot_key) == ("c", "")
    return json.loads(record.spec["value"])


@pytest.mark.parametrize("config", [{}, {"process": {"args": ["true"]}, "hostname": "h"}])
def test_the_file_is_all_of_it(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert created(path) == {"process": {}, **config}


@pytest.mark.parametrize("text", ["", "null", "[]", "7"])
def test_files_without_a_configuration(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(CommandFailed, match="failed to unmarshal spec config file: "):
        created(path)
