"""Platforms: names, and which entry of an index suits."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidArgument, NotFound
from wherry.oci.image import Descriptor, Platform
from wherry.oci.platform import matches, normalize, parse_platform, select


@pytest.mark.parametrize(("text", "expected"), [
    ("linux/amd64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"),
    ("linux/arm/v6", "linux/arm/v6"), ("aarch64", "linux/arm64"), ("Linux/ARM64", "linux/arm64"), ("windows/amd64", "windows/amd64"),
    ("armhf", "linux/arm/v7"),
])
def test_parse(text: str, expected: str) -> None:
    assert str(parse_platform(text)) == expected


@pytest.mark.parametrize(("text", "said"), [
    ("", '"" is an invalid component of ""'), ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier'), ("/", '"" is an invalid component of "/"'),
    ("linux/", '"" is an invalid component of "linux/"'), ("linux/amd 64", '"amd 64" is an invalid component of "linux/amd 64"')])
def test_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{said}.*: invalid argument$"):
        parse_platform(text)


def entry(text: str, digest: str) -> Descriptor:
    os, architecture, *variant = text.split("/")
    return Descriptor(media_type="m", digest=digest, size=1,
                      platform=Platform(os=os, architecture=architecture, variant=variant[0] if variant else ""))


def test_select_prefers_the_nearest_variant() -> None:
    entries = [entry("linux/amd64", "a"), entry("linux/arm/v5", "5"), entry("linux/arm/v6", "6"), entry("linux/arm64/v8", "64")]
    assert select(entries, parse_platform("linux/arm/v7")).digest == "6"
    assert select(entries, parse_platform("linux/arm/v5")).digest == "5"
    assert select(entries, parse_platform("linux/arm64")).digest == "64"
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x"):
        select(entries, parse_platform("linux/s390x"))


def test_matches() -> None:
    assert matches(parse_platform("linux/arm64"), Platform(os="linux", architecture="arm64", variant="v8"))
    assert matches(parse_platform("linux/amd64"), Platform(os="", architecture=""))
    assert not matches(parse_platform("linux/amd64"), Platform(os="linux", architecture="arm64"))
    assert normalize(Platform(os="linux", architecture="armhf")).variant == "v7"
