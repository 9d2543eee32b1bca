"""The one table from the house's errors to gRPC's codes.

Messages are passed on as they are: rooms of this API end theirs with containerd's word for the code (`: not found`), as
clients match on both.
"""

from __future__ import annotations

from grpc import StatusCode

from wherry import errors


class OutOfRange(errors.InvalidArgument):
    """An offset beyond what there is."""


CODES: dict[type[errors.WherryError], StatusCode] = {
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.InvalidArgument: StatusCode.INVALID_ARGUMENT,
    OutOfRange: StatusCode.OUT_OF_RANGE,
    errors.AlreadyExists: StatusCode.ALREADY_EXISTS,
    errors.Conflict: StatusCode.FAILED_PRECONDITION,
    errors.NotModified: StatusCode.FAILED_PRECONDITION,
    errors.Unauthorized: StatusCode.UNAUTHENTICATED,
    errors.Forbidden: StatusCode.PERMISSION_DENIED,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.Unsupported: StatusCode.UNIMPLEMENTED,
    errors.Cancelled: StatusCode.CANCELLED,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: StatusCode.DATA_LOSS,
}


def code_of(error: BaseException) -> StatusCode:
    """The code of an error: that of its nearest class in the table; UNKNOWN, as Go's server gives it, for others."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), StatusCode.UNKNOWN)
