"""A failing gRPC status as one of the house's errors, with the text that containerd's own client would show."""

from __future__ import annotations

from wherry import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Status, our class, the words that containerd's client ends such an error with.
_STATUS: Mapping[str, tuple[type[errors.WherryError], str]] = {
    "INVALID_ARGUMENT": (errors.InvalidArgument, "invalid argument"),
    "ALREADY_EXISTS": (errors.AlreadyExists, "already exists"),
    "NOT_FOUND": (errors.NotFound, "not found"),
    "UNAVAILABLE": (errors.Unavailable, "unavailable"),
    "FAILED_PRECONDITION": (errors.Conflict, "failed precondition"),
    "UNIMPLEMENTED": (errors.Unsupported, "not implemented"),
    "CANCELLED": (errors.Cancelled, "context canceled"),
    "DEADLINE_EXCEEDED": (errors.DeadlineExceeded, "context deadline exceeded"),
}


def from_status(code: str, details: str) -> errors.WherryError:
    """The error; `code` is the status by name (`NOT_FOUND`)."""
    kind, words = _STATUS.get(code, (errors.Internal, "unknown"))
    if code == "DEADLINE_EXCEEDED":
        details = ""  # the library's own words, not the daemon's
    text = details.removesuffix(f": {words}")
    return kind(f"{text}: {words}" if text and text != words else words)
