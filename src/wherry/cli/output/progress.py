"""The daemon's progress messages: bars that move on a terminal, plain lines elsewhere."""

from __future__ import annotations

from wherry.console.units import size
from wherry.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Message = dict[str, Any]

BAR = 50
WIDE = 110


class ProgressError(Internal):
    """The work that was being shown failed; the message is the daemon's. `code` is its exit code where it has one."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


def bar(detail: dict[str, Any], width: int, now: float) -> str:
    """`[====>   ]  1.2MB/4.5MB` as wide as the terminal allows; empty when nothing is known."""
    current, total = detail.get("current") or 0, detail.get("total") or 0
    unit = detail.get("units") or ""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{current} {unit}" if unit else f"{size(current):>8}"
    share = min(int(current / total * 100) // 2, BAR)
    box = f"[{'=' * share}>{' ' * (BAR - share)}] " if width > WIDE else ""
    numbers = ""
    if not detail.get("hidecounts"):
        if unit:
            numbers = f"{current}/{total} {unit}" if current <= total else f"{current} {unit}"
        else:
            numbers = f"{size(current):>8}/{size(total)}" if current <= total else f"{size(current):>8}"
    left = ""
    start = detail.get("start") or 0
    if current > 0 and start > 0 and share < BAR and width > 50:
        left = f" {int((total - current) * (now - start) / current)}s"
    return box + numbers + left


class ProgressScreen:
    """Shows messages one after the other. `write` gets the text; `columns` is the terminal's width, 0 for no terminal."""

    def __init__(self, write: Callable[[str], None], columns: int = 0) -> None:
        self._write = write
        self._columns = columns
        self._rows: dict[str, int] = {}

    def show_all(self, messages: Iterable[Message], aux: Callable[[Any], None] | None = None) -> None:
        """Shows everything. Raises ProgressError at the first error among the messages."""
        for message in messages:
            if message.get("aux") is not None:
                if aux is not None:
                    aux(message["aux"])
                continue
            self.show(message)

    def show(self, message: Message) -> None:
        """Shows one message."""
        detail = message.get("progressDetail") or {}
        identifier = message.get("id") or ""
        moving = bool(detail) or bool(message.get("progress"))
        up = 0
        if identifier and moving:
            row = self._rows.get(identifier)
            if row is None:
                row = self._rows[identifier] = len(self._rows)
                if self._columns:
                    self._write("\n")
            up = len(self._rows) - row
            if self._columns and up:
                self._write(f"\x1b[{up}A")
        else:
            self._rows.clear()
        self._line(message, detail, identifier)
        if up and self._columns:
            self._write(f"\x1b[{up}B")

    def _line(self, message: Message, detail: dict[str, Any], identifier: str) -> None:
        error = message.get("errorDetail") or ({"message": message["error"]} if message.get("error") else None)
        if error:
            if error.get("code") == 401:
                raise ProgressError("authentication is required", 401)
            raise ProgressError(str(error.get("message") or message.get("error") or ""), int(error.get("code") or 0))
        import time

        shown = bar(detail, self._columns or 200, time.time()) if detail else ""
        end = ""
        if self._columns and not message.get("stream") and "progressDetail" in message:
            self._write("\x1b[2K\r")
            end = "\r"
        elif shown and not self._columns:
            return
        text = f"{identifier}: " if identifier else ""
        if message.get("from"):
            text += f"(from {message['from']}) "
        if message.get("stream"):
            text += f"{message['stream']}{end}"
        elif "progressDetail" in message and self._columns:
            text += f"{message.get('status', '')} {shown}{end}"
        else:
            text += f"{message.get('status', '')}{end}\n"
        self._write(text)
