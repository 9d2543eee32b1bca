"""Variables and quotes of a Dockerfile; where a shell means the same, a shell is the oracle."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.build.words import expand, expand_words, replace_variables
from wherry.errors import InvalidArgument

VARIABLES = {"a": "one", "b": "two words", "empty": "", "path": "/usr/local/lib/x.tar.gz"}


@pytest.mark.parametrize(("text", "expected"), [
    ("$a", "one"), ("${a}", "one"), ("x${a}y", "xoney"), ("$unset", ""), ("$", "$"), ("a$", "a$"), ("\\$a", "$a"), ("'$a'", "$a"),
    ('"$a"', "one"), ('"\\$a"', "$a"), ('"\\n"', "\\n"), ("a\\ b", "a b"), ("${unset:-d}", "d"), ("${empty:-d}", "d"), ("${empty-d}", ""),
    ("${unset-d}", "d"), ("${a:+d}", "d"), ("${empty:+d}", ""), ("${empty+d}", "d"), ("${unset+d}", ""), ("${unset:-${a}}", "one"),
    ("${unset:-$a/$b}", "one/two words"), ("${path#*/}", "usr/local/lib/x.tar.gz"), ("${path##*/}", "x.tar.gz"),
    ("${path%.*}", "/usr/local/lib/x.tar"), ("${path%%.*}", "/usr/local/lib/x"), ("${path/l/L}", "/usr/Local/lib/x.tar.gz"),
    ("${path//l/L}", "/usr/LocaL/Lib/x.tar.gz"), ("${a?no}", "one"), ("${empty?no}", ""), ("$a$b", "onetwo words"),
])
def test_expand(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@pytest.mark.parametrize(("text", "message"), [
    ("'open", "matching single-quote"), ('"open', "matching double-quote"), ("${a", "missing '}'"), ("${a:-x", "missing '}'"),
    ("${}", "bad substitution"), ("${a~b}", "unsupported modifier"), ("${unset:?say this}", "unset: say this"),
    ("${empty:?}", "empty: is not allowed to be empty or unset"),
])
def test_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        expand(text, VARIABLES)


@pytest.mark.parametrize(("text", "expected"), [
    ("80 443", ("80", "443")), ("$b", ("two", "words")), ('"$b"', ("two words",)), ("x$b", ("xtwo", "words")), ("'a b' c", ("a b", "c")),
    ("  ", ()), ("$empty", ()), ('""', ("",)),
])
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert expand_words(text, VARIABLES) == expected


def test_heredoc_text_keeps_its_quotes() -> None:
    assert replace_variables("say \"$a\" and '$a', not \\$a\n", VARIABLES) == "say \"one\" and 'one', not $a\n"


def test_nesting_has_an_end() -> None:
    text = "${u:-" * 200 + "x" + "}" * 200
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        expand(text, {})


@given(st.text(max_size=80))
def test_any_text_ends(text: str) -> None:
    try:
        expand(text, VARIABLES)
        expand_words(text, VARIABLES)
        replace_variables(text, VARIABLES)
    except InvalidArgument:
        return


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox for its shell")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["$a", "${path##*/}", "${path%.*}", "${unset:-z}", "${empty:+y}", "'q$a'", '"w $b"', "x", "\\$", "${b}"]),
                min_size=1, max_size=5))
def test_as_a_shell_would(pieces: list[str]) -> None:
    text = "".join(pieces)
    assignments = "".join(f"{name}='{value}';" for name, value in VARIABLES.items())
    told = subprocess.run(["busybox", "sh", "-c", f'{assignments}v={text};printf %s "$v"'], capture_output=True, text=True, check=True)
    assert expand(text, VARIABLES) == told.stdout
