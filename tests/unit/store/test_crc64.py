"""CRC-64 by folding, against the definition bit by bit."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.store.crc64 import _BLOCK, crc64

POLYNOMIAL = 0xD800000000000000  # ISO 3309, reflected


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


TABLE = _table()


def by_definition(data: bytes, crc: int = 0) -> int:
    crc ^= 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def test_the_published_check_value() -> None:
    assert crc64(b"123456789") == 0xB90956C775A41001


@given(st.binary(max_size=600), st.binary(max_size=100))
def test_it_is_the_checksum_by_definition_also_in_pieces(first: bytes, second: bytes) -> None:
    assert crc64(second, crc64(first)) == by_definition(first + second)


@pytest.mark.parametrize("size", [_BLOCK - 1, 2 * _BLOCK - 1, 2 * _BLOCK, 2 * _BLOCK + 1, 3 * _BLOCK, 5 * _BLOCK + 77])
def test_long_data_is_folded_block_by_block(size: int) -> None:
    data = os.urandom(size)
    assert crc64(data) == by_definition(data)
    assert crc64(memoryview(data)[100:], crc64(data[:100])) == by_definition(data)
