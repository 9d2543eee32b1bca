"""What `wherry-runc` says about itself: one line per entry, text or JSON as logrus writes them, since containerd reads them."""

from __future__ import annotations

import os

from wherry.record import Record

_KEPT_FROM = 100


class Log(Record):
    """Where entries go (a path, "" for standard error), in which format («text» or «json»), and whether debugging ones do."""

    path: str = ""
    format: str = "text"
    debug: bool = False

    def check(self) -> None:
        """OSError «open …» when the file cannot be written; it is made when it is not there."""
        if self.path:
            os.close(self._open())

    def keep(self) -> int:
        """A descriptor to append to, out of the way of those with a number: for processes that will have another tree."""
        import fcntl

        fd = self._open() if self.path else 2
        kept = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _KEPT_FROM)
        if fd != 2:
            os.close(fd)
        return kept

    def write(self, level: str, message: str) -> None:
        """Appends one entry. A log that cannot be written is an OSError."""
        line = self.line(level, message)
        if not self.path:
            os.write(2, line)
            return
        fd = self._open()
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    def line(self, level: str, message: str) -> bytes:
        """The entry as it stands in the file."""
        return entry(self.format, level, message, _now()).encode("utf-8", "surrogateescape")

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"open {self.path}") from error


def entry(form: str, level: str, message: str, moment: str) -> str:
    """One line."""
    from wherry.oci import jsontext

    if form == "json":
        return jsontext.dumps({"level": level, "msg": message, "time": moment}) + "\n"
    plain = all(char.isascii() and (char.isalnum() or char in "-._/@^+") for char in message) and message != ""
    return f'time="{moment}" level={level} msg={message if plain else jsontext.dumps(message)}\n'


def _now() -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
