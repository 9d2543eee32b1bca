from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli import values
from wherry.cli.command import Flag, UsageError
from wherry.cli.flags import HelpWanted, parse

FLAGS = (
    Flag(name="interactive", short="i"), Flag(name="tty", short="t"), Flag(name="publish", short="p", kind="list"), Flag(name="name", kind="string"),
    Flag(name="rm", default=True), Flag(name="last", short="n", kind="int", default=-1), Flag(name="dns-opt", kind="list", same_as="dns-option"),
    Flag(name="dns-option", kind="list"), Flag(name="cap", kind="strings"), Flag(name="filter", kind="filter"))


@pytest.mark.parametrize(("words", "left", "values_"), [
    (["-it", "image", "cmd"], ["image", "cmd"], {"interactive": True, "tty": True}),
    (["-p80:80", "-p=81:81", "-p", "82:82", "x"], ["x"], {"publish": ["80:80", "81:81", "82:82"]}),
    (["-itp", "1:1", "x"], ["x"], {"publish": ["1:1"], "tty": True}),
    (["--name=a=b", "x"], ["x"], {"name": "a=b"}),
    (["--name", "--rm", "x"], ["x"], {"name": "--rm", "rm": True}),
    (["--rm=false", "x"], ["x"], {"rm": False}),
    (["--rm", "false"], ["false"], {"rm": True}),
    (["--", "--name", "-x"], ["--name", "-x"], {}),
    (["-n5"], [], {"last": 5}),
    (["-n=-5"], [], {"last": -5}),
    (["-n", "-5"], [], {"last": -5}),
    (["--dns-opt", "a", "--dns-option", "b"], [], {"dns-option": ["a", "b"]}),
    (["--cap", "a,b", "--cap", "c"], [], {"cap": ["a", "b", "c"]}),
    (["-i=false", "-"], ["-"], {"interactive": False}),
    (["--filter", "Name = x "], [], {"filter": [("name", "x")]}),
    (["--name="], [], {"name": ""}),
])
def test_grammar(words: list[str], left: list[str], values_: dict[str, object]) -> None:
    options, rest = parse(FLAGS, words)
    assert rest == left
    assert {name: options.value(name) for name in values_} == values_


def test_options_end_at_the_first_argument() -> None:
    options, rest = parse(FLAGS, ["-i", "image", "-t", "--", "--name"], interspersed=False)
    assert rest == ["image", "-t", "--", "--name"]
    assert not options.on("tty")
    options, rest = parse(FLAGS, ["image", "-t"])
    assert rest == ["image"]
    assert options.on("tty")


@pytest.mark.parametrize(("words", "message"), [
    (["--nope"], "unknown flag: --nope"), (["-x"], "unknown shorthand flag: 'x' in -x"), (["-itx"], "unknown shorthand flag: 'x' in -itx"),
    (["--name"], "flag needs an argument: --name"), (["-itp"], "flag needs an argument: 'p' in -itp"), (["---x"], "bad flag syntax: ---x"),
    (["--=x"], "bad flag syntax: --=x"),
    (["-n", "x"], 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
    (["-n", "9" * 20], f'invalid argument "{"9" * 20}" for "-n, --last" flag: strconv.ParseInt: parsing "{"9" * 20}": value out of range'),
    (["--rm=maybe"], 'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
    (["--filter", "x"], 'invalid argument "x" for "--filter" flag: bad format of filter (expected name=value)'),
])
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(FLAGS, words)
    assert caught.value.message == message
    assert caught.value.code == 125


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["-ih"], ["x", "--help"]])
def test_help(words: list[str]) -> None:
    with pytest.raises(HelpWanted):
        parse(FLAGS, words)


@pytest.mark.parametrize(("text", "expected"), [
    ("10", 10), ("10b", 10), ("10k", 10240), ("1.5g", 1610612736), ("3MiB", 3 << 20), ("4 kb", 4096), ("2T", 2 << 40), ("0", 0)])
def test_sizes(text: str, expected: int) -> None:
    assert values.ram_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "x", "10x", "-1", "1..2", "k", "10kbb", "10 10"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="invalid s"):
        values.ram_bytes(text)


@pytest.mark.parametrize(("text", "expected"), [
    ("1h2m3.5s", 3723_500_000_000), ("-1.5h", -5400 * 10**9), ("100ms", 10**8), ("1us", 1000), ("0", 0), ("+5s", 5 * 10**9), ("1.000000001s", 1_000_000_001)])
def test_durations(text: str, expected: int) -> None:
    assert values.duration(text) == expected


@pytest.mark.parametrize(("text", "message"), [("", 'time: invalid duration ""'), ("5", 'time: missing unit in duration "5"'),
                                               ("5x", 'time: unknown unit "x" in duration "5x"'), (".s", 'time: invalid duration ".s"')])
def test_wrong_durations(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is tested
        values.duration(text)
    assert str(caught.value) == message


@given(st.integers(0, 10**15))
def test_cpus_are_exact(nanos: int) -> None:
    assert values.nano_cpus(f"{nanos // 10**9}.{nanos % 10**9:09d}") == nanos


@given(st.lists(st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"])), min_size=1))
def test_csv_round_trip(fields: list[str]) -> None:
    line = ",".join('"' + one.replace('"', '""') + '"' for one in fields)
    assert values.csv_fields(line) == fields


@given(st.text(max_size=30), st.lists(st.text(max_size=8), max_size=6))
def test_any_words_are_parsed_or_refused(first: str, rest: list[str]) -> None:
    try:
        parse(FLAGS, [first, *rest])
    except (UsageError, HelpWanted):
        return
