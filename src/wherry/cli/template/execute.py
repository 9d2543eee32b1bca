"""Walks the tree of a template over a value and writes the text."""

from __future__ import annotations

from wherry.cli.template import parser as tree
from wherry.cli.template.functions import FUNCTIONS, HEADER_FUNCTIONS, CallFailed, WrongType, truth
from wherry.cli.template.lexer import TemplateError
from wherry.cli.template.printing import go_type, plain
from wherry.cli.values import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEPTH = 1000


class NoValue:
    """What a map has under a name that is not in it."""

    def __str__(self) -> str:
        return "<no value>"


NO_VALUE = NoValue()


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template.

    `strict` makes a missing name of a map an error, as docker's inspect does; `header` leaves texts as they are.
    """

    def __init__(self, text: str, *, strict: bool = False, header: bool = False, name: str = "") -> None:
        self.name = name
        self.functions = {**FUNCTIONS, **HEADER_FUNCTIONS} if header else FUNCTIONS
        self._source = text
        reader = tree.Parser(text, self.functions)
        self._nodes = reader.parse()
        self._defined = reader.defined
        self.strict = strict

    def execute(self, value: Any) -> str:
        """The text for one value. Raises TemplateError with what was written before in `partial`."""
        out: list[str] = []
        run = _Run(self, out, self.name)
        try:
            run.walk(self._nodes, value, [("$", value)])
        except RecursionError:
            raise TemplateError('template: : executing "": exceeded maximum template depth (100000)') from None
        return "".join(out)

    def named(self, name: str) -> tuple[Any, ...] | None:
        """The body of a template made by `define`."""
        return self._defined.get(name)

    def column(self, offset: int) -> int:
        """The column of a place in the text, from 0."""
        return offset - (self._source.rfind("\n", 0, offset) + 1)


def parse(text: str, *, strict: bool = False, header: bool = False, name: str = "") -> Template:
    """Parses a template. Raises TemplateError."""
    return Template(text, strict=strict, header=header, name=name)


class _Run:
    def __init__(self, template: Template, out: list[str], name: str = "") -> None:
        self.template = template
        self.out = out
        self.name = name

    def fail(self, node: Any, message: str) -> TemplateError:
        place = f"{node.line}:{self.template.column(node.column)}"
        shown = node.text if len(node.text) <= 20 else node.text[:20] + "..."
        return TemplateError(f"template: {self.template.name}:{place}: executing {go_quote(self.name)} at <{shown}>: {message}")

    def walk(self, nodes: tuple[Any, ...], dot: Any, variables: list[tuple[str, Any]]) -> None:
        scope = len(variables)
        for node in nodes:
            if isinstance(node, tree.Text):
                self.out.append(node.text)
            elif isinstance(node, tree.Action):
                value = self.pipe(node.pipe, dot, variables)
                if not node.pipe.declares:
                    self.out.append("<no value>" if value is NO_VALUE or value is None else plain(value))
            elif isinstance(node, tree.Branch):
                self.branch(node, dot, variables)
            elif isinstance(node, tree.Include):
                self.include(node, dot, variables)
            elif isinstance(node, tree.Jump):
                raise _Break if node.kind == "break" else _Continue
        del variables[scope:]

    def include(self, node: tree.Include, dot: Any, variables: list[tuple[str, Any]]) -> None:
        body = self.template.named(node.name)
        if body is None:
            place = f"{node.line}:{self.template.column(node.column)}"
            quoted = go_quote(node.name)
            raise TemplateError(f'template: :{place}: executing "" at <{{{{template {quoted}}}}}>: template {quoted} not defined')
        value = self.pipe(node.pipe, dot, variables) if node.pipe else None
        _Run(self.template, self.out, node.name).walk(body, value, [("$", value)])

    def branch(self, node: tree.Branch, dot: Any, variables: list[tuple[str, Any]]) -> None:
        scope = len(variables)
        value = self.pipe(node.pipe, dot, variables, store=node.kind != "range")
        if node.kind == "range":
            self.range(node, value, dot, variables)
        elif truth(value) and value is not NO_VALUE:
            self.walk(node.body, value if node.kind == "with" else dot, variables)
        else:
            self.walk(node.otherwise, dot, variables)
        del variables[scope:]

    def range(self, node: tree.Branch, value: Any, dot: Any, variables: list[tuple[str, Any]]) -> None:
        if isinstance(value, dict):
            items = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, list):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(one, one) for one in range(value)]
        elif value is None or value is NO_VALUE:
            items = []
        else:
            raise self.fail(node.pipe.commands[0], f"range can't iterate over {plain(value)}")
        if not items:
            self.walk(node.otherwise, dot, variables)
            return
        declares = node.pipe.declares
        for key, one in items:
            scope = len(variables)
            pairs = [(declares[0], one)] if len(declares) == 1 else list(zip(declares, (key, one), strict=False))
            for name, item in pairs:
                self.store(name, item, variables, node.pipe.assigns)
            try:
                self.walk(node.body, one, variables)
            except _Break:
                break
            except _Continue:
                pass
            finally:
                del variables[scope:]

    def store(self, name: str, value: Any, variables: list[tuple[str, Any]], assigns: bool) -> None:
        if not assigns:
            variables.append((name, value))
            return
        for at in range(len(variables) - 1, -1, -1):
            if variables[at][0] == name:
                variables[at] = (name, value)
                return

    def pipe(self, pipe: tree.Pipe, dot: Any, variables: list[tuple[str, Any]], store: bool = True) -> Any:
        value: Any = None
        for at, command in enumerate(pipe.commands):
            value = self.command(command, dot, variables, (value,) if at else ())
        if store:
            for name in pipe.declares:
                self.store(name, value, variables, pipe.assigns)
        return value

    def command(self, command: tree.Call, dot: Any, variables: list[tuple[str, Any]], final: tuple[Any, ...]) -> Any:
        first, *others = command.words
        if isinstance(first, tree.Function):
            return self.function(first, others, dot, variables, final)
        if isinstance(first, tree.FieldPath):
            return self.field(first, others, dot, variables, final)
        if others or final:
            raise self.fail(command, f"can't give argument to non-function {command.text.split(' ')[0]}")
        if isinstance(first, tree.Nil):
            raise self.fail(command, "nil is not a command")
        return self.value(first, dot, variables)

    def value(self, node: Any, dot: Any, variables: list[tuple[str, Any]]) -> Any:
        if isinstance(node, tree.Literal):
            return node.value
        if isinstance(node, tree.Dot):
            return dot
        if isinstance(node, tree.Nil):
            return None
        if isinstance(node, tree.Variable):
            return next(value for name, value in reversed(variables) if name == node.name)
        if isinstance(node, tree.Pipe):
            return self.pipe(node, dot, variables)
        if isinstance(node, tree.Function):
            return self.function(node, [], dot, variables, ())
        return self.field(node, [], dot, variables, ())

    def field(
        self, path: tree.FieldPath, others: list[Any], dot: Any, variables: list[tuple[str, Any]], final: tuple[Any, ...]
    ) -> Any:
        value = dot if path.start is None else self.value(path.start, dot, variables)
        for at, name in enumerate(path.names):
            last = at == len(path.names) - 1
            arguments = [self.value(one, dot, variables) for one in others] + list(final) if last else []
            value = self.member(path, value, name, arguments)
        return value

    def member(self, path: tree.FieldPath, value: Any, name: str, arguments: list[Any]) -> Any:
        if hasattr(value, "template_field"):
            try:
                return value.template_field(name, arguments)
            except KeyError:
                raise self.fail(path, f"can't evaluate field {name} in type {go_type(value)}") from None
            except TypeError as wrong:
                raise self.fail(path, str(wrong)) from None
        if arguments:
            raise self.fail(path, f"{name} is not a method but has arguments")
        if isinstance(value, dict):
            if name in value:
                return value[name]
            if self.template.strict:
                raise self.fail(path, f"map has no entry for key {go_quote(name)}")
            return NO_VALUE
        if value is None or value is NO_VALUE:
            raise self.fail(
                path,
                f"nil data; no entry for key {go_quote(name)}"
                if path.start is None and path.names[0] == name
                else f"nil pointer evaluating interface {{}}.{name}",
            )
        kind = go_type(value) if isinstance(value, str | int | float) else "interface {}"
        raise self.fail(path, f"can't evaluate field {name} in type {kind}")

    def function(
        self, node: tree.Function, others: list[Any], dot: Any, variables: list[tuple[str, Any]], final: tuple[Any, ...]
    ) -> Any:
        function, least, most = self.template.functions[node.name]
        count = len(others) + len(final)
        if count < least or (most >= 0 and count > most):
            wanted = f"at least {least}" if most < 0 else str(least)
            raise self.fail(node, f"wrong number of args for {node.name}: want {wanted} got {count}")
        if node.name in ("and", "or"):  # the rest is evaluated only as far as it matters
            value: Any = None
            for one in others:
                value = self.value(one, dot, variables)
                if truth(value) != (node.name == "and"):
                    return value
            return final[0] if final else value
        arguments = [self.value(one, dot, variables) for one in others] + list(final)
        arguments = [None if one is NO_VALUE else one for one in arguments]
        try:
            return function(*arguments)
        except CallFailed as wrong:
            raise self.fail(node, f"error calling {node.name}: {wrong}") from None
        except WrongType as wrong:
            raise self.fail(node, str(wrong)) from None
