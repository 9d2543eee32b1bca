r"""Dockerfile syntax: text in, nodes out. Knows lines, continuations, comments, flags and here-documents; no instruction.

Source: Docker's documentation, «Dockerfile reference: Format, Parser directives, Here-documents».

    # escape=`                   a directive: only at the top, before anything else
    # a comment                  also between the lines of one instruction
    RUN --flag=x first \        an escape at the end goes on
        second
    COPY <<EOF /target           a here-document, for ADD, COPY and RUN
    text
    EOF
"""

from __future__ import annotations

import re

from wherry.build.errors import DockerfileError
from wherry.record import Record

# Docker's parser reads lines of at most 64 KiB; a longer one is no Dockerfile.
MAX_LINE = 64 << 10
_DIRECTIVE = re.compile(r"^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"(?<![<\w])(\d*)<<(-?)\s*(['\"]?)([a-zA-Z_][\w.-]*)\3(?![\w])")
_WITH_HEREDOC = frozenset({"ADD", "COPY", "RUN"})


class Heredoc(Record):
    """A here-document: `expand` is false where the word was quoted, `strip_tabs` true for `<<-`."""

    name: str
    content: str
    expand: bool
    strip_tabs: bool


class Node(Record):
    """One instruction. `rest` is what stands behind the flags, continuations joined; `text` the whole as people know it."""

    instruction: str
    flags: tuple[str, ...]
    rest: str
    text: str
    line: int
    end_line: int
    heredocs: tuple[Heredoc, ...] = ()


class Dockerfile(Record):
    """The nodes in order, and the character that escapes."""

    nodes: tuple[Node, ...]
    escape: str = "\\"


def parse(text: str) -> Dockerfile:
    """Raises DockerfileError for an empty file, a bad directive, a line that is too long or a here-document without end."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape, start = _directives(lines)
    nodes = []
    at = start
    while at < len(lines):
        stripped = lines[at].strip()
        if not stripped or stripped.startswith("#"):
            at += 1
            continue
        node, at = _instruction(lines, at, escape)
        nodes.append(node)
    if not nodes:
        raise DockerfileError("file with no instructions")
    return Dockerfile(nodes=tuple(nodes), escape=escape)


def _directives(lines: list[str]) -> tuple[str, int]:
    """The escape character, and the first line behind the directives."""
    escape, seen = "\\", set()
    for number, line in enumerate(lines):
        found = _DIRECTIVE.match(line.strip())
        name = found[1].lower() if found else ""
        if not found or name not in ("escape", "syntax", "check"):
            return escape, number
        if name in seen:
            raise DockerfileError(f"only one {name} parser directive can be used", number + 1)
        seen.add(name)
        if name == "escape":
            if found[2] not in ("\\", "`"):
                raise DockerfileError(f"invalid escape token '{found[2]}' does not match ` or \\", number + 1)
            escape = found[2]
    return escape, len(lines)


def _instruction(lines: list[str], at: int, escape: str) -> tuple[Node, int]:
    """The instruction that begins at a line, and the line behind it."""
    first = at
    parts: list[str] = []
    while at < len(lines):
        line = lines[at]
        if len(line) > MAX_LINE:
            raise DockerfileError(f"line is longer than {MAX_LINE} characters", at + 1)
        at += 1
        if parts and (not line.strip() or line.lstrip().startswith("#")):
            continue  # empty lines and comments inside of an instruction are passed over
        body = line.rstrip(" \t")
        goes_on = body.endswith(escape) and not body.endswith(escape * 2)
        parts.append(body[:-1] if goes_on else line)
        if not goes_on:
            break
    joined = "".join(parts).strip()
    word, _, rest = joined.partition(" ") if " " in joined.partition("\t")[0] else joined.partition("\t")
    flags, rest = _flags(rest.strip(), first + 1)
    heredocs: list[Heredoc] = []
    if word.upper() in _WITH_HEREDOC:
        for found in _HEREDOC.finditer(_without_quoted(rest)):
            quoted = _HEREDOC.match(rest, found.start())
            heredoc, at = _heredoc(lines, at, quoted or found, first + 1)
            heredocs.append(heredoc)
    return Node(instruction=word.upper(), flags=flags, rest=rest, text=joined, line=first + 1, end_line=at,
                heredocs=tuple(heredocs)), at


def _without_quoted(text: str) -> str:
    """The text with quoted stretches blanked, so that `echo "<<EOF"` opens nothing; quotes right behind `<<` stay."""
    out = list(text)
    quote, at = "", 0
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\" and quote == '"':
                out[at] = " "
                at += 1
                if at < len(text):
                    out[at] = " "
            elif char == quote:
                quote = ""
            else:
                out[at] = " "
        elif char in "'\"" and not text[:at].rstrip("-").endswith("<<"):
            quote = char
        elif char in "'\"":
            closing = text.find(char, at + 1)
            at = closing if closing > 0 else at
        at += 1
    return "".join(out)


def _heredoc(lines: list[str], at: int, found: re.Match[str], line: int) -> tuple[Heredoc, int]:
    strip_tabs, quote, name = bool(found[2]), found[3], found[4]
    content: list[str] = []
    while at < len(lines):
        text = lines[at].lstrip("\t") if strip_tabs else lines[at]
        at += 1
        if text == name:
            joined = "".join(one + "\n" for one in content)
            return Heredoc(name=name, content=joined, expand=not quote, strip_tabs=strip_tabs), at
        content.append(text)
    raise DockerfileError(f"unterminated heredoc: {name}", line)


def _flags(rest: str, line: int) -> tuple[tuple[str, ...], str]:
    """The `--name[=value]` words at the beginning, and what follows; a lone `--` ends them."""
    flags = []
    while rest.startswith("--"):
        word, rest = _word(rest)
        if word == "--":
            break
        if not word[2:].partition("=")[0]:
            raise DockerfileError(f"invalid flag: {word}", line)
        flags.append(word)
    return tuple(flags), rest


def _word(text: str) -> tuple[str, str]:
    """The first word, with quotes and escapes taken off, and the rest."""
    out, quote, at = [], "", 0
    while at < len(text):
        char = text[at]
        if quote:
            if char == quote:
                quote = ""
            else:
                out.append(char)
        elif char in "'\"":
            quote = char
        elif char == "\\" and at + 1 < len(text):
            at += 1
            out.append(text[at])
        elif char.isspace():
            break
        else:
            out.append(char)
        at += 1
    return "".join(out), text[at:].strip()
