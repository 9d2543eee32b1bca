"""Packed values: an Any in messages, a record of the store below."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any

from wherry.store.metadata.packed import Packed


def packed(value: Any) -> Packed:
    """Of a message."""
    return Packed(type_url=value.type_url, value=value.value)


def unpacked(value: Packed | None) -> Any | None:
    """In a message."""
    return None if value is None else Any(type_url=value.type_url, value=value.value)
