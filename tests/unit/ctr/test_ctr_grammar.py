"""The command line's grammar, values, tables and the tree of commands, without a daemon."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wherry.console.table import columns, with_tabs
from wherry.ctr import main as ctr
from wherry.ctr.command import Flag, UsageError
from wherry.ctr.flags import HelpWanted, parse
from wherry.ctr.index import TREE
from wherry.ctr.values import duration, label_text, quoted, size, spelled_duration

FLAGS = (
    Flag(names=("quiet", "q"), help=""), Flag(names=("env", "e"), kind="strings", help=""),
    Flag(names=("count",), kind="int", default=7, help=""), Flag(names=("wait",), kind="duration", help=""),
    Flag(names=("name",), kind="string", variable="NAME", help=""),
)


def parsed(*words: str, reorders: bool = False, **environment: str):
    options, rest = parse(FLAGS, words, environment, reorders=reorders)
    return {name: options.value(name) for name in ("quiet", "env", "count", "wait", "name")}, rest


@pytest.mark.parametrize(("words", "changed", "rest"), [
    ((), {}, []),
    (("-q", "x", "-e"), {"quiet": True}, ["x", "-e"]),
    (("--quiet=false", "--e=a,b", "-e", "c"), {"env": ["a,b", "c"]}, []),
    (("-count", "0x10", "--", "-q"), {"count": 16}, ["-q"]),
    (("--wait=1m30s", "-"), {"wait": 90.0}, ["-"]),
])
def test_options_end_at_the_first_argument(words, changed, rest):
    assert parsed(*words) == ({"quiet": False, "env": (), "count": 7, "wait": 0.0, "name": "", **changed}, rest)


@pytest.mark.parametrize(("words", "rest"), [
    (("a", "-q", "b"), ["b", "a"]),  # what follows a flag may be its value, and goes along
    (("a", "-q=true", "b"), ["a", "b"]),
    (("a", "--", "-q"), ["a", "-q"]),
    (("a", "--nosuch"), ["a", "--nosuch"]),
    (("-q", "-", "a"), ["-", "a"]),
])
def test_known_flags_are_found_behind_arguments(words, rest):
    assert parsed(*words, reorders=True)[1] == rest


def test_the_environment_comes_after_the_command_line():
    assert parsed(NAME="there")[0]["name"] == "there"
    assert parsed("--name", "here", NAME="there")[0]["name"] == "here"


@pytest.mark.parametrize(("words", "message"), [
    (("-x",), "flag provided but not defined: -x"),
    (("--count",), "flag needs an argument: -count"),
    (("--count", "x"), 'invalid value "x" for flag -count: parse error'),
    (("-q=maybe",), 'invalid boolean value "maybe" for -q: parse error'),
    (("---q",), "bad flag syntax: ---q"),
    (("-=",), "bad flag syntax: -="),
    (("-q", "--quiet"), "Cannot use two forms of the same flag: q quiet"),
])
def test_what_makes_no_sense(words, message):
    with pytest.raises(UsageError) as wrong:
        parsed(*words)
    assert wrong.value.message == message


def test_help_wins_over_all_but_mistakes():
    with pytest.raises(HelpWanted):
        parsed("-q", "-h")


def test_a_flag_that_has_to_be_given():
    with pytest.raises(UsageError, match=r'Required flag "id" not set'):
        parse((Flag(names=("id",), kind="string", required=True, help=""),), (), {})


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1h0m1.5s", 3601.5), ("-2ms", -0.002), ("1.5h", 5400), ("3us", 0.000003)])
def test_durations(text, seconds):
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "x", "5x", "s", "1.2.3s", "."])
def test_no_durations(text):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, the caller words it
        duration(text)


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0s"), (86400, "24h0m0s"), (1.5, "1.5s"), (0.009552292, "9.552292ms"), (90, "1m30s"), (0.0000025, "2.5µs")])
def test_durations_as_go_spells_them(seconds, text):
    assert spelled_duration(seconds) == text


def test_sizes_labels_quotes():
    assert (size(12), size(2035712), size(1 << 40)) == ("12.0 B", "1.9 MiB", "1.0 TiB")
    assert label_text({"b": "", "a": "x"}) == "a=x,b"
    assert quoted('a "b"\n\\') == '"a \\"b\\"\\n\\\\"'


def test_tables_with_tabs():
    assert columns([("A", "B"), ("12345678", "x")], 1, 1, with_tabs) == "A\t\tB\n12345678\tx\n"


def test_every_place_of_the_tree_has_its_command():
    leaves = [place for _, _, place, _ in TREE if place]
    assert len(leaves) == 76
    assert sum(len(ctr.load(place).flags) for place in leaves) + sum(map(len, ctr.GROUP_FLAGS.values())) >= 269


def test_help_needs_no_library():
    code = ("import sys; from wherry.ctr.main import main; main(['run', '--help'], 'ctr'); "
            "print([name for name in ('grpc', 'google', 'urllib3', 'asyncio', 'tarfile') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
