"""Every error that a room may raise to the room above, in one short hierarchy.

    WherryError
    ├── NotFound            the named thing does not exist
    ├── InvalidArgument     the request makes no sense, whatever the state
    ├── Conflict            the request does not fit the present state
    │   └── AlreadyExists   what is to be made is there already
    ├── NotModified         the state is already as asked
    ├── Unauthorized        who asks is not known
    ├── Forbidden           who asks may not
    ├── Unavailable         try again later, or start what is missing
    ├── Unsupported         not done yet, or not on this machine; the message names it
    ├── Cancelled           the caller gave up
    ├── DeadlineExceeded    it took too long
    ├── DataLoss            what is stored, or was sent, is not what its digest says
    └── Internal            anything else; a defect or the machine

Rooms derive their own errors from these and carry the data as fields. HTTP status, gRPC code and
exit code are the business of the doors (`api/`, `cli/`): one table each. Failures of system calls
stay `OSError`, as `linux/` raises them, until a room knows what they mean for its caller.

Messages are lower case without a full stop, name their subject, and are part of the interface:
scripts match on them.
"""

from __future__ import annotations


class WherryError(Exception):
    """An error with a message for people. `hint` says what to do next, when there is such a thing."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFound(WherryError):
    """The named thing does not exist."""


class InvalidArgument(WherryError):
    """The request makes no sense, whatever the state."""


class Conflict(WherryError):
    """The request does not fit the present state."""


class AlreadyExists(Conflict):
    """What is to be made is there already."""


class NotModified(WherryError):
    """The state is already as asked."""


class Unauthorized(WherryError):
    """Who asks is not known."""


class Forbidden(WherryError):
    """Who asks may not do this."""


class Unavailable(WherryError):
    """Not possible now; it may be later."""


class Unsupported(WherryError):
    """Not done yet, or not possible on this machine; the message names what."""


class Cancelled(WherryError):
    """The caller gave up."""


class DeadlineExceeded(WherryError):
    """It took longer than allowed."""


class DataLoss(WherryError):
    """Bytes are not what their digest says."""


class Internal(WherryError):
    """A defect, or a machine that fails."""


def describe(error: OSError) -> str:
    """A failure of the kernel in one clause: what was tried and why not, «mkdir /x: permission denied»."""
    reason = error.strerror or str(error)
    if ": " in reason or not error.filename:
        return reason
    return f"{error.filename}: {reason.lower()}"


def message_of(error: BaseException) -> str:
    """What clients are told of an error. Failures of the system read as Go's: `/path: no space left on device`."""
    if isinstance(error, WherryError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        subject = f"{error.filename}: " if error.filename else ""
        return subject + error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
