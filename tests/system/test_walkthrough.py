"""The commands of docs/walkthrough.md print what the page shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "walkthrough.py"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("walkthrough", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_commands_print() -> None:
    walkthrough = script()
    page = walkthrough.PAGE.read_text()
    assert page.count("\n$ wherry ") > 15
    assert walkthrough.difference(page, walkthrough.walk(page)) == ""


def test_a_difference_is_found() -> None:
    walkthrough = script()
    assert walkthrough.difference("$ a\n0cb634ed8765 2 hours ago\n", "$ a\n1cb634ed8765 3 days ago\n") == ""
    assert "+wrong" in walkthrough.difference("$ a\nright\n", "$ a\nwrong\n")
