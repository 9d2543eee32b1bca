"""Names of images, in Docker's grammar and with its error texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidArgument
from wherry.oci.reference import InvalidReference, Reference, parse_name, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(("text", "canonical", "familiar"), [
    ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
    ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("index.docker.io/team/app", "docker.io/team/app:latest", "team/app:latest"),
    ("docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("team/app:v1", "docker.io/team/app:v1", "team/app:v1"),
    ("localhost/bench", "localhost/bench:latest", "localhost/bench:latest"),
    ("localhost:5000/a/b/c:x", "localhost:5000/a/b/c:x", "localhost:5000/a/b/c:x"),
    ("127.0.0.1:5000/b", "127.0.0.1:5000/b:latest", "127.0.0.1:5000/b:latest"),
    ("[::1]:5000/b:2", "[::1]:5000/b:2", "[::1]:5000/b:2"),
    ("Registry/app", "Registry/app:latest", "Registry/app:latest"),
    (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
    (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
    ("a.b/c__d-e---f.g", "a.b/c__d-e---f.g:latest", "a.b/c__d-e---f.g:latest"),
    ("a" * 63 + ":" + "T" * 128, "docker.io/library/" + "a" * 63 + ":" + "T" * 128, "a" * 63 + ":" + "T" * 128),
    ("a" * 64 + "x", "docker.io/library/" + "a" * 64 + "x:latest", "a" * 64 + "x:latest"),
])
def test_names_are_normalised_as_docker_does(text: str, canonical: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert (reference.canonical(), reference.familiar()) == (canonical, familiar)
    assert parse_reference(canonical) == parse_reference(familiar) == reference


@pytest.mark.parametrize(("text", "message"), [
    ("", "invalid reference format"),
    (":latest", "invalid reference format"),
    ("busybox:", "invalid reference format"),
    ("busybox@", "invalid reference format"),
    ("busybox:-x", "invalid reference format"),
    ("busybox:" + "t" * 129, "invalid reference format"),
    ("a//b", "invalid reference format"),
    ("a/b/", "invalid reference format"),
    ("-a", "invalid reference format"),
    ("a..b", "invalid reference format"),
    ("a___b", "invalid reference format"),
    ("a b", "invalid reference format"),
    ("a/ü", "invalid reference format"),
    ("x.-y/a", "invalid reference format"),
    ("host:port/a", "invalid reference format"),
    ("busybox@sha256:abc", "invalid reference format"),
    ("../etc/passwd", "invalid reference format"),
    ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
    ("team/App:x", "invalid reference format: repository name (team/App) must be lowercase"),
    ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
    ("h.io/" + "a" * 256, "invalid reference format: repository name must not be more than 255 characters"),
    ("busybox@sha256:" + "a" * 65, "invalid checksum digest length"),
    ("busybox@md5:" + "a" * 32, "unsupported digest algorithm"),
])
def test_bad_names_are_refused_in_docker_s_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_reference(text)
    assert str(caught.value) == message


def test_a_name_without_a_tag_keeps_none() -> None:
    assert parse_name("busybox").tag == ""
    assert parse_name("busybox").with_default_tag().tag == "latest"
    assert parse_name(f"busybox@{DIGEST}").with_default_tag().tag == ""


def test_other_tag_and_digest() -> None:
    reference = parse_reference(f"team/app:1@{DIGEST}")
    assert reference.with_tag("2").familiar() == "team/app:2"
    assert reference.with_digest(DIGEST).familiar() == f"team/app@{DIGEST}"
    with pytest.raises(InvalidReference, match=r"^invalid tag format$"):
        reference.with_tag("no/tag")


@given(st.text(alphabet="aA0.:/@_-[]%é\0", max_size=40))
def test_whatever_is_taken_means_the_same_when_it_is_written_out(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument:  # anything else fails the test
        return
    assert parse_reference(reference.canonical()) == reference
    assert parse_reference(reference.familiar()) == reference
    assert isinstance(reference, Reference)
