"""Dockerfile syntax: lines, flags, here-documents, and what is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.build.errors import DockerfileError
from wherry.build.parser import parse


def only(text: str):  # type: ignore[no-untyped-def]
    (node,) = parse(text).nodes
    return node


def test_comments_blank_lines_and_continuations() -> None:
    node = only("# a comment\n\nRUN echo one \\\n  # in between\n\n  && echo two  \n")
    assert (node.instruction, node.rest, node.line, node.end_line) == ("RUN", "echo one   && echo two", 3, 6)


def test_instruction_in_any_case_and_windows_lines() -> None:
    assert only("run echo\r\n").instruction == "RUN"
    assert only("\ufeffFROM x\n").rest == "x"


def test_escape_directive() -> None:
    parsed = parse("# escape=`\nFROM x\nRUN dir c:\\ `\n  more\n")
    assert parsed.escape == "`"
    assert parsed.nodes[1].rest == "dir c:\\   more"


def test_directive_behind_a_comment_is_a_comment() -> None:
    assert parse("# hello\n# escape=`\nFROM x\n").escape == "\\"


def test_two_backslashes_do_not_go_on() -> None:
    assert [node.rest for node in parse("RUN a\\\\\nRUN b\n").nodes] == ["a\\\\", "b"]


def test_flags() -> None:
    node = only('COPY --from=build --chown="a b":c /x /y\n')
    assert node.flags == ("--from=build", "--chown=a b:c")
    assert node.rest == "/x /y"


@pytest.mark.parametrize(("text", "content", "expand", "strip"), [
    ("RUN <<EOF\na\n b\nEOF\n", "a\n b\n", True, False),
    ("RUN <<'EOF'\n$x\nEOF\n", "$x\n", False, False),
    ("RUN <<-EOF\n\t\ta\n\tEOF\n", "a\n", True, True),
    ("COPY <<file.txt /x\n# kept\n\nfile.txt\n", "# kept\n\n", True, False),
])
def test_heredoc(text: str, content: str, expand: bool, strip: bool) -> None:
    (heredoc,) = only(text).heredocs
    assert (heredoc.content, heredoc.expand, heredoc.strip_tabs) == (content, expand, strip)


def test_two_heredocs_in_order() -> None:
    node = only("COPY <<a <<b /x/\n1\na\n2\nb\n")
    assert [(one.name, one.content) for one in node.heredocs] == [("a", "1\n"), ("b", "2\n")]


@pytest.mark.parametrize("text", ['RUN echo "<<EOF"\n', "RUN echo 3<<<4\n", "RUN echo $((1<<2))\n", "ENV a=<<EOF\n"])
def test_what_is_no_heredoc(text: str) -> None:
    assert only(text).heredocs == ()


@pytest.mark.parametrize(("text", "message"), [
    ("", "dockerfile parse error: file with no instructions"),
    ("# only\n\n", "dockerfile parse error: file with no instructions"),
    ("FROM x\nRUN <<EOF\nnever\n", "dockerfile parse error line 2: unterminated heredoc: EOF"),
    ("# escape=x\nFROM y\n", "dockerfile parse error line 1: invalid escape token"),
    ("# escape=`\n# escape=`\nFROM y\n", "dockerfile parse error line 2: only one escape parser directive can be used"),
    ("RUN " + "x" * 70_000, "line is longer than"),
])
def test_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        parse(text)


@given(st.text(max_size=300))
def test_any_text_ends(text: str) -> None:
    try:
        parsed = parse(text)
    except DockerfileError:
        return
    assert all(0 < node.line <= node.end_line for node in parsed.nodes)
