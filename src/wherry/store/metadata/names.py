"""The grammar of names and labels in containerd's API. Pure; messages are containerd's."""

from __future__ import annotations

import re

from wherry.errors import InvalidArgument
from wherry.oci.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

_LONGEST: Final = 76
_PATTERN: Final = r"^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"
_IDENTIFIER: Final = re.compile(_PATTERN[1:-1], re.ASCII)
_LONGEST_LABEL: Final = 4096


def check_identifier(name: str, subject: str = "") -> str:
    """`name` itself, if it may name a namespace, a container or a part of a topic. Raises InvalidArgument about `subject`."""
    prefix = f"{subject}: " if subject else ""
    if not name:
        raise InvalidArgument(f"{prefix}identifier must not be empty: invalid argument")
    if len(name.encode()) > _LONGEST:
        raise InvalidArgument(f"{prefix}identifier {quote(name)} greater than maximum length ({_LONGEST} characters): "
                              "invalid argument")
    if not _IDENTIFIER.fullmatch(name):
        raise InvalidArgument(f"{prefix}identifier {quote(name)} must match {_PATTERN}: invalid argument")
    return name


def check_labels(labels: Mapping[str, str], subject: str) -> None:
    """Raises InvalidArgument about `subject` for a label that is too long; key and value count together, in bytes."""
    for key, value in labels.items():
        if len(key.encode()) + len(value.encode()) > _LONGEST_LABEL:
            raise InvalidArgument(f"{subject}: label key and value greater than maximum size ({_LONGEST_LABEL} bytes), "
                                  f"key: {key[:10]}: invalid argument")


def kept(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that are kept: an empty one is none."""
    return {key: value for key, value in labels.items() if value}


def updated_labels(present: Mapping[str, str], given: Mapping[str, str], path: str) -> dict[str, str] | None:
    """The labels after an update of `path`: all are replaced by `labels`, one by `labels.NAME`. None: the path is another's."""
    if path == "labels":
        return kept(given)
    if path.startswith("labels."):
        key = path.removeprefix("labels.")
        return kept({**present, key: given.get(key, "")})
    return None
