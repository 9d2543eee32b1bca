"""One way to print lists: a view knows its columns, and turns items into a table, into lines of JSON or through a template."""

from __future__ import annotations

from wherry.console.table import columns, tabbed
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


class View(Record):
    """`fields` computes each column from (item, how); `headers` names the columns; `methods` are fields with arguments.

    `complaints` go before the message of a template that cannot be parsed, or executed.
    `table` are the columns without `--format`; `go_type` is what Go calls a row in its errors; `raw` is what `--format raw`
    stands for.
    """

    fields: Mapping[str, Callable[[Any, How], Any]]
    headers: Mapping[str, str]
    table: tuple[str, ...]
    go_type: str
    methods: Mapping[str, Callable[[Any, How, list[Any]], Any]] = {}
    raw: str = ""
    complaints: tuple[str, str] = ("template parsing error", "template parsing error")


class How(Record):
    """How to print: whether long texts are cut, the time now, and what a view needs beyond that."""

    truncate: bool = True
    now: float = 0.0
    size: bool = False
    extra: Any = None


class Row:
    """One item as templates see it."""

    def __init__(self, view: View, item: Any, how: How) -> None:
        self._view = view
        self._item = item
        self._how = how
        self.go_type = view.go_type

    def template_field(self, name: str, arguments: list[Any]) -> Any:
        """The value of a column."""
        method = self._view.methods.get(name)
        if method is not None:
            if len(arguments) != 1:
                raise TypeError(f"wrong number of args for {name}: want 1 got {len(arguments)}")
            return method(self._item, self._how, arguments)
        field = self._view.fields[name]
        if arguments:
            raise TypeError(f"wrong number of args for {name}: want 0 got {len(arguments)}")
        return field(self._item, self._how)

    def template_json(self) -> dict[str, Any]:
        """All columns, for `json`."""
        fields = self._view.fields
        return {name: fields[name](self._item, self._how) for name in sorted(fields)}


class _Header:
    go_type = "formatter.SubHeaderContext"

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def template_field(self, name: str, arguments: list[Any]) -> Any:
        if name == "Label" and arguments:
            return str(arguments[0]).rpartition(".")[2].replace("-", " ").replace("_", " ")
        return self._headers.get(name)

    def template_json(self) -> dict[str, Any]:
        return dict(self._headers)


def _unescape(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n")


def render(view: View, items: Sequence[Any], how: How, template: str = "", table: Sequence[str] = ()) -> str:
    """The whole list. `template` is what `--format` says; without it the view's own columns (or `table`) are printed."""
    wanted = template.strip()
    if wanted in ("", "table"):
        names = tuple(table) or view.table
        rows = [[view.headers[name] for name in names]]
        rows += [[str(view.fields[name](item, how)) for name in names] for item in items]
        return columns(rows)
    if wanted == "json":
        from wherry.cli.jsontext import dumps

        return "".join(dumps(Row(view, item, how).template_json(), html=True) + "\n" for item in items)
    if wanted == "raw" and view.raw:
        template = view.raw
    return _templated(view, items, how, template)


def _templated(view: View, items: Sequence[Any], how: How, text: str) -> str:
    from wherry.cli.command import CommandFailed
    from wherry.cli.template import TemplateError, parse

    is_table = text.startswith("table")
    body = _unescape(text[5:].strip(" ") if is_table else text.strip(" "))
    try:
        template = parse(body)
    except TemplateError as wrong:
        raise CommandFailed(f"{view.complaints[0]}: {wrong.message}") from None
    try:
        rows = [template.execute(Row(view, item, how)) + "\n" for item in items]
        if not is_table:
            return "".join(rows)
        header = parse(body, header=True).execute(_Header(view.headers)) + "\n"
    except TemplateError as wrong:
        raise CommandFailed(f"{view.complaints[1]}: {wrong.message}") from None
    return tabbed(header + "".join(rows))
