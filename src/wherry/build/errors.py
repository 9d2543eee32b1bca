"""What can be wrong with a Dockerfile; every error names its line.

StepFailed             a step could not be done
DockerfileError        the file itself: `dockerfile parse error line 3: …`
"""

from __future__ import annotations

from wherry.errors import InvalidArgument, WherryError


class DockerfileError(InvalidArgument):
    """The Dockerfile cannot be read; `line` counts from 1, 0 where it concerns the whole file."""

    def __init__(self, message: str, line: int = 0) -> None:
        where = f" line {line}" if line else ""
        super().__init__(f"dockerfile parse error{where}: {message}")
        self.line = line
        self.reason = message


class StepFailed(WherryError):
    """A step could not be done. `code` is the exit code of a RUN, else 1; `cause` says what kind of error it is."""

    def __init__(self, message: str, line: int, *, code: int = 1, cause: WherryError | None = None) -> None:
        super().__init__(f"{message} (Dockerfile line {line})")
        self.line = line
        self.code = code
        self.cause = cause
