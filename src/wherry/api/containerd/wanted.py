"""Filters as the services for lists take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidArgument
from wherry.store.metadata.filters import parse_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.store.metadata.filters import Filter


def wanted(texts: Iterable[str]) -> Filter:
    """What a list lets through. Raises InvalidArgument in the words of containerd's lists, which name the code twice."""
    try:
        return parse_all(texts)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.message}: invalid argument") from None
