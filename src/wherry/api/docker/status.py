"""The one table from the house's errors to HTTP status, and the body that goes with it."""

from __future__ import annotations

from wherry import errors
from wherry.api.docker.http import Response

STATUS: dict[type[errors.WherryError], int] = {
    errors.NotFound: 404,
    errors.InvalidArgument: 400,
    errors.Conflict: 409,
    errors.NotModified: 304,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.Unavailable: 503,
    errors.Unsupported: 501,
    # As dockerd: no client reads 499, and a deadline of ours is the server's failure.
    errors.Cancelled: 500,
    errors.DeadlineExceeded: 500,
    errors.DataLoss: 500,
    errors.Internal: 500,
}


def status_of(error: BaseException) -> int:
    """The status of an error: that of its nearest class in the table, 500 for what is not ours."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def error_response(error: BaseException) -> Response:
    """`{"message": …}` with the right status. NotModified has no body, because 304 cannot have one."""
    status = status_of(error)
    if status == 304:
        return Response(304)
    return Response.json({"message": errors.message_of(error)}, status)
