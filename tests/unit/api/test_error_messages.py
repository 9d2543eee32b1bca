"""What clients read when something fails."""

from __future__ import annotations

import errno
import os

import pytest

from wherry.api.docker.status import error_response
from wherry.errors import NotFound, message_of


@pytest.mark.parametrize(("error", "message"), [
    (NotFound("No such image: x:latest"), "No such image: x:latest"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/file"), "/data/file: no space left on device"),
    (OSError(errno.EPERM, os.strerror(errno.EPERM)), "operation not permitted"),
    (ConnectionResetError("the client went away"), "the client went away"),
    (KeyError("name"), "'name'"),
    (AssertionError(), "AssertionError"),
])
def test_messages(error: Exception, message: str) -> None:
    assert message_of(error) == message


def test_what_is_not_ours_is_500() -> None:
    answer = error_response(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"))
    assert (answer.status, answer.body) == (500, b'{"message":"/x: no space left on device"}\n')
