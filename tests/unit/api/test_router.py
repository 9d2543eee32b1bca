"""Routes, versions, and the table from errors to status."""

from __future__ import annotations

import asyncio
import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import errors
from wherry.api.docker import status
from wherry.api.docker.http import Answer, Headers, Query, Request, Response
from wherry.api.docker.router import Route, Router, check_version, split_version
from wherry.api.docker.server import http_date
from wherry.errors import InvalidArgument, NotFound


async def nothing(request: Request) -> Answer:
    return Response(204)


TOO_OLD = ("is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version")
ROUTER = Router([
    Route("GET", "/info", nothing),
    Route("GET", "/images/json", nothing),
    Route("GET", "/images/{name:path}/json", nothing),
    Route("GET", "/containers/{id}/json", nothing),
    Route("PUT", "/volumes/{name}", nothing, since=(1, 42)),
])


def ask(method: str, path: str) -> tuple[str, Request]:
    request = Request(method, path, Query(), Headers(), None)  # type: ignore[arg-type]  # no route reads it
    return ROUTER.find(request).pattern, request


@pytest.mark.parametrize(("method", "path", "pattern", "parameters", "version"), [
    ("GET", "/info", "/info", {}, (1, 50)),
    ("GET", "/v1.24/info", "/info", {}, (1, 24)),
    ("GET", "/v1.50/images/json", "/images/json", {}, (1, 50)),
    ("GET", "/images/host:5000/a/b:c/json", "/images/{name:path}/json", {"name": "host:5000/a/b:c"}, (1, 50)),
    ("GET", "/v1.41/containers/x/json", "/containers/{id}/json", {"id": "x"}, (1, 41)),
    ("PUT", "/v1.42/volumes/a", "/volumes/{name}", {"name": "a"}, (1, 42)),
])
def test_finds(method: str, path: str, pattern: str, parameters: dict[str, str], version: tuple[int, int]) -> None:
    found, request = ask(method, path)
    assert (found, request.parameters, request.version) == (pattern, parameters, version)


@pytest.mark.parametrize(("path", "query", "place"), [
    ("//info", "", "/info"), ("/v1.41/containers//json", "all=1&x=a%20b", "/v1.41/containers/json?all=1&x=a%20b"), ("/a b//", "", "/a%20b/"),
    ("/v1.41/./info", "", "/v1.41/info"), ("/x/../../info", "", "/info"), ("///", "", "/"),
])
def test_a_path_that_is_not_clean_is_sent_on(path: str, query: str, place: str) -> None:
    answer = asyncio.run(ROUTER(Request("POST", path, Query(query), Headers(), None)))  # type: ignore[arg-type]  # no route reads it
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers) == (301, (("Location", place),))


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/"), ("POST", "/info"), ("GET", "/containers/a/b/json"), ("GET", "/v1.41/nowhere"), ("PUT", "/v1.41/volumes/a"),
    ("GET", "/v1.41"), ("GET", "/vx/info"), ("GET", "/v9.99/nowhere"), ("GET", "/containers//json"),
])
def test_page_not_found(method: str, path: str) -> None:
    with pytest.raises(NotFound, match=r"^page not found$"):
        ask(method, path)


@pytest.mark.parametrize(("path", "message"), [
    ("/v1.23/info", f"client version 1.23 {TOO_OLD}"),
    ("/v1/info", f"client version 1 {TOO_OLD}"),
    ("/v1.51/info", "client version 1.51 is too new. Maximum supported API version is 1.50"),
    ("/v1.100/info", "client version 1.100 is too new. Maximum supported API version is 1.50"),
    ("/v2/info", "client version 2 is too new. Maximum supported API version is 1.50"),
])
def test_versions_that_are_not_spoken(path: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        ask("GET", path)
    assert raised.value.message == message


@given(st.text(alphabet="0123456789.", min_size=1, max_size=80))
def test_any_version_is_taken_or_refused(text: str) -> None:
    found, rest = split_version(f"/v{text}/info")
    assert (found, rest) == (text, "/info")
    try:
        version = check_version(text)
    except InvalidArgument:
        return
    assert (1, 24) <= version <= (1, 50)


def test_every_error_has_a_status() -> None:
    kinds = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.WherryError)]
    for kind in kinds:
        if kind is not errors.WherryError:
            assert any(base in status.STATUS for base in kind.__mro__), kind


def test_a_derived_error_has_its_class_s_status_and_message() -> None:
    class Missing(NotFound):
        pass

    answer = status.error_response(Missing("No such thing: x"))
    assert (answer.status, answer.body) == (404, b'{"message":"No such thing: x"}\n')
    assert status.error_response(ValueError("oh")).status == 500


def test_query_reads_as_go_does() -> None:
    query = Query("a=1&b=False&c=none&d=&e=yes&e=2&f&n=12&filters=%7B%22label%22%3A%5B%22x%22%5D%7D")
    assert [query.flag(name) for name in "abcdef"] == [True, False, False, False, True, False]
    assert query.flag("z", default=True)
    assert query.texts("e") == ("yes", "2")
    assert query.integer("n") == 12
    assert query.filters().values("label") == ("x",)
    with pytest.raises(InvalidArgument, match=re.escape('strconv.Atoi: parsing "yes": invalid syntax')):
        query.integer("e")
    for text in ("1_0", "%201", "%D9%A1", "0x1"):
        with pytest.raises(InvalidArgument, match="invalid syntax"):
            Query(f"n={text}").integer("n")


def test_a_router_is_a_handler() -> None:
    request = Request("GET", "/v1.30/info", Query(), Headers(), None)  # type: ignore[arg-type]
    answer = asyncio.run(_call(request))
    assert isinstance(answer, Response)
    assert answer.status == 204


async def _call(request: Request) -> Answer:
    return await ROUTER(request)


@pytest.mark.parametrize(("seconds", "text"), [(784887151, "Tue, 15 Nov 1994 08:12:31 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT")])
def test_http_dates(seconds: int, text: str) -> None:
    assert http_date(seconds) == text
