"""What a registry is verified with: the machine's authorities, and what Docker's `certs.d/<host>` adds to them.

    *.crt                 authorities that are trusted beside the machine's
    <name>.cert, .key     a certificate of our own, for registries that ask for one

The folder is looked at for each request, so that a change needs no restart. A registry that may be insecure is not verified,
and gets no certificate of ours.
"""

from __future__ import annotations

import contextlib
import os
import ssl

from wherry.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    State = tuple[tuple[str, int, int], ...]


def state(folder: str) -> State:
    """What tells whether a folder has changed: names, sizes in bytes, times of its files. Empty where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted((entry.name, (found := entry.stat()).st_size, found.st_mtime_ns) for entry in entries))
    except OSError:
        return ()


def context(folder: str) -> ssl.SSLContext:
    """The settings for a registry that is verified. Raises Internal, in Docker's words, for half a pair and for what is none."""
    made = ssl.create_default_context()
    names = [name for name, _, _ in state(folder)]
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending == ".crt":
            with contextlib.suppress(ssl.SSLError):  # no certificate in it: nobody is trusted for that, as Docker does
                made.load_verify_locations(f"{folder}/{name}")
        elif ending == ".cert":
            if f"{stem}.key" not in names:
                raise Internal(f"missing key {stem}.key for client certificate {name}. Note that CA certificates should use the "
                               "extension .crt")
            _load(made, f"{folder}/{stem}")
        elif ending == ".key" and f"{stem}.cert" not in names:
            raise Internal(f"Missing client certificate {stem}.cert for key {name}")
    return made


def add(made: ssl.SSLContext, authorities: Iterable[str], identities: Iterable[tuple[str, str]]) -> None:
    """Adds files that are named one by one: authorities, certificates with their keys. Raises Internal for what is none."""
    try:
        for path in authorities:
            made.load_verify_locations(path)
        for certificate, key in identities:
            made.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise Internal(f"failed to load certificates: {error.strerror or error}") from error


def unverified() -> ssl.SSLContext:
    """The settings for a registry that may be insecure."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def _load(made: ssl.SSLContext, pair: str) -> None:
    try:
        made.load_cert_chain(f"{pair}.cert", f"{pair}.key")
    except ssl.SSLError as error:
        raise Internal("tls: private key does not match public key" if error.reason == "KEY_VALUES_MISMATCH"
                       else "tls: failed to find any PEM data in certificate input") from error
