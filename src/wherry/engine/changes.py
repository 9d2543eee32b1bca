"""`--change` of commit: lines of a Dockerfile that change an image's configuration, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.build.instructions import instruction
from wherry.build.parser import parse
from wherry.build.settings import apply_setting
from wherry.build.state import Arguments, Stage
from wherry.errors import InvalidArgument
from wherry.oci.platform import host_platform

if TYPE_CHECKING:
    from collections.abc import Iterable

ALLOWED = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")


def apply_changes(config: dict[str, Any], lines: Iterable[str]) -> dict[str, Any]:
    """The section of defaults after the lines, each of which may hold several instructions.

    Raises InvalidArgument for an instruction that is no setting, and for what none of them takes.
    """
    stage = Stage("", host_platform())
    stage.config = dict(config)
    for line in lines:
        if not line.strip():
            continue
        parsed = parse(line)
        for node in parsed.nodes:
            if node.instruction.upper() not in ALLOWED:
                raise InvalidArgument(f"{node.instruction.lower()} is not a valid change command")
            apply_setting(instruction(node), stage, Arguments({}, {}), parsed.escape)
    return stage.config
