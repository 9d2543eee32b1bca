"""COPY and ADD: which files go where. First what is meant (sources, their content's hash, the target), then the copying.

Docker's rules: a target that ends with a slash, that is a folder, or that has several sources, is a folder; a folder's content is
copied, not the folder; what is copied belongs to root unless --chown says otherwise; ADD unpacks a local tar archive.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat

from wherry.build.owner import resolve_owner
from wherry.build.tree import Owner, Tree, copy_children, copy_into, make_target_folder, write_file
from wherry.build.words import replace_variables
from wherry.errors import InvalidArgument, NotFound, Unsupported
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from wherry.build.instructions import Copy

    class Unpack(Protocol):
        """How a local archive is unpacked into a folder; given by the solver, which knows the store."""

        def __call__(self, source: int, folder: Callable[[], int]) -> bool:
            """True when the descriptor's file was an archive and is now unpacked; False when it is an ordinary file.

            `folder` opens the target, and makes it where it is missing; the descriptor is the caller's to close.
            """


class Source(Record):
    """One thing to copy: a path of the tree, or the bytes of a here-document."""

    path: str
    folder: bool = False
    data: bytes | None = None


class CopyPlan(Record):
    """What one COPY or ADD does. `target` is absolute; `into` says that it is a folder by its form."""

    sources: tuple[Source, ...]
    target: str
    into: bool
    unpack: bool
    content: str


def plan(step: Copy, words: tuple[str, ...], tree: Tree, working_dir: str, variables: Mapping[str, str], escape: str) -> CopyPlan:
    """Finds the sources and hashes them. Raises NotFound or InvalidArgument in Docker's words; touches nothing."""
    *names, target = words
    heredocs = {f"<<{'-' if one.strip_tabs else ''}{one.name}": one for one in step.heredocs}
    sources: list[Source] = []
    for name in names:
        heredoc = heredocs.get(name.replace('"', "").replace("'", ""))
        if heredoc is not None:
            text = replace_variables(heredoc.content, variables, escape) if heredoc.expand else heredoc.content
            sources.append(Source(path=heredoc.name, data=text.encode()))
        elif step.kind == "ADD" and name.startswith(("http://", "https://", "git://", "git@")):
            raise Unsupported(f"ADD from a URL is not supported: {name}; download it in a RUN or beside the Dockerfile")
        else:
            sources += _found(step, name, tree)
    into = target.endswith("/") or target in (".", "..") or posixpath.basename(target) in (".", "..")
    if len(sources) > 1 and not into:
        raise InvalidArgument(
            f"When using {step.kind} with more than one source file, the destination must be a directory and end with a /")
    return CopyPlan(sources=tuple(sources), target=posixpath.normpath(posixpath.join(working_dir, target)), into=into,
                    unpack=step.kind == "ADD", content=_content(sources, tree))


def _found(step: Copy, name: str, tree: Tree) -> list[Source]:
    if posixpath.normpath(name).split("/")[0] == "..":
        raise InvalidArgument(f"{step.kind} failed: forbidden path outside the build context: {name} ()")
    paths = tree.matching(name)
    if not paths:
        if any(char in name for char in "*?["):
            raise NotFound(f"{step.kind} failed: no source files were specified")
        where = "no such file in its source" if step.source else "file not found in build context or excluded by .dockerignore"
        raise NotFound(f"{step.kind} failed: {where}: stat {name}: file does not exist")
    return [Source(path=path, folder=tree.kind(path) == stat.S_IFDIR) for path in paths]


def _content(sources: list[Source], tree: Tree) -> str:
    """`file:<hash>`, `dir:<hash>` or `multi:<hash>`: what the cache and the history know the sources by."""
    parts = [("dir:" if one.folder else "file:")
             + (hashlib.sha256(one.data).hexdigest() if one.data is not None else tree.digest(one.path)) for one in sources]
    if len(parts) == 1:
        return parts[0]
    return "multi:" + hashlib.sha256(",".join(parts).encode()).hexdigest()


def apply(step: Copy, copy: CopyPlan, source: Tree, rootfs: str, unpack: Unpack) -> None:
    """Copies into the mounted tree of the stage. Raises InvalidArgument for what does not fit."""
    with Tree(rootfs) as target:
        owner = resolve_owner(step.owner, target)
        owner.mode = _mode(step.mode)
        owner.keep = bool(step.source) and not step.owner  # another stage's files stay whose they are
        there = target.kind(copy.target)
        for one in copy.sources:
            if one.folder:
                if there not in (None, stat.S_IFDIR):
                    raise InvalidArgument(f"cannot copy to non-directory: {copy.target}")
                _copy_folder(source, one, target, copy.target, owner)
            else:
                _copy_file(source, one, target, copy, owner, unpack, folder=copy.into or there == stat.S_IFDIR)


def _copy_folder(source: Tree, one: Source, target: Tree, path: str, owner: Owner) -> None:
    opened = source.open(one.path)
    try:
        folder = make_target_folder(target, path, owner)
        try:
            copy_children(opened, folder, owner)
        finally:
            os.close(folder)
    finally:
        os.close(opened)


def _copy_file(source: Tree, one: Source, target: Tree, copy: CopyPlan, owner: Owner, unpack: Unpack, *, folder: bool) -> None:
    if one.data is not None:
        parent, name = (copy.target, one.path) if folder else posixpath.split(copy.target)
        _into(target, parent, owner, lambda into: write_file(one.data or b"", into, name, owner))
        return
    opened = source.open(one.path)
    try:
        if copy.unpack and _unpacked(opened, target, copy.target, unpack):
            return
        parent, name = (copy.target, posixpath.basename(one.path)) if folder else posixpath.split(copy.target)
        _into(target, parent, owner, lambda into: copy_into(opened, into, name, owner))
    finally:
        os.close(opened)


def _unpacked(opened: int, target: Tree, path: str, unpack: Unpack) -> bool:
    """Unpacks a local archive; False when the file is none, and nothing was done then."""
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        return False
    if target.kind(path) not in (None, stat.S_IFDIR):
        return False
    return unpack(opened, lambda: make_target_folder(target, path, Owner()))


def _into(target: Tree, parent: str, owner: Owner, put: Callable[[int], None]) -> None:
    folder = make_target_folder(target, parent, owner)
    try:
        put(folder)
    finally:
        os.close(folder)


def _mode(text: str) -> int | None:
    if not text:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise InvalidArgument(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
    return mode


def looks_like_archive(head: bytes) -> bool:
    """Whether a file's first 512 bytes are those of a tar, plain or compressed."""
    if head.startswith((b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")):
        return True
    return len(head) >= 512 and head[257:262] == b"ustar"


def as_stream(descriptor: int) -> io.BufferedReader:
    """A reader for an O_PATH descriptor's file, from its beginning."""
    return open(f"/proc/self/fd/{descriptor}", "rb")
