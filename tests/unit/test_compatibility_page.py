"""docs/compatibility.md is what the program's tables say, has a row for everything in them, and names tests that are there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import fields

from wherry.api.docker import absent
from wherry.api.docker.api import router
from wherry.cli import index
from wherry.daemon.flags import REFUSED_KEYS, SETTINGS
from wherry.engine.model import ContainerConfig, HostConfig
from wherry.runtime.main import COMMANDS

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
API_SOURCES = "".join(path.read_text() for path in (ROOT / "src/wherry/api/docker").glob("*.py"))
# Operations that the description does not have, or that are aliases of one that it has.
BESIDE = {"POST /grpc", "POST /build/cancel", "GET /containers/{}/checkpoints", "POST /containers/{}/checkpoints",
          "DELETE /containers/{}/checkpoints/{}", "GET /networks/", "OPTIONS /{}"}

# How the SDK calls it.
SYNONYMS = {"POST /images/create": r"images\.pull", "GET /images/get": r"\.save\(", "GET /images/{name}/get": r"\.save\(",
            "GET /distribution/{name}/json": "get_registry_data|distribution"}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compatibility", ROOT / "scripts/compatibility.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def known(tool: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = tool.data()
    return found


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs/compatibility.md").read_text()


class Nobody:
    def __getattr__(self, name: str) -> Any:
        return self


def plain(operation: str) -> str:
    return re.sub(r"{[^}]+}", "{}", operation)


def test_the_page_is_what_the_tool_writes(tool: ModuleType, page: str) -> None:
    assert page == tool.page(), "scripts/compatibility.py --write makes it anew"


def test_each_operation_of_the_description_has_one_row(tool: ModuleType, known: dict[str, Any], page: str) -> None:
    operations = [operation for _, operation, _ in tool.operations(known)]
    assert len(operations) == len(set(operations)) == 108
    for operation in operations:
        assert page.count(f"| `{operation}` |") == 1


def test_each_route_is_listed(tool: ModuleType, known: dict[str, Any]) -> None:
    listed = {plain(operation) for _, operation, _ in tool.operations(known)}
    served = {plain(f"{route.method} {route.pattern}") for route in router(Nobody()).routes}  # type: ignore[arg-type]
    assert served - listed <= BESIDE
    assert listed <= served


def test_what_is_absent_is_not_called_done(page: str) -> None:
    for route in absent.routes():
        operation = re.sub(r":path", "", f"{route.method} {route.pattern}")
        rows = [line for line in page.splitlines() if line.startswith(f"| `{operation}` |")]
        assert all("| not yet |" in row for row in rows) or operation == "GET /plugins"


def test_each_parameter_that_counts_as_done_is_read(tool: ModuleType, known: dict[str, Any]) -> None:
    for _, operation, parameters in tool.operations(known):
        for name in parameters:
            if name == "filters":
                assert ".filters()" in API_SOURCES
            elif name[0] != "+":
                assert f'"{name.lstrip("-")}"' in API_SOURCES, (operation, name)


def test_a_parameter_that_changes_nothing_is_explained(tool: ModuleType, known: dict[str, Any]) -> None:
    for _, operation, parameters in tool.operations(known):
        if any(name[0] == "+" for name in parameters):
            assert known["api_notes"][operation]


def test_the_test_of_an_operation_speaks_of_it(page: str) -> None:
    rows = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|.*\| done \|.*\(\.\./([^)]+)\) \|$", page, re.MULTILINE)
    assert len(rows) > 60
    for operation, path in rows:
        words = [word for word in operation.partition(" ")[2].split("/") if word and word[0] != "{" and word != "json"]
        word = SYNONYMS.get(operation, re.escape(words[-1]))
        assert re.search(word, (ROOT / path).read_text()), (operation, path)


@pytest.mark.parametrize("struct", [ContainerConfig, HostConfig])
def test_each_field_of_a_container_is_listed(page: str, struct: Any) -> None:
    for field in fields(struct):
        assert f"`{field.encode_name}`" in page


def test_fields_and_flags_that_are_refused_exist(known: dict[str, Any]) -> None:
    names = {field.encode_name for struct in (ContainerConfig, HostConfig) for field in fields(struct)}
    assert set(known["fields"]["refused"]) | set(known["fields"]["notes"]) <= names
    for table in ("refused", "refused_by_wherryd"):
        for place, flags in known["commands"][table].items():
            assert set(flags) <= {flag.name for flag in flags_of(place)}, place


def flags_of(place: str) -> Any:
    where = next(row[2] for row in index.PLACES if row[0] == place)
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(f"wherry.cli.commands.{module}"), name).flags


def test_each_command_and_flag_has_a_row(page: str) -> None:
    for place, others, _, _ in index.PLACES:
        rows = "\n".join(line for line in page.splitlines() if re.match(rf"\| `{place}`( \(|\ \|)", line))
        assert rows, place
        for name in others:
            assert f"`{name}`" in rows
        for flag in flags_of(place):
            assert f"`--{flag.name}`" in rows, (place, flag.name)


def test_each_setting_of_the_daemon_and_command_of_the_runtime_has_a_place(page: str) -> None:
    for setting in SETTINGS:
        assert f"`--{setting.name}`" in page
    for word in (*REFUSED_KEYS, *COMMANDS, *index.REFUSED):
        assert f"`{word}`" in page


def test_places_of_the_data_file_exist(known: dict[str, Any], tool: ModuleType) -> None:
    places = {row[0] for row in index.PLACES}
    for table in ("tests", "notes", "refused", "refused_by_wherryd"):
        assert set(known["commands"][table]) <= places
    operations = {operation for _, operation, _ in tool.operations(known)}
    for table in ("api_notes", "api_tests", "api_refused"):
        assert set(known[table]) <= operations
    assert set(known["daemon"]["tests"]) <= {setting.name for setting in SETTINGS}
    assert set(known["runtime"]["tests"]) | set(known["runtime"]["notes"]) <= set(COMMANDS)


def test_each_test_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"\]\(\.\./(tests/[^)]+)\)", page))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []
