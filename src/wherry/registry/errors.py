"""A registry's answers and a network's failures, turned into the house's errors in Docker's words.

code in the body (distribution-spec «Error Codes»)      our class
UNAUTHORIZED                                            Unauthorized
DENIED                                                  Forbidden
MANIFEST_UNKNOWN NAME_UNKNOWN BLOB_UNKNOWN              NotFound
TOOMANYREQUESTS, 5xx, no answer                         Unavailable
anything else                                           Internal
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import socket
import ssl
from urllib.parse import urlsplit

from wherry import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

_BY_CODE: Mapping[str, type[errors.WherryError]] = {
    "UNAUTHORIZED": errors.Unauthorized,
    "DENIED": errors.Forbidden,
    "MANIFEST_UNKNOWN": errors.NotFound,
    "NAME_UNKNOWN": errors.NotFound,
    "BLOB_UNKNOWN": errors.NotFound,
    "TAG_INVALID": errors.InvalidArgument,
    "NAME_INVALID": errors.InvalidArgument,
    "MANIFEST_INVALID": errors.InvalidArgument,
    "TOOMANYREQUESTS": errors.Unavailable,
    "UNAVAILABLE": errors.Unavailable,
}
# Reasons of openssl-verification(1) for not taking a certificate.
_WRONG_TIME, _WRONG_NAME, _UNKNOWN = (9, 10), (62, 64), (2, 18, 19, 20, 21)
# What connect(2) says of the way there.
_CONNECTING = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)
_BY_STATUS: Mapping[int, type[errors.WherryError]] = {
    400: errors.InvalidArgument,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    429: errors.Unavailable,
}


def _entries(body: bytes) -> list[tuple[str, str]]:
    """(code, message) of each error in a registry's error body; empty when it is no such body."""
    try:
        listed = json.loads(body)["errors"]
        return [(str(one.get("code", "UNKNOWN")), str(one.get("message", ""))) for one in listed]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def from_response(status: int, body: bytes) -> errors.WherryError:
    """The error that an answer with a failing status means; `body` is at most a few KiB of it."""
    entries = _entries(body)
    if not entries:
        kind = _BY_STATUS.get(status, errors.Unavailable if status >= 500 else errors.Internal)
        text = body[:200].decode("utf-8", "replace").strip()
        return kind(f"received unexpected HTTP status: {status}" + (f": {text}" if text else ""))
    code, message = entries[0]
    kind = _BY_CODE.get(code, _BY_STATUS.get(status, errors.Unavailable if status >= 500 else errors.Internal))
    return kind(f"{code.lower().replace('_', ' ')}: {message or code.lower().replace('_', ' ')}")


def from_network(method: str, url: str, failure: BaseException) -> errors.WherryError:
    """The error that no answer at all means, with the innermost cause in Go's and so Docker's wording."""
    return errors.Unavailable(f'{method.capitalize()} "{url}": {_cause(failure, urlsplit(url))}')


def _cause(failure: BaseException, url: SplitResult) -> str:
    """The last link of a chain of exceptions, as Go's net package words it."""
    seen: set[int] = set()
    current: BaseException = failure
    while id(current) not in seen:
        seen.add(id(current))
        told = [one for one in (getattr(current, "reason", None), *current.args) if isinstance(one, BaseException)]
        inner = told[0] if told else current.__cause__ or current.__context__
        if inner is None:
            break
        current = inner
    if isinstance(current, socket.gaierror):
        known = {socket.EAI_NONAME: "no such host", socket.EAI_NODATA: "no such host"}
        return f"dial tcp: lookup {url.hostname}: {known.get(current.errno or 0, current.strerror)}"
    if isinstance(current, OSError) and current.errno in _CONNECTING:
        return f"dial tcp {_address(url)}: connect: {os.strerror(current.errno).lower()}"
    if isinstance(current, TimeoutError):
        return "i/o timeout"
    if isinstance(current, http.client.RemoteDisconnected) or "(EOF)" in str(current):
        return "EOF"
    if isinstance(current, ConnectionResetError):
        return "connection reset by peer"
    if isinstance(current, ssl.SSLCertVerificationError):
        return _mistrust(current, url)
    text = str(current) or type(current).__name__
    if alert := re.search(r"ALERT_([A-Z_]+)", text):
        return f"remote error: tls: {alert[1].replace('_CA', '_CERTIFICATE_AUTHORITY').replace('_', ' ').lower()}"
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text.lower() or "HTTP_REQUEST" in text:
        return "http: server gave HTTP response to HTTPS client"
    if "IncompleteRead" in text:
        return "unexpected EOF"
    return text


def _mistrust(failure: ssl.SSLCertVerificationError, url: SplitResult) -> str:
    """What Go says of a certificate that is not taken."""
    if failure.verify_code in _WRONG_TIME:
        return "x509: certificate has expired or is not yet valid"
    if failure.verify_code in _WRONG_NAME:
        return f"x509: certificate is not valid for {url.hostname}"
    if failure.verify_code in _UNKNOWN:
        return "x509: certificate signed by unknown authority"
    return f"x509: {failure.verify_message}"


def _address(url: SplitResult) -> str:
    """Host and port of a URL."""
    return url.netloc.rpartition("@")[2] if url.port else f"{url.netloc}:{443 if url.scheme == 'https' else 80}"
