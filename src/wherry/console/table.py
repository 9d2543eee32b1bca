"""Columns as Go's tabwriter sets them, with the widths docker uses."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_WIDTH = 10
PADDING = 3


def columns(rows: Sequence[Sequence[str]], least: int = LEAST_WIDTH, padding: int = PADDING) -> str:
    """The rows with every cell but the last padded to its column.

    A column is as wide as its widest cell in a run of neighbouring rows that have this cell and one more.
    """
    lines = [list(row) for row in rows]
    _align(lines, 0, len(lines), 0, least, padding)
    return "".join("".join(line) + "\n" for line in lines)


def _align(lines: list[list[str]], start: int, end: int, column: int, least: int, padding: int) -> None:
    at = start
    while at < end:
        if len(lines[at]) <= column + 1:
            at += 1
            continue
        stop = at
        while stop < end and len(lines[stop]) > column + 1:
            stop += 1
        widest = max(len(lines[one][column]) for one in range(at, stop))
        width = max(widest + padding, least) if widest else least or 0
        for one in range(at, stop):
            lines[one][column] = lines[one][column].ljust(width)
        _align(lines, at, stop, column + 1, least, padding)
        at = stop


def tabbed(text: str, least: int = LEAST_WIDTH, padding: int = PADDING) -> str:
    """Text with tabs between its cells, set in columns; the end of the last line is as it was."""
    ends = text.endswith("\n")
    rows = [line.split("\t") for line in (text[:-1] if ends else text).split("\n")]
    out = columns(rows, least, padding)
    return out if ends else out[:-1]
