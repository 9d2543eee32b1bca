"""Template text to tokens: text, delimiters with their trim marks, words, numbers, strings, fields, variables."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SPACE = " \t\r\n"
KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"))


class TemplateError(InvalidArgument):
    """The template cannot be parsed or executed; the message is Go's."""


class Token(Record):
    """`kind` is text, left, right, string, raw, number, char, field, variable, word, keyword, bool, space, operator."""

    kind: str
    text: str
    line: int
    column: int


def fail(line: int, message: str) -> TemplateError:
    """A parse error as Go says it."""
    return TemplateError(f"template: :{line}: {message}")


def tokens(text: str) -> Iterator[Token]:
    """The tokens. Raises TemplateError."""
    position, line = 0, 1
    trim_next = False
    while True:
        start = text.find("{{", position)
        piece = text[position:] if start < 0 else text[position:start]
        number = line
        line += piece.count("\n")
        if trim_next:
            piece = piece.lstrip(SPACE)
        if start < 0:
            if piece:
                yield Token(kind="text", text=piece, line=number, column=position)
            return
        inside = start + 2
        if text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in tuple(SPACE):
            piece = piece.rstrip(SPACE)
            inside += 1
        if piece:
            yield Token(kind="text", text=piece, line=number, column=position)
        if text[inside:].lstrip(SPACE).startswith("/*"):
            position, trim_next = _comment(text, inside, line)
            line += text.count("\n", inside, position)
            continue
        yield Token(kind="left", text="{{", line=line, column=start)
        scanner = _Action(text, inside, line)
        yield from scanner.run()
        position, line, trim_next = scanner.position, scanner.line, scanner.trimmed
        yield Token(kind="right", text="}}", line=line, column=position - 2)


def _comment(text: str, inside: int, line: int) -> tuple[int, bool]:
    end = text.find("*/", inside)
    if end < 0:
        raise fail(line, "unclosed comment")
    after = end + 2
    for mark, trimmed in (("}}", False), (" -}}", True), ("\n-}}", True), ("\t-}}", True)):
        if text.startswith(mark, after):
            return after + len(mark), trimmed
    raise fail(line, "comment ends before closing delimiter")


class _Action:
    """What stands between one pair of braces."""

    def __init__(self, text: str, position: int, line: int) -> None:
        self.text = text
        self.position = position
        self.line = line
        self.trimmed = False
        self._depth = 0

    def _token(self, kind: str, end: int) -> Token:
        token = Token(kind=kind, text=self.text[self.position : end], line=self.line, column=self.position)
        self.line += token.text.count("\n") if kind == "raw" or kind == "space" else 0
        self.position = end
        return token

    def run(self) -> Iterator[Token]:
        text = self.text
        while True:
            if self.position >= len(text):
                raise fail(self.line, "unclosed action")
            at = self.position
            one = text[at]
            if text.startswith("}}", at):
                if self._depth:
                    raise fail(self.line, "unclosed left paren")
                self.position += 2
                return
            if one in SPACE:
                if text.startswith("-}}", at + 1):
                    self.position += 4
                    self.trimmed = True
                    if self._depth:
                        raise fail(self.line, "unclosed left paren")
                    return
                end = at
                while end < len(text) and text[end] in SPACE and not text.startswith("-}}", end + 1):
                    end += 1
                yield self._token("space", max(end, at + 1))
            else:
                yield self._word(one, at)

    def _word(self, one: str, at: int) -> Token:
        text = self.text
        following = text[at + 1 : at + 2]
        if one == '"':
            return self._quoted('"', "string", "unterminated quoted string")
        if one == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise fail(self.line, "unterminated raw quoted string")
            return self._token("raw", end + 1)
        if one == "'":
            return self._quoted("'", "char", "unterminated character constant")
        if one.isdecimal() or (one in "+-." and following.isdecimal()):
            return self._number(at)
        if one in "._$" or one.isalpha():
            return self._name(one, at)
        if one == "(":
            self._depth += 1
        elif one == ")":
            self._depth -= 1
            if self._depth < 0:
                raise fail(self.line, "unexpected right paren")
        elif text.startswith(":=", at):
            return self._token("operator", at + 2)
        elif one not in "|=,":
            shown = f"U+{ord(one):04X}" + (f" '{one}'" if one.isprintable() else "")
            raise fail(
                self.line,
                f"unrecognized character in action: {shown}"
                if one not in "+-"
                else f"bad number syntax: {_go(text[at : at + 2].strip())}",
            )
        return self._token("operator", at + 1)

    def _quoted(self, mark: str, kind: str, message: str) -> Token:
        end = self.position + 1
        while self.text[end : end + 1] != mark:
            if end >= len(self.text) or self.text[end] == "\n":
                raise fail(self.line, message)
            end += 2 if self.text[end] == "\\" else 1
        return self._token(kind, end + 1)

    def _number(self, at: int) -> Token:
        end = at + 1
        while end < len(self.text) and (
            self.text[end].isalnum() or self.text[end] in "._" or (self.text[end] in "+-" and self.text[end - 1] in "eEpP")
        ):
            end += 1
        return self._token("number", end)

    def _name(self, one: str, at: int) -> Token:
        end = at + 1
        while end < len(self.text) and (self.text[end].isalnum() or self.text[end] == "_"):
            end += 1
        after = self.text[end : end + 1]
        if after and after not in SPACE + ".,|:)(" and not self.text.startswith("}}", end):
            shown = f"U+{ord(after):04X}" + (f" '{after}'" if after.isprintable() else "")
            if not (one == "$" and after == "="):
                raise fail(self.line, f"bad character {shown}")
        word = self.text[at:end]
        kind = (
            "field"
            if one == "."
            else "variable"
            if one == "$"
            else "bool"
            if word in ("true", "false")
            else "keyword"
            if word in KEYWORDS
            else "word"
        )
        return self._token(kind, end)


def _go(text: str) -> str:
    from wherry.cli.values import go_quote

    return go_quote(text)
