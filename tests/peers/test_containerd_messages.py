"""Our `.proto` files beside the descriptions that the real containerd has compiled in."""

from __future__ import annotations

import importlib
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTAINERD = shutil.which("containerd")
pytestmark = [pytest.mark.peer, pytest.mark.skipif(not CONTAINERD, reason="needs containerd (Debian: containerd)")]
ROOM = Path(importlib.import_module("wherry.proto").__file__ or "").parent
# Shims' own services, which wherry.shim has tables of, and what no client of the API sends.
ELSEWHERE = ("containerd.task.v2", "containerd.services.events.ttrpc.v1", "containerd.runtime.linux.shim.v1", "containerd.linux.runc",
             "containerd.plugin", "containerd.runtime.v1")


def compiled_in() -> Iterator[FileDescriptorProto]:
    """The descriptions of containerd's packages; Go keeps each as a gzip stream."""
    assert CONTAINERD is not None
    program = Path(CONTAINERD).read_bytes()
    at = program.find(b"\x1f\x8b\x08")
    while at >= 0:
        try:
            text = zlib.decompressobj(31).decompress(program[at : at + 200_000])
            found = FileDescriptorProto.FromString(text)
        except Exception:  # noqa: BLE001 (no gzip stream, or of something else)
            found = FileDescriptorProto()
        if found.package.startswith(("containerd", "io.containerd.cgroups")) and found.package not in ELSEWHERE:
            yield found
        at = program.find(b"\x1f\x8b\x08", at + 1)


def messages(of: list[DescriptorProto], prefix: str) -> Iterator[tuple[str, DescriptorProto]]:
    for one in of:
        yield f"{prefix}.{one.name}", one
        yield from messages(list(one.nested_type), f"{prefix}.{one.name}")


def fields(message: DescriptorProto) -> set[tuple[object, ...]]:
    return {(one.name, one.number, one.type, one.label, one.type_name) for one in message.field}


def test_every_message_enum_and_method_is_the_same() -> None:
    for path in ROOM.rglob("*_pb2.py"):
        importlib.import_module(f"wherry.proto.{'.'.join(path.relative_to(ROOM).with_suffix('').parts)}")
    pool, seen = descriptor_pool.Default(), 0
    for file in compiled_in():
        for name, theirs in messages(list(file.message_type), file.package):
            mine = DescriptorProto()
            pool.FindMessageTypeByName(name).CopyToProto(mine)
            assert fields(theirs) <= fields(mine), name
            seen += 1
        for enum in file.enum_type:
            values = EnumDescriptorProto()
            pool.FindEnumTypeByName(f"{file.package}.{enum.name}").CopyToProto(values)
            assert list(values.value) == [type(one)(name=one.name, number=one.number) for one in enum.value]
        for service in file.service:
            described = ServiceDescriptorProto()
            pool.FindServiceByName(f"{file.package}.{service.name}").CopyToProto(described)
            wanted = {(one.name, one.input_type, one.output_type, one.client_streaming, one.server_streaming) for one in service.method}
            assert wanted <= {(one.name, one.input_type, one.output_type, one.client_streaming, one.server_streaming)
                              for one in described.method}, service.name
    assert seen > 150
