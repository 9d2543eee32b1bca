"""Digests: what is one, and the chain ids that are made of them."""

from __future__ import annotations

import hashlib

import pytest

from wherry.oci.digest import InvalidDigest, chain_id, digest_of, hex_of, is_digest, is_hex_id, parse_digest, sha256_hex

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64


@pytest.mark.parametrize("text", [A, "sha384:" + "0" * 96, "sha512:" + "f" * 128])
def test_a_digest_is_returned_as_it_is(text: str) -> None:
    assert parse_digest(text) == text
    assert is_digest(text)


@pytest.mark.parametrize(("text", "message"), [
    ("", "invalid checksum digest format"),
    ("sha256", "invalid checksum digest format"),
    ("sha256:", "invalid checksum digest format"),
    (":" + "a" * 64, "invalid checksum digest format"),
    ("sha256:" + "A" * 64, "invalid checksum digest format"),
    ("sha256:" + "g" * 64, "invalid checksum digest format"),
    ("sha256:" + "a" * 63, "invalid checksum digest length"),
    ("md5:" + "a" * 32, "unsupported digest algorithm"),
    ("sha256+b64:" + "a" * 64, "unsupported digest algorithm"),
    ("SHA256:" + "a" * 64, "invalid checksum digest format"),
    ("sha256:" + "a" * 64 + "/../x", "invalid checksum digest length"),
])
def test_anything_else_is_refused_in_docker_s_words(text: str, message: str) -> None:
    with pytest.raises(InvalidDigest, match=f"^{message}$"):
        parse_digest(text)
    assert not is_digest(text)


def test_hashing() -> None:
    expected = hashlib.sha256(b"data").hexdigest()
    assert sha256_hex(b"data") == expected
    assert digest_of(b"data") == f"sha256:{expected}"
    assert hex_of(digest_of(b"data")) == expected
    assert is_hex_id(expected)
    assert not is_hex_id(expected[:-1])
    assert not is_hex_id(expected.upper())


def test_a_chain_id_is_its_only_layer_or_the_hash_of_parent_and_layer() -> None:
    assert chain_id([]) == ""
    assert chain_id([A]) == A
    two = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    assert chain_id([A, B]) == two
    assert chain_id([A, B, A]) == "sha256:" + hashlib.sha256(f"{two} {A}".encode()).hexdigest()
