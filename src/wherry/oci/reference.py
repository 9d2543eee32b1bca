"""Names of images: `registry:5000/team/app:1.0@sha256:…`, parsed, normalised and shortened as Docker does.

    reference := [domain "/"] path [":" tag] ["@" digest]
    domain    := host [":" port]          host: dotted components, or an IPv6 address in brackets
    path      := component ("/" component)*       lower case; separators . _ __ and any number of -
    tag       := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}

Source: the grammar in github.com/distribution/reference, and Docker's normalisation on top of it (a first part that
is neither `localhost` nor has a dot, a colon or an upper-case letter is no domain; `docker.io` and `library/` are
implied).
Written by hand, without `re`, because the command line starts cold.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.oci.digest import is_hex_id, parse_digest
from wherry.record import Record

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
MAX_NAME = 255
MAX_TAG = 128

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALPHANUMERIC = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG = _ALPHANUMERIC | frozenset("_.-")
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")


class InvalidReference(InvalidArgument):
    """Text that does not name an image."""


class Reference(Record):
    """A normalised name. `tag` and `digest` are "" where not given; `name` is domain and path together."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as Docker shows it, without `docker.io/` and `library/`: `busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        path = self.path
        if path.startswith(OFFICIAL) and "/" not in path[len(OFFICIAL) :]:
            path = path[len(OFFICIAL) :]
        return path

    def familiar(self) -> str:
        """The reference as Docker shows it: `busybox:latest`, `busybox@sha256:…`."""
        return self.familiar_name + self._suffix()

    def canonical(self) -> str:
        """The reference in full: `docker.io/library/busybox:latest`."""
        return self.name + self._suffix()

    def with_default_tag(self) -> Reference:
        """The same reference, with `latest` where it has neither tag nor digest."""
        return self if self.tag or self.digest else self.replace(tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same name with this tag and no digest. Raises InvalidReference."""
        if not _is_tag(tag):
            raise InvalidReference("invalid tag format")
        return Reference(domain=self.domain, path=self.path, tag=tag)

    def with_digest(self, digest: str) -> Reference:
        """The same name with this digest and no tag. Raises InvalidDigest."""
        return Reference(domain=self.domain, path=self.path, digest=parse_digest(digest))

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.canonical()


def parse_reference(text: str) -> Reference:
    """The reference that `text` means, with the tag `latest` where it has neither tag nor digest.

    Raises InvalidReference in Docker's words; InvalidDigest for a digest of unknown algorithm or wrong length.
    """
    return parse_name(text).with_default_tag()


def parse_name(text: str) -> Reference:
    """As parse_reference, but a missing tag stays missing (`pull --all-tags`, `images NAME`)."""
    if is_hex_id(text):
        raise InvalidReference(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    path_only = remainder.partition(":")[0]
    if path_only.lower() != path_only:
        raise InvalidReference(f"invalid reference format: repository name ({path_only}) must be lowercase")
    rest, at, digest = remainder.partition("@")
    path, colon, tag = rest.partition(":")
    if (
        not _is_domain(domain)
        or not _is_path(path)
        or (colon and not _is_tag(tag))
        or (at and not _looks_like_digest(digest))
    ):
        raise InvalidReference("invalid reference format")
    if len(path) > MAX_NAME:
        raise InvalidReference(f"invalid reference format: repository name must not be more than {MAX_NAME} characters")
    if digest:
        parse_digest(digest)
    return Reference(domain=domain, path=path, tag=tag, digest=digest)


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first.lower() != first):
        domain, remainder = (DEFAULT_DOMAIN if first == LEGACY_DOMAIN else first), rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = OFFICIAL + remainder
    return domain, remainder


def _is_domain(text: str) -> bool:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or not host or not (_HEX | {":"}).issuperset(host):
            return False
        return not port or (port[0] == ":" and len(port) > 1 and _DIGITS.issuperset(port[1:]))
    host, colon, port = text.partition(":")
    if colon and (not port or not _DIGITS.issuperset(port)):
        return False
    return all(
        part and (_ALPHANUMERIC | {"-"}).issuperset(part) and part[0] != "-" and part[-1] != "-"
        for part in host.split(".")
    )


def _is_path(text: str) -> bool:
    return all(_is_component(component) for component in text.split("/"))


def _is_component(text: str) -> bool:
    """Runs of lower-case letters and digits, between them one `.`, one or two `_`, or any number of `-`."""
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    separator = ""
    for letter in text:
        if letter not in _LOWER:
            separator += letter
            continue
        if separator not in ("", ".", "_", "__") and separator.strip("-"):
            return False
        separator = ""
    return True


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= MAX_TAG and text[0] not in ".-" and _TAG.issuperset(text)


def _looks_like_digest(text: str) -> bool:
    """The grammar's looser form; what it lets through is judged by parse_digest, whose errors say more."""
    algorithm, colon, encoded = text.partition(":")
    parts = algorithm.replace("+", ".").replace("_", ".").replace("-", ".").split(".")
    letters = all(part and part[0] in _ALPHANUMERIC - _DIGITS and _ALPHANUMERIC.issuperset(part) for part in parts)
    return bool(colon) and letters and len(encoded) >= 32 and _HEX.issuperset(encoded)
