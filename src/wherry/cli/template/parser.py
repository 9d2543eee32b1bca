"""Tokens to a tree: pipelines of commands, and the blocks if, with, range, define, template."""

from __future__ import annotations

from wherry.cli.template.lexer import Token, fail, tokens
from wherry.cli.values import go_quote
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any


class Literal(Record):
    """A constant; `text` is how it was written."""

    value: Any
    text: str


class Dot(Record):
    """The dot."""

    text: str = "."


class Nil(Record):
    """The word nil."""

    text: str = "nil"


class FieldPath(Record):
    """`.a.b`, `$x.a`, `(…).a`: a start (None for the dot) and names."""

    start: Any
    names: tuple[str, ...]
    text: str
    line: int
    column: int


class Variable(Record):
    """A variable, `$x`."""

    name: str
    text: str


class Function(Record):
    """The name of a function."""

    name: str
    text: str
    line: int
    column: int


class Call(Record):
    """One command of a pipeline: its words."""

    words: tuple[Any, ...]
    text: str
    line: int
    column: int


class Pipe(Record):
    """Commands, each of which gets the result of the one before as its last argument; and the variables that take the result."""

    commands: tuple[Call, ...]
    declares: tuple[str, ...]
    assigns: bool
    text: str


class Text(Record):
    """Text outside of braces."""

    text: str


class Action(Record):
    """A pipeline whose value is printed."""

    pipe: Pipe
    line: int


class Branch(Record):
    """`if`, `with` or `range`."""

    kind: str
    pipe: Pipe
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]


class Include(Record):
    """The action `{{template "name" pipeline}}`."""

    name: str
    pipe: Pipe | None
    line: int
    column: int


class Jump(Record):
    """`break` or `continue`."""

    kind: str


class Parser:
    """Reads one template; `defined` holds the templates made by `define` and `block`."""

    def __init__(self, text: str, functions: Collection[str]) -> None:
        self._tokens = list(tokens(text))
        self._at = 0
        self._functions = functions
        self._variables = ["$"]
        self._loops = 0
        self.defined: dict[str, tuple[Any, ...]] = {}

    def parse(self) -> tuple[Any, ...]:
        """The nodes of the whole template."""
        nodes, stop = self._block(())
        if stop:
            raise fail(self._line(), f"unexpected {{{{{stop}}}}}")
        return nodes

    def _line(self) -> int:
        return self._tokens[min(self._at, len(self._tokens) - 1)].line if self._tokens else 1

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> Token:
        token = self._peek()
        if token is None:
            raise fail(self._line(), "unexpected EOF")
        self._at += 1
        return token

    def _solid(self) -> Token:
        token = self._next()
        while token.kind == "space":
            token = self._next()
        return token

    def _see(self) -> Token | None:
        while (token := self._peek()) and token.kind == "space":
            self._at += 1
        return token

    def _unexpected(self, token: Token, where: str) -> Exception:
        shown = f"<{token.text}>" if token.kind == "keyword" else go_quote(token.text)
        return fail(token.line, f"unexpected {shown} in {where}")

    def _block(self, stops: tuple[str, ...]) -> tuple[tuple[Any, ...], str]:
        nodes: list[Any] = []
        while True:
            token = self._peek()
            if token is None:
                if stops:
                    raise fail(self._line(), "unexpected EOF")
                return tuple(nodes), ""
            self._at += 1
            if token.kind == "text":
                nodes.append(Text(text=token.text))
                continue
            following = self._see()
            if following is not None and following.kind == "keyword":
                word = following.text
                if word in ("end", "else"):
                    if word not in stops:
                        raise fail(following.line, f"unexpected {{{{{word}}}}}")
                    self._at += 1
                    return tuple(nodes), word
                if word != "nil":
                    self._at += 1
                    node = self._keyword(following)
                    if node is not None:
                        nodes.append(node)
                    continue
            nodes.append(Action(pipe=self._pipeline("command", "right"), line=token.line))

    def _keyword(self, token: Token) -> Any:
        word = token.text
        if word in ("if", "with", "range"):
            return self._branch(word)
        if word in ("break", "continue"):
            if not self._loops:
                raise fail(token.line, f"{{{{{word}}}}} outside {{{{range}}}}")
            self._expect_right(word)
            return Jump(kind=word)
        name = self._solid()
        if name.kind not in ("string", "raw"):
            raise self._unexpected(name, f"{word} clause")
        title = unquote(name)
        if word == "template":
            following = self._see()
            pipe = None
            if following is not None and following.kind == "right":
                self._at += 1
            else:
                pipe = self._pipeline("template clause", "right")
            return Include(name=title, pipe=pipe, line=token.line, column=token.column)
        pipe = None
        if word == "block":
            pipe = self._pipeline("block clause", "right")
        else:
            self._expect_right("define clause")
        outer, self._variables = self._variables, ["$"]
        body, _ = self._block(("end",))
        self._expect_right("end")
        self._variables = outer
        self.defined[title] = body
        return Include(name=title, pipe=pipe, line=token.line, column=token.column) if word == "block" else None

    def _expect_right(self, where: str) -> None:
        token = self._solid()
        if token.kind != "right":
            raise self._unexpected(token, where)

    def _branch(self, word: str) -> Branch:
        scope = len(self._variables)
        pipe = self._pipeline(word, "right")
        self._loops += word == "range"
        body, stop = self._block(("end", "else"))
        self._loops -= word == "range"
        otherwise: tuple[Any, ...] = ()
        if stop == "else":
            following = self._see()
            if (
                following is not None
                and following.kind == "keyword"
                and following.text in ("if", "with")
                and word == following.text
            ):
                self._at += 1
                otherwise = (self._branch(following.text),)
                del self._variables[scope:]
                return Branch(kind=word, pipe=pipe, body=body, otherwise=otherwise)
            self._expect_right("else")
            otherwise, _ = self._block(("end",))
        self._expect_right("end")
        del self._variables[scope:]
        return Branch(kind=word, pipe=pipe, body=body, otherwise=otherwise)

    def _declarations(self, where: str) -> tuple[tuple[str, ...], bool]:
        start = self._at
        names: list[str] = []
        while (token := self._see()) is not None and token.kind == "variable":
            self._at += 1
            names.append(token.text)
            following = self._see()
            if following is not None and following.text == "," and where == "range" and len(names) < 2:
                self._at += 1
                continue
            if following is not None and following.kind == "operator" and following.text in (":=", "="):
                self._at += 1
                if following.text == ":=":
                    self._variables += names
                return tuple(names), following.text == "="
            break
        self._at = start
        return (), False

    def _pipeline(self, where: str, end: str) -> Pipe:
        declares, assigns = self._declarations(where)
        commands: list[Call] = []
        while True:
            token = self._see()
            if token is None:
                raise fail(self._line(), "unexpected EOF")
            if token.kind == "right" or (token.kind == "operator" and token.text == ")"):
                if (token.kind == "right") != (end == "right"):
                    raise self._unexpected(token, where)
                self._at += 1
                if not commands:
                    raise fail(token.line, f"missing value for {where}")
                for stage, command in enumerate(commands[1:], 2):
                    if isinstance(command.words[0], Literal | Dot | Nil):
                        raise fail(token.line, f"non executable command in pipeline stage {stage}")
                text = " | ".join(command.text for command in commands)
                if declares:
                    text = f"{', '.join(declares)} {'=' if assigns else ':='} {text}"
                return Pipe(commands=tuple(commands), declares=declares, assigns=assigns, text=text)
            if token.kind == "operator" and token.text != "(":
                raise self._unexpected(token, where)
            commands.append(self._command())

    def _command(self) -> Call:
        words: list[Any] = []
        first = self._see()
        while True:
            token = self._see()
            if token is None:
                raise fail(self._line(), "unexpected EOF")
            if token.kind == "right" or (token.kind == "operator" and token.text == ")"):
                break
            if token.kind == "operator" and token.text == "|":
                self._at += 1
                following = self._see()
                if following is not None and following.kind == "right":
                    raise fail(following.line, "missing value for command")
                break
            words.append(self._operand())
            following = self._peek()
            if following is not None and following.kind not in ("space", "right") and following.text not in (")", "|"):
                raise self._unexpected(following, "operand")
        if not words:
            raise fail(self._line(), "empty command")
        assert first is not None
        return Call(words=tuple(words), text=" ".join(_shown(word) for word in words), line=first.line, column=first.column)

    def _operand(self) -> Any:
        token = self._next()
        node = self._term(token)
        names: list[str] = []
        last = token
        while (following := self._peek()) is not None and following.kind == "field" and following.text != ".":
            self._at += 1
            names.append(following.text[1:])
            last = following
        if not names:
            return node
        if isinstance(node, Literal | Nil | Dot):
            raise fail(token.line, f"unexpected . after term {go_quote(_shown(node))}")
        if isinstance(node, FieldPath):
            return node.replace(
                names=(*node.names, *names), text=node.text + "".join("." + name for name in names), column=last.column
            )
        text = _shown(node) + "".join("." + name for name in names)
        return FieldPath(start=node, names=tuple(names), text=text, line=token.line, column=last.column)

    def _term(self, token: Token) -> Any:
        if token.kind == "field":
            return (
                Dot()
                if token.text == "."
                else FieldPath(start=None, names=(token.text[1:],), text=token.text, line=token.line, column=token.column)
            )
        if token.kind == "variable":
            if token.text not in self._variables:
                raise fail(token.line, f"undefined variable {go_quote(token.text)}")
            return Variable(name=token.text, text=token.text)
        if token.kind == "word":
            if token.text not in self._functions:
                raise fail(token.line, f"function {go_quote(token.text)} not defined")
            return Function(name=token.text, text=token.text, line=token.line, column=token.column)
        if token.kind in ("string", "raw"):
            return Literal(value=unquote(token), text=token.text)
        if token.kind == "bool":
            return Literal(value=token.text == "true", text=token.text)
        if token.kind == "char":
            return Literal(value=ord(_unescape(token.text[1:-1])), text=token.text)
        if token.kind == "number":
            return Literal(value=_number(token), text=token.text)
        if token.kind == "keyword" and token.text == "nil":
            return Nil()
        if token.kind == "operator" and token.text == "(":
            return self._pipeline("parenthesized pipeline", "paren")
        raise self._unexpected(token, "operand")


def _shown(node: Any) -> str:
    return f"({node.text})" if isinstance(node, Pipe) else str(node.text)


def _number(token: Token) -> int | float:
    from wherry.cli.values import integer, plain_float

    try:
        return integer(token.text)
    except ValueError:
        value = plain_float(token.text)
        if value is None:
            raise fail(token.line, f"bad number syntax: {go_quote(token.text)}") from None
        return value


def unquote(token: Token) -> str:
    """The value of a string token."""
    return token.text[1:-1] if token.kind == "raw" else _unescape(token.text[1:-1])


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    out, at = [], 0
    while at < len(text):
        one = text[at]
        if one != "\\":
            out.append(one)
            at += 1
            continue
        mark = text[at + 1 : at + 2]
        digits = {"x": 2, "u": 4, "U": 8}.get(mark)
        if mark in _ESCAPES:
            out.append(_ESCAPES[mark])
            at += 2
        elif digits:
            out.append(chr(int(text[at + 2 : at + 2 + digits], 16)))
            at += 2 + digits
        else:
            out.append(chr(int(text[at + 1 : at + 4], 8)))
            at += 4
    return "".join(out)
