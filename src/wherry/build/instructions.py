"""Instructions: a node of syntax becomes a value with checked fields. Nothing is expanded yet, nothing is done.

Source: Docker's documentation, «Dockerfile reference»; error texts as dockerd's classic builder has them.
"""

from __future__ import annotations

import json

from wherry.build.duration import parse_duration_ns
from wherry.build.errors import DockerfileError
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wherry.build.parser import Heredoc, Node


class Instruction(Record):
    """What all instructions have: the line, and the text for people."""

    line: int
    text: str


class From(Instruction):
    """FROM: a new stage. `name` is the stage's, in lower case, or ""."""

    image: str
    name: str = ""
    platform: str = ""


class Pairs(Instruction):
    """ENV, LABEL and ARG: names with values; an ARG without a default has None."""

    kind: str
    pairs: tuple[tuple[str, str | None], ...]
    literal: bool = False  # values that came with the request, in which nothing is replaced


class Run(Instruction):
    """RUN. A shell form has one word; here-documents stand beside it."""

    words: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


class Command(Instruction):
    """CMD and ENTRYPOINT; a shell form has one word."""

    kind: str
    words: tuple[str, ...]
    shell: bool


class Copy(Instruction):
    """COPY and ADD. `source` is what --from names, "" for the context; `words` are sources and the target."""

    kind: str
    words: tuple[str, ...]
    source: str = ""
    owner: str = ""
    mode: str = ""
    heredocs: tuple[Heredoc, ...] = ()


class Single(Instruction):
    """WORKDIR, USER, STOPSIGNAL, MAINTAINER: one text."""

    kind: str
    value: str


class Words(Instruction):
    """EXPOSE and VOLUME: several."""

    kind: str
    words: tuple[str, ...]


class Shell(Instruction):
    """SHELL: the words that run a shell form."""

    words: tuple[str, ...]


class Onbuild(Instruction):
    """ONBUILD: a trigger, kept as text and read when it fires."""

    trigger: str


class Healthcheck(Instruction):
    """HEALTHCHECK. Durations in nanoseconds, 0 where not given; `test` is NONE, CMD … or CMD-SHELL …."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


# Flags that Docker's classic builder refuses as well, in its words.
_NEEDS_BUILDKIT = frozenset({
    "RUN --mount", "RUN --network", "RUN --security", "RUN --device", "COPY --link", "COPY --parents", "COPY --exclude",
    "ADD --link", "ADD --exclude", "ADD --checksum", "ADD --keep-git-dir", "ADD --unpack"})
_FLAGS: Mapping[str, frozenset[str]] = {
    "FROM": frozenset({"platform"}),
    "COPY": frozenset({"from", "chown", "chmod"}),
    "ADD": frozenset({"chown", "chmod"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}


def instruction(node: Node) -> Instruction:
    """The value of a node. Raises DockerfileError naming the line."""
    make = _MAKERS.get(node.instruction)
    if make is None:
        raise DockerfileError(f"unknown instruction: {node.instruction}", node.line)
    return make(node, _flags(node))


def _flags(node: Node) -> Mapping[str, str]:
    allowed, found = _FLAGS.get(node.instruction, frozenset()), {}
    for flag in node.flags:
        name, equals, value = flag[2:].partition("=")
        if f"{node.instruction} --{name}" in _NEEDS_BUILDKIT:
            raise DockerfileError(f"the --{name} option requires BuildKit, which this builder is not", node.line)
        if name not in allowed:
            raise DockerfileError(f"unknown flag: {name}", node.line)
        if name in found:
            raise DockerfileError(f"duplicate flag specified: {name}", node.line)
        if not equals:
            raise DockerfileError(f"missing a value on flag: {name}", node.line)
        found[name] = value
    return found


def _json_words(text: str) -> tuple[str, ...] | None:
    """The words of a JSON array of strings; None where the text is no such thing and so the shell form."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return tuple(value)


def _needs(node: Node, count: str, *, holds: bool) -> None:
    if not holds:
        raise DockerfileError(f"{node.instruction} requires {count}", node.line)


def _from(node: Node, flags: Mapping[str, str]) -> From:
    words = node.rest.split()
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not name[0].isalpha() or not all(char.isalnum() or char in "-_." for char in name):
            raise DockerfileError(
                f'invalid name for build stage: "{words[2]}", name can\'t start with a number or contain symbols', node.line)
    elif len(words) == 1:
        name = ""
    else:
        raise DockerfileError("FROM requires either one or three arguments", node.line)
    return From(line=node.line, text=node.text, image=words[0], name=name, platform=flags.get("platform", ""))


def _pairs(node: Node, _flags: Mapping[str, str]) -> Pairs:
    _needs(node, "at least one argument", holds=bool(node.rest))
    pieces = _split_pairs(node.rest)
    pairs: list[tuple[str, str | None]] = []
    if node.instruction != "ARG" and "=" not in pieces[0]:
        name, _, value = node.rest.partition(" ") if " " in node.rest else node.rest.partition("\t")
        if not value.strip():
            raise DockerfileError(f"{node.instruction} must have two arguments", node.line)
        pairs.append((name, value.strip()))
    else:
        for piece in pieces:
            name, equals, value = piece.partition("=")
            if not equals and node.instruction != "ARG":
                raise DockerfileError(f"Syntax error - can't find = in \"{piece}\". Must be of the form: name=value", node.line)
            if not name:
                raise DockerfileError(f"{node.instruction} names can not be blank", node.line)
            pairs.append((name, value if equals else None))
    return Pairs(line=node.line, text=node.text, kind=node.instruction, pairs=tuple(pairs))


def _split_pairs(text: str) -> list[str]:
    """Words split at white space outside of quotes and behind no escape; quotes and escapes stay."""
    pieces, current, quote, at = [], "", "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'" and at + 1 < len(text):
            current += text[at:at + 2]
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        if char.isspace() and not quote:
            if current:
                pieces.append(current)
            current = ""
        else:
            current += char
        at += 1
    return [*pieces, current] if current else pieces


def _run(node: Node, _flags: Mapping[str, str]) -> Run:
    _needs(node, "at least one argument", holds=bool(node.rest))
    words = _json_words(node.rest)
    return Run(line=node.line, text=node.text, words=words or (node.rest,), shell=not words, heredocs=node.heredocs)


def _command(node: Node, _flags: Mapping[str, str]) -> Command:
    words = _json_words(node.rest)
    if node.instruction == "ENTRYPOINT":
        _needs(node, "at least one argument", holds=bool(node.rest))
    if words is None and not node.rest:
        words = ()
    return Command(line=node.line, text=node.text, kind=node.instruction, words=(node.rest,) if words is None else words,
                   shell=words is None)


def _copy(node: Node, flags: Mapping[str, str]) -> Copy:
    words = _json_words(node.rest) or tuple(_split_pairs(node.rest))
    _needs(node, "at least two arguments, but only one was provided. Destination could not be determined" if words
           else "at least two arguments", holds=len(words) >= 2)
    return Copy(line=node.line, text=node.text, kind=node.instruction, words=words, source=flags.get("from", ""),
                owner=flags.get("chown", ""), mode=flags.get("chmod", ""), heredocs=node.heredocs)


def _single(node: Node, _flags: Mapping[str, str]) -> Single:
    one_word = node.instruction in ("USER", "STOPSIGNAL")
    _needs(node, "exactly one argument", holds=bool(node.rest) and not (one_word and len(node.rest.split()) > 1))
    return Single(line=node.line, text=node.text, kind=node.instruction, value=node.rest)


def _words(node: Node, _flags: Mapping[str, str]) -> Words:
    _needs(node, "at least one argument", holds=bool(node.rest))
    words = _json_words(node.rest) if node.instruction == "VOLUME" else None
    words = tuple(_split_pairs(node.rest)) if words is None else words
    if any(not word.strip() for word in words):
        raise DockerfileError("VOLUME specified can not be an empty string", node.line)
    return Words(line=node.line, text=node.text, kind=node.instruction, words=words)


def _shell(node: Node, _flags: Mapping[str, str]) -> Shell:
    words = _json_words(node.rest)
    if not words:
        raise DockerfileError("SHELL requires the arguments to be in JSON form", node.line)
    return Shell(line=node.line, text=node.text, words=words)


def _onbuild(node: Node, _flags: Mapping[str, str]) -> Onbuild:
    word = node.rest.partition(" ")[0].upper()
    if word == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", node.line)
    if word in ("FROM", "MAINTAINER"):
        raise DockerfileError(f"{word} isn't allowed as an ONBUILD trigger", node.line)
    _needs(node, "at least one argument", holds=bool(word))
    return Onbuild(line=node.line, text=node.text, trigger=node.rest)


def _healthcheck(node: Node, flags: Mapping[str, str]) -> Healthcheck:
    kind, _, rest = node.rest.partition(" ")
    kind, rest = kind.upper(), rest.strip()
    if kind == "NONE":
        if rest:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments", node.line)
        return Healthcheck(line=node.line, text=node.text, test=("NONE",))
    if kind != "CMD":
        raise DockerfileError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)' if kind
                              else "HEALTHCHECK requires at least one argument", node.line)
    if not rest:
        raise DockerfileError("Missing command after HEALTHCHECK CMD", node.line)
    words = _json_words(rest)

    def duration(name: str) -> int:
        if name not in flags:
            return 0
        value = parse_duration_ns(flags[name])
        if value is None or value < 0:
            raise DockerfileError(f'invalid duration "{flags[name]}" for --{name}', node.line)
        if 0 < value < 1_000_000:
            raise DockerfileError(f"Interval \"{name}\" cannot be less than 1ms", node.line)
        return value

    retries = flags.get("retries", "0")
    if not retries.isdigit():
        raise DockerfileError(f'--retries must be at least 1 (not "{retries}")', node.line)
    return Healthcheck(
        line=node.line, text=node.text, test=("CMD", *words) if words else ("CMD-SHELL", rest), retries=int(retries),
        interval_ns=duration("interval"), timeout_ns=duration("timeout"), start_period_ns=duration("start-period"),
        start_interval_ns=duration("start-interval"))


_MAKERS: Mapping[str, Callable[[Node, Mapping[str, str]], Instruction]] = {
    "FROM": _from, "ENV": _pairs, "LABEL": _pairs, "ARG": _pairs, "RUN": _run, "CMD": _command, "ENTRYPOINT": _command,
    "COPY": _copy, "ADD": _copy, "WORKDIR": _single, "USER": _single, "STOPSIGNAL": _single, "MAINTAINER": _single,
    "EXPOSE": _words, "VOLUME": _words, "SHELL": _shell, "ONBUILD": _onbuild, "HEALTHCHECK": _healthcheck,
}
