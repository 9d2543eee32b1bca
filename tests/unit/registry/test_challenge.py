"""WWW-Authenticate: what registries send, and what they should not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.registry.challenge import Challenge, parse


@pytest.mark.parametrize(("header", "expected"), [
    ("", ()),
    ('Basic realm="Registry"', (("basic", {"realm": "Registry"}),)),
    ('Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
     (("bearer", {"realm": "https://auth.example/token", "service": "registry.example", "scope": "repository:a/b:pull,push"}),)),
    ('Bearer realm = "a" , service=plain', (("bearer", {"realm": "a", "service": "plain"}),)),
    (r'Bearer realm="say \"hi\""', (("bearer", {"realm": 'say "hi"'}),)),
    ('Negotiate, Basic realm="x", Bearer realm="y"', (("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "y"}))),
    ('Bearer realm="never closed', (("bearer", {"realm": "never closed"}),)),
])
def test_parse(header: str, expected: tuple[tuple[str, dict[str, str]], ...]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in parse(header)] == [*expected]


def test_missing_parameter_is_empty() -> None:
    assert Challenge(scheme="bearer").get("realm") == ""


@given(st.text(max_size=200))
def test_any_text_ends(header: str) -> None:
    assert all(one.scheme for one in parse(header))


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope"]), st.text(alphabet='abc:/,= "\\', max_size=20), min_size=1))
def test_quoted_values_survive(parameters: dict[str, str]) -> None:
    text = ",".join('{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"')) for name, value in parameters.items())
    assert dict(parse("Bearer " + text)[0].parameters) == parameters
