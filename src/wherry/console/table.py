"""Columns as Go's tabwriter sets them; the widths are docker's unless others are given."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Fill = Callable[[str, int], str]

LEAST_WIDTH = 10
PADDING = 3
TAB_STOP = 8


def columns(rows: Sequence[Sequence[str]], least: int = LEAST_WIDTH, padding: int = PADDING, fill: Fill = str.ljust) -> str:
    """The rows with every cell but the last padded to its column by `fill`.

    A column is as wide as its widest cell in a run of neighbouring rows that have this cell and one more.
    """
    lines = [list(row) for row in rows]
    _align(lines, 0, len(lines), 0, (least, padding, fill))
    return "".join("".join(line) + "\n" for line in lines)


def with_tabs(text: str, width: int) -> str:
    """A cell filled with tabs, its width rounded up to the next stop of eight columns."""
    stops = -(-width // TAB_STOP) * TAB_STOP
    return text + "\t" * -(-(stops - len(text)) // TAB_STOP)


def _align(lines: list[list[str]], start: int, end: int, column: int, layout: tuple[int, int, Fill]) -> None:
    least, padding, fill = layout
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
            lines[one][column] = fill(lines[one][column], width)
        _align(lines, at, stop, column + 1, layout)
        at = stop


def tabbed(text: str, least: int = LEAST_WIDTH, padding: int = PADDING) -> str:
    """Text with tabs between its cells, set in columns; the end of the last line is as it was."""
    ends = text.endswith("\n")
    rows = [line.split("\t") for line in (text[:-1] if ends else text).split("\n")]
    out = columns(rows, least, padding)
    return out if ends else out[:-1]
