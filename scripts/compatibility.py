#!/usr/bin/env python3
"""Makes docs/compatibility.md: what is done of Docker's surface and what is not, of the program's own tables.

    scripts/compatibility.py            print the page
    scripts/compatibility.py --write    write it

What the tables do not say (the operations of the API's description, tests, notes, what is refused) is in compatibility.toml.
A unit test makes the page too, and fails when the one in docs/ is another.
"""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import fields

from wherry.api.containerd.binding import python_name
from wherry.api.containerd.services import services
from wherry.api.docker import absent
from wherry.api.docker.api import router
from wherry.build.instructions import _FLAGS, _MAKERS, _NEEDS_BUILDKIT
from wherry.cli import index
from wherry.ctr import main as ctr
from wherry.ctr.index import TREE as CTR_TREE
from wherry.daemon.flags import REFUSED_KEYS, SETTINGS
from wherry.engine.model import ContainerConfig, HostConfig
from wherry.network.proxy.single import FLAGS as PROXY_FLAGS
from wherry.runtime.main import COMMANDS as RUNTIME_COMMANDS
from wherry.runtime.main import GLOBAL_FLAGS, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/compatibility.md"
DONE, NOT_YET = "done", "not yet"

INTRODUCTION = """# What is done of Docker's surface

Each operation of the Engine API, each command, flag, key and instruction: «done» or «not yet», and the test that shows it. What is not yet done
is refused by name, before anything is changed; it is never parsed and ignored. The page is made by `scripts/compatibility.py --write` out of the
program's own tables; a unit test fails when it is not what they say.

"""


def data() -> dict[str, Any]:
    """compatibility.toml."""
    with (Path(__file__).with_suffix(".toml")).open("rb") as file:
        return tomllib.load(file)


def operations(known: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, list[str]]]:
    """(section, operation, query parameters with their marks) in the page's order."""
    for section in known["api"]:
        for text in section["operations"]:
            operation, _, parameters = text.partition(" ? ")
            yield section, operation, parameters.split()


def page() -> str:
    """The whole page."""
    known = data()
    sections = (("Engine API", _api), ("Fields of a container", _fields), ("The command line", _commands), ("wherryd", _daemon),
                ("containerd's API", _containerd), ("wherry-ctr", _ctr), ("wherry-runc", _runtime), ("wherry-proxy", _proxy), ("Dockerfile", _dockerfile))
    links = " · ".join(f"[{title}](#{title.lower().replace(' ', '-').replace(chr(39), '')})" for title, _ in sections)
    return INTRODUCTION + links + "\n" + "".join(f"\n## {title}\n\n{make(known)}" for title, make in sections)


class _Nobody:
    """An engine that is not there: routes are listed without asking it."""

    def __getattr__(self, name: str) -> _Nobody:
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(())


def _api(known: dict[str, Any]) -> str:
    routes = router(_Nobody()).routes  # type: ignore[arg-type]
    lacking = {_plain(repr(route)[6:-1]) for route in absent.routes()} - {"GET /plugins"}
    served = {_plain(f"{route.method} {route.pattern}"): route.since for route in routes}
    text = "Versions 1.24 to 1.50 are served; what a later version brought is told apart by the version that a request asks for.\n"
    rows: dict[str, list[tuple[str, ...]]] = {}
    for section, operation, parameters in operations(known):
        plain = _plain(operation)
        refused = known["api_refused"].get(operation) or ("refused by name" if plain in lacking else "")
        if plain not in served:
            refused = "no such route"
        notes = [refused or known["api_notes"].get(operation, "")]
        if since := [name[1:] for name in parameters if name[0] == "-"]:
            notes.append(f"{_code(since)}: refused by name")
        good = [name.lstrip("+") for name in parameters if name[0] != "-"]
        test = known["api_tests"].get(operation) or (known["tests"]["operations"] if refused else section["test"])
        rows.setdefault(section["title"], []).append(
            (f"`{operation}`", _code(good), NOT_YET if refused else DONE, "; ".join(filter(None, notes)), _link(test)))
    for title, found in rows.items():
        text += f"\n### {title}\n\n" + _table(("operation", "query parameters", "", "note", "test"), found)
    return text


def _fields(known: dict[str, Any]) -> str:
    refused, notes = set(known["fields"]["refused"]), known["fields"]["notes"]
    rows = []
    for kind, struct in (("Config", ContainerConfig), ("HostConfig", HostConfig)):
        names = [field.encode_name for field in fields(struct)]
        rows.append((kind, _code(name for name in names if name not in refused), DONE, ""))
        rows.append((kind, _code(name for name in names if name in refused), NOT_YET, "zero is accepted, all else is refused by name"))
    text = "`POST /containers/create`. Each field has an effect that the test finds, or is refused: " + _link(
        known["tests"]["container_fields"]) + ".\n\n" + _table(("part", "fields", "", "note"), rows) + "\n"
    return text + "".join(f"- `{name}`: {note}\n" for name, note in sorted(notes.items()))


def _commands(known: dict[str, Any]) -> str:
    facts = known["commands"]
    rows: list[tuple[str, ...]] = []
    for place, others, where, _ in sorted(index.PLACES):
        module, _, name = where.partition(":")
        command = getattr(importlib.import_module(f"wherry.cli.commands.{module}"), name)
        mine, sent = facts["refused"].get(place, []), facts["refused_by_wherryd"].get(place, [])
        lacking = mine + sent
        title = f"`{place}`" + (f" ({', '.join(f'`{one}`' for one in others)})" if others else "")
        good = _code(f"--{flag.name}" for flag in command.flags if flag.name not in lacking)
        status = NOT_YET if command.flags and not good else DONE
        if status == DONE:
            rows.append((title, good, status, facts["notes"].get(place, ""), _link(_test(known, place))))
        for names, note in ((mine, "refused by name"), (sent, "sent; wherryd refuses it by name")):
            if names:
                rows.append((title, _code(f"--{one}" for one in names), NOT_YET,
                             facts["notes"].get(place, note) if status == NOT_YET else note, _link(_test(known, place))))
    text = "`wherry` has docker 28's commands and flags; where a row has no test of its own, the one named shows that the command's help and\nflags are told truly. "
    return text + f"Refused by name as a whole: {_code(sorted(index.REFUSED))}.\n\n" + _table(
        ("command", "flags", "", "note", "test"), rows)


def _test(known: dict[str, Any], place: str) -> str:
    found: str = known["commands"]["tests"].get(place, known["tests"]["commands"])
    return found


def _daemon(known: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = []
    usual = known["tests"]["daemon"]
    for setting in SETTINGS:
        if not setting.refused:
            test = known["daemon"]["tests"].get(setting.name, usual)
            rows.append((f"`--{setting.name}`", f"`{setting.key}`" if setting.key else "", setting.flag.help, _link(test)))
    refused = [setting for setting in SETTINGS if setting.refused]
    text = "Done, with the key in daemon.json:\n\n" + _table(("flag", "key", "", "test"), rows)
    text += f"\nNot yet; another value than the default is refused by name ({_link(usual)}):\n"
    text += _code(f"--{setting.name}" for setting in refused)
    return text + f"; in daemon.json alone: {_code(REFUSED_KEYS)}.\n"


def _containerd(known: dict[str, Any]) -> str:
    facts, rows = known["containerd"], []
    nobody: Any = _Nobody()
    done = {service.description.full_name: service.implementation for service in services(nobody, nobody, nobody)}
    for name in facts["messages"]:
        described = importlib.import_module(f"wherry.proto.services.{name}_pb2").DESCRIPTOR.services_by_name
        for service in described.values():
            short = service.full_name.removeprefix("containerd.services.")
            methods = [method.name for method in service.methods]
            there = [one for one in methods if hasattr(done.get(service.full_name), python_name(one))]
            refused = [one for one in there if f"{short}.{one}" in facts["refused"]]
            for status, found, note in ((DONE, [one for one in there if one not in refused], facts["notes"].get(short, "")),
                                        (NOT_YET, refused, "refused by name"),
                                        (NOT_YET, [one for one in methods if one not in there], "UNIMPLEMENTED")):
                if found:
                    rows.append((f"`{service.full_name}`", _code(found), status, note, _link(facts["tests"].get(name, facts["test"]))))
    return ("`wherryd`'s gRPC socket; also `grpc.health.v1.Health` (`Check`). Calls are compared with containerd 1.6.20: codes, texts, answers.\n\n"
            + _table(("service", "methods", "", "note", "test"), rows))


def _ctr(known: dict[str, Any]) -> str:
    facts, usual = known["ctr"], known["tests"]["ctr"]
    rows: list[tuple[str, ...]] = [("(every command)", _flag_names((*ctr.GLOBAL_FLAGS, ctr.VERSION_FLAG)), DONE, "", _link(usual))]
    for group, names, place, _ in CTR_TREE:
        name = f"{group} {names[0]}".strip()
        flags = ctr.load(place).flags if place else ctr.GROUP_FLAGS.get(name, ())
        if place or flags:
            rows.append((f"`{name}`", _flag_names(flags), DONE, facts["notes"].get(name, ""), _link(facts["tests"].get(name, usual))))
    return _table(("command", "flags", "", "note", "test"), rows)


def _runtime(known: dict[str, Any]) -> str:
    facts = known["runtime"]
    rows: list[tuple[str, ...]] = [("(every command)", _flag_names(GLOBAL_FLAGS), DONE,
                                   "`--criu` is for callers that give it",
                                   _link(known["tests"]["runtime"]))]
    for name in RUNTIME_COMMANDS:
        command, _ = load(name)
        rows.append((f"`{name}`", _flag_names(command.flags), NOT_YET if name in facts["refused"] else DONE,
                     facts["notes"].get(name, ""), _link(facts["tests"].get(name, known["tests"]["runtime"]))))
    return _table(("command", "flags", "", "note", "test"), rows)


def _flag_names(flags: Iterable[Any]) -> str:
    return _code(f"--{name}" if len(name) > 1 else f"-{name}" for flag in flags for name in flag.names)


def _proxy(known: dict[str, Any]) -> str:
    return f"docker-proxy's flags, all done ({_link(known['tests']['proxy'])}): {_code('-' + name.replace('_', '-') for name in PROXY_FLAGS)}.\n"


def _dockerfile(known: dict[str, Any]) -> str:
    facts, rows = known["dockerfile"], []
    usual = known["tests"]["dockerfile"]
    for name in sorted(_MAKERS):
        flags = sorted(_FLAGS.get(name, ()))
        lacking = sorted(one.partition(" ")[2] for one in _NEEDS_BUILDKIT if one.startswith(f"{name} "))
        note = facts["notes"].get(name, "")
        if lacking:
            note = "; ".join(filter(None, (note, f"{_code(lacking)} need BuildKit: refused by name, as by docker's classic builder")))
        rows.append((f"`{name}`", _code(f"--{flag}" for flag in flags), DONE, note, _link(facts["tests"].get(name, usual))))
    return "The classic builder's, with here-documents.\n\n" + _table(("instruction", "flags", "", "note", "test"), rows)


def _plain(operation: str) -> str:
    return re.sub(r"{[^}]+}", "{}", operation)


def _code(words: Iterable[str]) -> str:
    return " ".join(f"`{word}`" for word in words)


def _link(test: str) -> str:
    return f"[{Path(test).stem}](../{test})"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())
