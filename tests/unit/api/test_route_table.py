"""Every operation of the Engine API has a route here: an answer, or a refusal that names it.

The list is that of scripts/compatibility.toml, our own transcript of the operations that the API's descriptions of 1.41 and 1.56 have;
where those files lie beside the project, it is compared with them.
"""

from __future__ import annotations

import asyncio
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wherry.api.docker import absent
from wherry.api.docker.api import router
from wherry.api.docker.http import Headers, Query, Request
from wherry.api.docker.status import status_of
from wherry.errors import WherryError

if TYPE_CHECKING:
    from wherry.api.docker.router import Route, Router

with (Path(__file__).parents[3] / "scripts/compatibility.toml").open("rb") as _file:
    OPERATIONS = tuple(text.partition(" ? ")[0] for section in tomllib.load(_file)["api"] for text in section["operations"])

# Beside the description: POST /grpc, and what dockerd has had for long.
FURTHER = ("POST /grpc", "POST /build/cancel", "OPTIONS /anything", "GET /containers/{id}/checkpoints",
           "POST /containers/{id}/checkpoints")
SPECIFICATIONS = os.environ.get("WHERRY_ENGINE_API", "../shared/spec/engine-api")


class Nobody:
    """An engine that is not there: routes are listed without asking it."""

    def __getattr__(self, name: str) -> Any:
        return self


def find(routes: Router, operation: str) -> Route:
    method, path = operation.split(" ")
    return routes.find(Request(method, re.sub(r"\{\w+\}", "x", path), Query(), Headers(), None))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def routes() -> Router:
    return router(Nobody())  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", [*OPERATIONS, *FURTHER])
def test_every_operation_has_a_route(routes: Router, operation: str) -> None:
    find(routes, operation)


@pytest.mark.parametrize("operation", ["GET /images/a/b/c:d/json", "POST /images/localhost:5000/a/b/tag",
                                       "DELETE /images/localhost:5000/a/b", "GET /images/a/b/get", "POST /plugins/a/b/enable",
                                       "GET /distribution/a/b/c/json"])
def test_names_may_have_slashes(routes: Router, operation: str) -> None:
    assert ":path}" in find(routes, operation).pattern


def test_fixed_paths_are_not_taken_for_names(routes: Router) -> None:
    for operation in ("GET /images/json", "GET /images/get", "POST /networks/create", "POST /volumes/prune",
                      "POST /containers/prune", "GET /images/search"):
        assert "{" not in find(routes, operation).pattern


def test_no_route_is_listed_twice_or_hidden(routes: Router) -> None:
    seen: set[tuple[str, str]] = set()
    for route in routes.routes:
        assert (route.method, route.pattern) not in seen, route
        seen.add((route.method, route.pattern))
        path = re.sub(r"\{\w+(:path)?\}", "x", route.pattern)
        request = Request(route.method, path, Query(), Headers(), None)  # type: ignore[arg-type]
        assert routes.find(request) is route


@pytest.mark.parametrize("route", absent.routes(), ids=repr)
def test_what_is_absent_is_refused_by_name(route: Route) -> None:
    path = re.sub(r"\{\w+(:path)?\}", "x", route.pattern)
    request = Request(route.method, path, Query(), Headers(), None)  # type: ignore[arg-type]
    request.parameters = {"name": "x"}
    if route.pattern == "/plugins" and route.method == "GET":
        asyncio.run(answer(route, request))
        return
    with pytest.raises(WherryError) as raised:
        asyncio.run(answer(route, request))
    assert status_of(raised.value) in (404, 501, 503)
    assert raised.value.message


async def answer(route: Route, request: Request) -> None:
    await route.handler(request)


@pytest.mark.parametrize("name", ["v1.41.yaml", "v1.56-swagger.yaml"])
def test_the_list_is_that_of_the_description(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    path = Path(__file__).parents[3] / SPECIFICATIONS / name
    if not path.exists():
        pytest.skip(f"the description of the API ({name}) does not lie beside the project")
    with path.open() as file:
        found = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    operations = {f"{method.upper()} {re.sub(r'{[^}]+}', '{}', where)}" for where, methods in found["paths"].items()
                  for method in methods if method in ("get", "post", "put", "delete", "head")}
    assert operations - {re.sub(r"{[^}]+}", "{}", one) for one in OPERATIONS} == set()
