"""Digests: `sha256:<hex>` as plain strings, checked once where they enter the house.

Source: image-spec «Digests» (descriptor.md). `sha256` is what this house writes; `sha384` and `sha512` are
accepted where the format allows them.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# The tar of a layer that changes nothing: two blocks of zeros.
EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}

_HEX = frozenset("0123456789abcdef")
_ALPHANUMERIC = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


class InvalidDigest(InvalidArgument):
    """Text that is not a digest, or one of an algorithm that nobody here computes."""


def parse_digest(text: str) -> str:
    """`text` itself when it is `<algorithm>:<hex>` with a known algorithm. Raises InvalidDigest (go-digest's words)."""
    algorithm, colon, encoded = text.partition(":")
    if not colon or not _is_algorithm(algorithm) or not encoded:
        raise InvalidDigest("invalid checksum digest format")
    length = HEX_DIGITS.get(algorithm)
    if length is None:
        raise InvalidDigest("unsupported digest algorithm")
    if len(encoded) != length:
        raise InvalidDigest("invalid checksum digest length")
    if not _HEX.issuperset(encoded):
        raise InvalidDigest("invalid checksum digest format")
    return text


def is_digest(text: str) -> bool:
    """Whether `parse_digest` takes it."""
    try:
        parse_digest(text)
    except InvalidDigest:
        return False
    return True


def is_hex_id(text: str) -> bool:
    """Whether `text` is 64 lower-case hexadecimal digits: the form of image and container ids."""
    return len(text) == 64 and _HEX.issuperset(text)


def hex_of(digest: str) -> str:
    """The part after the colon."""
    return digest.partition(":")[2]


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of `data` as 64 hexadecimal digits."""
    from hashlib import sha256  # late: the cold path imports this module for parsing alone

    return sha256(data).hexdigest()


def digest_of(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return "sha256:" + sha256_hex(data)


def chain_id(diff_ids: Iterable[str]) -> str:
    """The chain id of a stack of layers, lowest first; "" of none. Source: image-spec config.md, «Layer ChainID»."""
    chain = ""
    for diff_id in diff_ids:
        chain = next_chain_id(chain, diff_id)
    return chain


def next_chain_id(parent: str, diff_id: str) -> str:
    """The chain id of the layer `diff_id` on the stack whose chain id is `parent` ("" for the lowest layer)."""
    return digest_of(f"{parent} {diff_id}".encode()) if parent else diff_id


def _is_algorithm(text: str) -> bool:
    parts = text.replace("+", ".").replace("_", ".").replace("-", ".").split(".")
    return all(part and _ALPHANUMERIC.issuperset(part) for part in parts)
