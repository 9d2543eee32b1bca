"""Words of a Dockerfile: quotes, escapes and variables, as a shell would, in the places where Docker does.

Source: Docker's documentation, «Dockerfile reference: Environment replacement».

    $name  ${name}  ${name:-word}  ${name-word}  ${name:+word}  ${name+word}  ${name:?word}  ${name?word}
    ${name#pattern}  ${name##pattern}  ${name%pattern}  ${name%%pattern}  ${name/pattern/word}  ${name//pattern/word}
"""

from __future__ import annotations

import json
import re

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Nesting beyond this is meant to hurt.
MAX_DEPTH = 50
_NAME = re.compile(r"[A-Za-z_]\w*|\d+|[@*#?$!-]")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """One word: variables replaced, quotes and escapes taken off. Raises InvalidArgument for a malformed one."""
    try:
        return "".join(_Lexer(text, variables, escape).words(split=False))
    except InvalidArgument as failure:
        raise _unprocessed(text, failure) from failure


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> tuple[str, ...]:
    """The words of a text, split at white space outside of quotes and escapes; what a variable brings is split as well."""
    try:
        return tuple(_Lexer(text, variables, escape).words(split=True))
    except InvalidArgument as failure:
        raise _unprocessed(text, failure) from failure


def replace_variables(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Only the variables, quotes left as they are: what happens inside of a here-document."""
    return _Lexer(text, variables, escape, keep_quotes=True).whole()


def _unprocessed(text: str, failure: InvalidArgument) -> InvalidArgument:
    return InvalidArgument(f"failed to process {json.dumps(text, ensure_ascii=False)}: {failure.message}")


class _Lexer:
    """One pass over one text."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str, *, keep_quotes: bool = False,
                 depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise InvalidArgument("substitutions are nested too deeply")
        self._text = text
        self._variables = variables
        self._escape = escape
        self._keep_quotes = keep_quotes
        self._depth = depth
        self._at = 0

    def whole(self) -> str:
        """All of the text as one piece."""
        return "".join(self.words(split=False))

    def words(self, *, split: bool) -> list[str]:
        """The pieces; without `split` a single one."""
        found: list[str] = []
        current: list[str] = []
        started = False
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if split and char.isspace():
                self._at += 1
                if started:
                    found.append("".join(current))
                    current, started = [], False
            elif char == "'" and not self._keep_quotes:
                current.append(self._single())
                started = True
            elif char == '"' and not self._keep_quotes:
                current.append(self._double())
                started = True
            elif char == "$":
                value = self._dollar()
                if split:
                    first, *others = re.split(r"\s+", value)
                    current.append(first)
                    started = started or bool(first)
                    for other in others:
                        if started:
                            found.append("".join(current))
                        current, started = [other], bool(other)
                else:
                    current.append(value)
                    started = True
            else:
                started = True
                current.append(self._plain())
        if started or not split:
            found.append("".join(current))
        return found

    def _plain(self) -> str:
        """A character outside of quotes, an escaped one without its escape."""
        char = self._text[self._at]
        self._at += 1
        if char != self._escape:
            return char
        if self._at >= len(self._text):
            return char if self._keep_quotes else ""
        escaped = self._text[self._at]
        if self._keep_quotes and escaped not in (self._escape, "$"):
            return char
        self._at += 1
        return escaped

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise InvalidArgument("unexpected end of statement while looking for matching single-quote")
        inner, self._at = self._text[self._at + 1:end], end + 1
        return inner

    def _double(self) -> str:
        self._at += 1
        out: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                return "".join(out)
            if char == "$":
                out.append(self._dollar())
            elif char == self._escape:
                following = self._text[self._at + 1:self._at + 2]
                self._at += 2
                out.append(following if following in ('"', "$", self._escape) else char + following)
            else:
                out.append(char)
                self._at += 1
        raise InvalidArgument("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        self._at += 1
        if self._text[self._at:self._at + 1] == "{":
            return self._braced()
        found = _NAME.match(self._text, self._at)
        if found is None:
            return "$"
        self._at = found.end()
        return self._variables.get(found[0], "")

    def _braced(self) -> str:
        """`${…}`; self._at stands on the brace."""
        found = _NAME.match(self._text, self._at + 1)
        if found is None:
            raise InvalidArgument("syntax error: bad substitution")
        name, self._at = found[0], found.end()
        value = self._variables.get(name)
        rest = self._text[self._at:]
        if rest.startswith("}"):
            self._at += 1
            return value or ""
        for operator in (":-", ":+", ":?", "##", "%%", "//", "-", "+", "?", "#", "%", "/"):
            if rest.startswith(operator):
                self._at += len(operator)
                return self._modified(name, value, operator, self._until_brace())
        raise InvalidArgument(f"unsupported modifier ({rest[:2]}) in substitution" if rest else "syntax error: missing '}'")

    def _until_brace(self) -> str:
        """The word of a modifier, not yet expanded; self._at moves behind the closing brace."""
        begin, level = self._at, 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == self._escape:
                self._at += 1
            elif self._text.startswith("${", self._at):
                level += 1
                self._at += 1
            elif char == "}":
                level -= 1
                if level == 0:
                    self._at += 1
                    return self._text[begin:self._at - 1]
            self._at += 1
        raise InvalidArgument("syntax error: missing '}'")

    def _expanded(self, word: str) -> str:
        return _Lexer(word, self._variables, self._escape, depth=self._depth + 1).whole()

    def _modified(self, name: str, value: str | None, operator: str, word: str) -> str:
        match operator:
            case ":-":
                return value or self._expanded(word)
            case "-":
                return value if value is not None else self._expanded(word)
            case ":+":
                return self._expanded(word) if value else ""
            case "+":
                return self._expanded(word) if value is not None else ""
            case ":?" | "?":
                if value or (operator == "?" and value is not None):
                    return value
                raise InvalidArgument(f"{name}: {self._expanded(word) or 'is not allowed to be empty or unset'}")
            case "#" | "##":
                return _strip_prefix(value or "", self._expanded(word), longest=operator == "##")
            case "%" | "%%":
                return _strip_suffix(value or "", self._expanded(word), longest=operator == "%%")
            case _:
                pattern, _, replacement = word.partition("/")
                expression = _glob(self._expanded(pattern), greedy=True)
                with_word = self._expanded(replacement)
                return re.sub(expression, lambda _: with_word, value or "", count=0 if operator == "//" else 1)


def _glob(pattern: str, *, greedy: bool) -> str:
    r"""A shell pattern (`*`, `?`, `\`) as a regular expression."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            out.append(".*" if greedy else ".*?")
        elif char == "?":
            out.append(".")
        else:
            if char == "\\" and at + 1 < len(pattern):
                at += 1
            out.append(re.escape(pattern[at]))
        at += 1
    return "(?s:" + "".join(out) + ")"


def _strip_prefix(value: str, pattern: str, *, longest: bool) -> str:
    found = re.match(_glob(pattern, greedy=longest), value)
    return value[found.end():] if found else value


def _strip_suffix(value: str, pattern: str, *, longest: bool) -> str:
    expression = re.compile(_glob(pattern, greedy=True) + r"\Z")
    starts = range(len(value) + 1) if longest else range(len(value), -1, -1)
    for start in starts:
        if expression.match(value, start):
            return value[:start]
    return value
