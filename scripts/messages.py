"""hatchling's build hook: makes Python modules (and their types) of the `.proto` files below src/wherry/proto.

Runs with every `pip install .`, `pip install -e .` and wheel; the modules lie beside their `.proto` files and are not kept in
git. So a changed `.proto` file needs one `pip install -e '.[containerd]'`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import google.rpc
import grpc_tools
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUFFIXES = ("_pb2.py", "_pb2.pyi")


class MessagesHook(BuildHookInterface[Any]):
    """Found by hatchling as the only hook class of this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Before the wheel (or, for an editable installation, the link to the source tree) is made."""
        generate(Path(self.root, "src"))
        build_data["artifacts"] += [f"src/wherry/proto/**/*{suffix}" for suffix in SUFFIXES]


def generate(source: Path) -> None:
    """Replaces every generated module, each atomically, since programs may be running from this tree."""
    room = source / "wherry/proto"
    wanted = sorted(str(path.relative_to(source)) for path in room.rglob("*.proto"))
    google_types = Path(grpc_tools.__file__).parent / "_proto"
    google_rpc = Path(next(iter(google.rpc.__path__))).parents[1]
    with tempfile.TemporaryDirectory(dir=source, prefix=".messages-") as fresh:
        status = protoc.main(["protoc", f"-I{source}", f"-I{google_types}", f"-I{google_rpc}",
                              f"--python_out={fresh}", f"--pyi_out={fresh}", *wanted])
        if status != 0:
            raise SystemExit(f"protoc failed with status {status}")
        made = {str(path.relative_to(fresh)) for path in Path(fresh).rglob("*_pb2.py*")}
        for name in made:
            os.replace(f"{fresh}/{name}", source / name)
    for suffix in SUFFIXES:
        for path in room.rglob(f"*{suffix}"):
            if str(path.relative_to(source)) not in made:
                path.unlink()
