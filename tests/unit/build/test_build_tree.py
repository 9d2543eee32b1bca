"""Copying between trees: what lands where, and that no link leads out. Runs as any user who owns the files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from wherry.build import copying
from wherry.build.instructions import Copy, instruction
from wherry.build.parser import parse
from wherry.build.tree import Owner, Tree
from wherry.errors import InvalidArgument, NotFound, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

ME = f"{os.getuid()}:{os.getgid()}"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "dir/sub").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "b.txt").write_text("b")
    (root / "dir/inner").write_text("inner")
    (root / "dir/sub/deep").write_text("deep")
    (root / "dir/link").symlink_to("/etc/passwd")
    (root / "escape").symlink_to("/../../../../etc")
    os.chmod(root / "a.txt", 0o750)
    return root


def copy(text: str, context: Path, rootfs: Path, working_dir: str = "/") -> None:
    step = instruction(parse(text.replace("COPY ", f"COPY --chown={ME} ").replace("ADD ", f"ADD --chown={ME} ")).nodes[0])
    assert isinstance(step, Copy)
    with Tree(str(context)) as tree:
        plan = copying.plan(step, step.words, tree, working_dir, {"v": "value"}, "\\")
        copying.apply(step, plan, tree, str(rootfs), lambda source, folder: False)


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize(("text", "expected"), [
    ("COPY a.txt /x", ["x"]),
    ("COPY a.txt /x/", ["x", "x/a.txt"]),
    ("COPY a.txt b.txt /x/", ["x", "x/a.txt", "x/b.txt"]),
    ("COPY *.txt /x/", ["x", "x/a.txt", "x/b.txt"]),
    ("COPY [ab].txt /x/", ["x", "x/a.txt", "x/b.txt"]),
    ("COPY dir /x", ["x", "x/inner", "x/link", "x/sub", "x/sub/deep"]),
    ("COPY dir/sub/ /x/y/z", ["x", "x/y", "x/y/z", "x/y/z/deep"]),
    ("COPY a.txt sub/", ["w", "w/sub", "w/sub/a.txt"]),
    ("COPY <<file /x/\nhello $v\nfile\n", ["x", "x/file"]),
])
def test_where_things_land(text: str, expected: list[str], context: Path, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    copy(text, context, rootfs, "/w" if "sub/" in text and "dir" not in text else "/")
    assert listing(rootfs) == expected


def test_contents_permissions_links(context: Path, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    copy("COPY . /x/", context, rootfs)
    assert (rootfs / "x/a.txt").stat().st_mode & 0o7777 == 0o750
    assert os.readlink(rootfs / "x/dir/link") == "/etc/passwd"
    copy("COPY <<a /h\nhello $v\na\n", context, rootfs)
    assert (rootfs / "h").read_text() == "hello value\n"


def test_links_in_the_image_stay_inside(context: Path, tmp_path: Path) -> None:
    outside, rootfs = tmp_path / "outside", tmp_path / "rootfs"
    outside.mkdir()
    (rootfs / "real").mkdir(parents=True)
    (rootfs / "evil").symlink_to("../outside")
    (rootfs / "absolute").symlink_to("/real")
    copy("COPY a.txt /absolute/", context, rootfs)
    assert (rootfs / "real/a.txt").exists()
    with pytest.raises((InvalidArgument, NotFound, OSError)):
        copy("COPY a.txt /evil/", context, rootfs)
    assert list(outside.iterdir()) == []
    (rootfs / "file-link").symlink_to("../outside/target")
    copy("COPY a.txt /file-link", context, rootfs)
    assert list(outside.iterdir()) == []


def test_links_in_the_context_stay_inside(context: Path, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    with pytest.raises(NotFound, match="COPY failed: file not found in build context"):
        copy("COPY escape/passwd /x", context, rootfs)
    assert listing(rootfs) == []


@pytest.mark.parametrize(("text", "error", "message"), [
    ("COPY nosuch /x", NotFound, "COPY failed: file not found in build context or excluded by .dockerignore: stat nosuch: file does not exist"),
    ("COPY no*such /x/", NotFound, "COPY failed: no source files were specified"),
    ("COPY a.txt b.txt /x", InvalidArgument, "must be a directory and end with a /"),
    ("ADD http://host/x /x", Unsupported, "ADD from a URL is not supported"),
])
def test_refused(text: str, error: type[Exception], message: str, context: Path, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    with pytest.raises(error, match=message.replace("*", "\\*")):
        copy(text, context, rootfs)
    assert listing(rootfs) == []


def test_folder_over_file(context: Path, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    (rootfs / "x").write_text("file")
    with pytest.raises(InvalidArgument, match="cannot copy to non-directory: /x"):
        copy("COPY dir /x", context, rootfs)
    assert (rootfs / "x").read_text() == "file"


def test_digest_is_of_content_not_of_time(context: Path) -> None:
    with Tree(str(context)) as tree:
        before = tree.digest("dir")
        os.utime(context / "dir/inner", (1, 1))
        assert tree.digest("dir") == before
        (context / "dir/inner").write_text("other")
        assert tree.digest("dir") != before
        assert tree.digest("a.txt") != tree.digest("b.txt")


def test_mode_replaces() -> None:
    assert Owner(1, 2, 0o640).mode == 0o640
    with pytest.raises(InvalidArgument, match="invalid chmod parameter"):
        copying._mode("9z")
