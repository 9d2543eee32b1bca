"""BoltDB: a file that dockerd 20.10 wrote (two user networks, many transactions), ours, and damaged ones."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.bolt import Bucket, dump, fnv1a, parse, values
from wherry.errors import DataLoss, NotFound
from wherry.store.foreign import volumes

RECORDED = gzip.decompress((Path(__file__).parent / "local-kv.db.gz").read_bytes())


def test_a_file_of_dockerd_is_read() -> None:
    bucket = parse(RECORDED).bucket(b"libnetwork")
    keys = [key for key, _ in bucket.items()]
    assert keys == sorted(keys)
    networks = {key: value for key, value in bucket.items() if key.startswith(b"docker/network/v1.0/network/")}
    names = {json.loads(value[8:])["name"] for value in networks.values() if not isinstance(value, Bucket)}
    assert names == {"bridge", "host", "none", "mynet", "other"}
    assert bucket.get(keys[0]) is not None
    assert bucket.get(b"missing") is None
    with pytest.raises(NotFound, match='bucket "nothing" does not exist'):
        parse(RECORDED).bucket(b"nothing")


@given(st.dictionaries(st.binary(min_size=1, max_size=9), st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=3000)), max_size=3))
def test_what_is_written_is_read_again(buckets: dict[bytes, dict[bytes, bytes]]) -> None:
    data = dump(buckets)
    assert [name for name, _ in parse(data).items()] == sorted(buckets)
    for name, kept in buckets.items():
        assert list(values(data, name).items()) == sorted(kept.items())
    assert values(data, b"no bucket's name") == {}


def test_what_boltdb_has_not_is_not_written() -> None:
    assert values(b"", b"a") == {}
    with pytest.raises(ValueError, match="none of them empty"):
        dump({b"a": {b"": b"x"}})


def page(number: int, flags: int, count: int, body: bytes, size: int = 4096) -> bytes:
    return (struct.pack("<QHHI", number, flags, count, 0) + body).ljust(size, b"\0")


def meta(number: int, root: int, transaction: int, size: int = 4096) -> bytes:
    body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, size, 0, root, 0, 2, 8, transaction)
    return page(number, 4, 0, body + struct.pack("<Q", fnv1a(body)), size)


def leaf(entries: list[tuple[int, bytes, bytes]]) -> bytes:
    heads, data = b"", b""
    for number, (flags, key, value) in enumerate(entries):
        position = 16 * (len(entries) - number) + len(data)
        heads += struct.pack("<IIII", flags, position, len(key), len(value))
        data += key + value
    return heads + data


def branch(entries: list[tuple[bytes, int]]) -> bytes:
    heads, data = b"", b""
    for number, (key, below) in enumerate(entries):
        heads += struct.pack("<IIQ", 16 * (len(entries) - number) + len(data), len(key), below)
        data += key
    return heads + data


def test_branches_inline_buckets_and_the_newer_meta_page() -> None:
    inline = struct.pack("<QQ", 0, 0) + struct.pack("<QHHI", 0, 2, 1, 0) + leaf([(0, b"x", b"y")])
    data = (meta(0, 5, 7) + meta(1, 3, 8) + page(2, 16, 0, b"") + page(3, 1, 2, branch([(b"a", 4), (b"m", 5)]))
            + page(4, 2, 1, leaf([(0, b"a", b"1")])) + page(5, 2, 2, leaf([(0, b"m", b"2"), (1, b"z", inline)])))  # fmt: skip
    root = parse(data)
    assert [key for key, _ in root.items()] == [b"a", b"m", b"z"]
    assert list(root.bucket(b"z").items()) == [(b"x", b"y")]
    older = parse(data[:4096] + bytes(4096) + data[8192:])  # the newer meta page was lost: the older counts
    assert [key for key, _ in older.items()] == [b"m", b"z"]


def test_damage_is_told() -> None:
    with pytest.raises(DataLoss, match=r"^invalid database$"):
        parse(b"")
    with pytest.raises(DataLoss, match=r"^invalid database$"):
        parse(bytes(20000))
    loop = meta(0, 3, 7) + meta(1, 3, 8) + page(2, 16, 0, b"") + page(3, 1, 1, branch([(b"a", 3)]))
    with pytest.raises(DataLoss, match="nested too deep"):
        list(parse(loop).items())
    beyond = meta(0, 99, 7) + meta(1, 99, 8)
    with pytest.raises(DataLoss, match="beyond its end"):
        list(parse(beyond).items())
    cut = meta(0, 2, 7) + meta(1, 2, 8) + page(2, 2, 200, b"\xff" * 64)
    with pytest.raises(DataLoss):
        list(parse(cut).items())


def test_an_open_file_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    assert volumes(str(tmp_path)) == ()
    (tmp_path / "volumes/metadata.db").write_bytes(b"no database")
    with pytest.raises(DataLoss, match=r"metadata\.db"):
        volumes(str(tmp_path))
