from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.template import TemplateError, parse
from wherry.cli.template.structures import Struct, typed

VALUE = {
    "Name": "/web", "Id": "abcdef", "N": 7, "F": 1.5, "On": True, "Off": False, "Nothing": None, "Empty": "", "List": ["a", "b", "c"], "Map": {"b": 2, "a": 1},
    "Deep": {"x": [{"y": "z"}], "k-ey": "v"}, "Html": "<a&b>"}


@pytest.mark.parametrize(("template", "expected"), [
    ("plain", "plain"), ("{{.Name}}", "/web"), ("{{ .Name }}!", "/web!"), ("a {{- .N -}} b", "a7b"), ("{{/* comment */}}x", "x"), ("a {{- /* c */ -}} b", "ab"),
    ("{{.Nope}}", "<no value>"), ("{{.Nothing}}", "<no value>"), ("{{.Map}}", "map[a:1 b:2]"), ("{{.List}}", "[a b c]"), ("{{.F}} {{.On}}", "1.5 true"),
    ("{{.Deep.x}}", "[map[y:z]]"), ('{{index .Deep "k-ey"}}', "v"), ('{{(index .Deep.x 0).y}}', "z"), ("{{len .List}}{{len .Name}}", "34"),
    ("{{json .Map}}", '{"b":2,"a":1}'), ("{{json .Html}}", '"<a&b>"'), ("{{.Name | json}}", '"/web"'), ('{{printf "%s-%d" .Name .N}}', "/web-7"),
    ('{{printf "%5d|%-5s|%05d|%x|%q|%v|%t" 7 "ab" 42 255 "q" .List true}}', '    7|ab   |00042|ff|"q"|[a b c]|true'), ('{{"a" | printf "%s%s" "b"}}', "ba"),
    ('{{printf "%d" "x"}}', "%!d(string=x)"), ('{{printf "%s"}}', "%!s(MISSING)"), ('{{printf "x" 1}}', "x%!(EXTRA int=1)"),
    ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"), ("{{range $i, $v := .List}}{{$i}}{{$v}}{{end}}", "0a1b2c"), ("{{range $k, $v := .Map}}{{$k}}{{$v}} {{end}}", "a1 b2 "),
    ("{{range .Nothing}}x{{else}}none{{end}}", "none"), ("{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
    ("{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"), ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{if .On}}y{{else}}n{{end}}{{if .Off}}y{{else}}n{{end}}", "yn"), ("{{if .Empty}}1{{else if .N}}2{{else}}3{{end}}", "2"),
    ("{{if and .On .N}}{{or .Empty .Name}}{{end}}", "/web"), ("{{not .On}}", "false"), ("{{with .Deep}}{{range .x}}{{.y}}{{end}}{{end}}", "z"),
    ("{{with .Empty}}x{{else}}e{{end}}", "e"), ("{{$x := .Name}}{{$x}}{{$.N}}", "/web7"), ("{{$x := 1}}{{if .On}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ('{{define "t"}}[{{.}}]{{end}}{{template "t" .Name}}', "[/web]"), ('{{block "b" .N}}{{.}}{{end}}', "7"),
    ("{{eq .N 7}}{{eq .N 1 7}}{{ne .N 7}}{{lt .N 8}}{{ge .N 8}}{{gt .F 1.0}}{{le \"a\" \"b\"}}", "truetruefalsetruefalsetruetrue"),
    ('{{split "a,b" ","}}{{join .List "-"}}', "[a b]a-b-c"), ('{{title "ab cd"}}{{upper "a"}}{{lower "B"}}', "Ab CdAb"),
    ('{{pad "x" 1 2}}|{{truncate "abcdef" 3}}', " x  |abc"), ("{{slice .List 1}}{{slice .Name 1 3}}", "[b c]we"), ("{{print 1 2 \"a\" 3}}", "1 2a3"),
    ("{{println .N}}", "7\n"), ("{{html .Html}}", "&lt;a&amp;b&gt;"), ("{{`raw\\n`}}", "raw\\n"), ('{{"\\t\\x41\\u00e9"}}', "\tAé"), ("{{'a'}}", "97"), ("{{0x10}}", "16"),
])
def test_execution(template: str, expected: str) -> None:
    assert parse(template).execute(VALUE) == expected


@pytest.mark.parametrize(("template", "message"), [
    ("{{.Name", "template: :1: unclosed action"), ("{{foo}}", 'template: :1: function "foo" not defined'), ("{{if .On}}x", "template: :1: unexpected EOF"),
    ("{{end}}", "template: :1: unexpected {{end}}"), ("{{}}", "template: :1: missing value for command"), ("{{$x}}", 'template: :1: undefined variable "$x"'),
    ('{{"a}}', "template: :1: unterminated quoted string"), ("{{break}}", "template: :1: {{break}} outside {{range}}"),
    ("a\n{{.Name", "template: :2: unclosed action"), ("{{.Name | 3}}", "template: :1: non executable command in pipeline stage 2"),
    ("{{(.Name}}", "template: :1: unclosed left paren"), ("{{.Name)}}", "template: :1: unexpected right paren"),
])
def test_parse_errors(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(template)
    assert caught.value.message == message


@pytest.mark.parametrize(("template", "message"), [
    ("{{.Foo}}", 'template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
    ("{{.Deep.q}}", 'template: :1:7: executing "" at <.Deep.q>: map has no entry for key "q"'),
    ("{{.Name.x}}", 'template: :1:7: executing "" at <.Name.x>: can\'t evaluate field x in type string'),
    ("{{index .List 9}}", 'template: :1:2: executing "" at <index>: error calling index: index out of range: 9'),
    ("{{len}}", 'template: :1:2: executing "" at <len>: wrong number of args for len: want 1 got 0'),
    ("{{lt .N \"a\"}}", 'template: :1:2: executing "" at <lt>: error calling lt: incompatible types for comparison'),
    ('{{template "no"}}', 'template: :1:2: executing "" at <{{template "no"}}>: template "no" not defined'),
])
def test_execution_errors(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(template, strict=True).execute(VALUE)
    assert caught.value.message == message


def test_structures_name_their_type_and_nils_print_as_in_go() -> None:
    with pytest.raises(TemplateError, match=r"can't evaluate field X in type system\.versionInfo"):
        parse("{{.X}}", name="version").execute(Struct({}, "system.versionInfo"))
    value = typed({"Binds": None, "Labels": None, "Health": None})
    assert parse("{{.Binds}} {{.Labels}} {{.Health}} {{json .}}").execute(value) == '[] map[] <nil> {"Binds":null,"Labels":null,"Health":null}'
    assert parse("{{if .Health}}y{{else}}n{{end}}").execute(value) == "n"


@given(st.text(st.sampled_from("{}.-|() \"'$xif endrange=:,1%"), max_size=40))
def test_any_text_is_a_template_or_a_template_error(text: str) -> None:
    try:
        parse(text).execute({"x": [1, {"x": "y"}]})
    except TemplateError:
        return
