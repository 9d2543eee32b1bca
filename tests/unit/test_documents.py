"""What the documents name is there: each link, and each file or folder of the tree that stands in code quotes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
TREE = ("src", "tests", "docs", "scripts", "packaging", "bench", "bin", "vm")
ROOMS = tuple(sorted(path.name for path in (ROOT / "src/wherry").iterdir() if path.is_dir() and path.name != "__pycache__"))
# A file below the data root.
NOT_HERE = {"network/files/local-kv.db"}


def paths(text: str) -> list[str]:
    """Quoted words that are a path of the tree: of the root or of a room; a bare module is in the folder that was named last."""
    found, folder = [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = re.match(r"## ([a-z/]+)", line)
            folder = heading[1] if heading and heading[1].split("/")[0] in ROOMS else ""
        for word in re.findall(r"`([\w./*-]+)`", line):
            first = word.split("/")[0]
            if "/" in word and first in (*TREE, *ROOMS):
                found.append(word)
                folder = word.rstrip("/") if word.endswith("/") else word.rpartition("/")[0]
            elif folder and re.fullmatch(r"[a-z_]+\.py", word):
                found.append(next((f"{one}/{word}" for one in (folder, *map(str, Path(folder).parents)) if exists(f"{one}/{word}")),
                                  f"{folder}/{word}"))
    return found


def exists(path: str) -> bool:
    pattern = path.rstrip("/")
    return any(list(base.glob(pattern)) or list(base.glob(f"{pattern}.py")) for base in (ROOT, ROOT / "src/wherry", ROOT / "src"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_path_that_is_named_is_there(document: Path) -> None:
    assert [path for path in paths(document.read_text()) if not exists(path) and path not in NOT_HERE] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (document.parent / link).exists()] == []
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_paths_are_found_in_text() -> None:
    assert paths("| x | `store/mounts.py`, `images.py` and `--flag`, `a/b` |") == ["store/mounts.py", "store/images.py"]
    assert not exists("store/nowhere.py")
    assert exists("tests/peers/test_cli_*.py")
