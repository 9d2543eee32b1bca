"""What a path of `cp` means at each end: docker's rules about trailing slashes, `/.`, links and what is there already."""

from __future__ import annotations

import os

from wherry.cli.command import CommandFailed
from wherry.record import Record

TYPE_CHECKING = False


class CopyEnd(Record):
    """One end of a copy. `rebase` is the name that the content is to have instead of the path's own."""

    path: str
    exists: bool = False
    is_folder: bool = False
    rebase: str = ""


def says_folder(path: str) -> bool:
    """Whether a path says by its form that it is a folder: `x/`, `x/.`."""
    return path.endswith("/") or path.rpartition("/")[2] == "."


def clean(path: str) -> str:
    """Go's filepath.Clean."""
    if not path:
        return "."
    rooted = path.startswith("/")
    out: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and out and out[-1] != "..":
            out.pop()
        elif part != ".." or not rooted:
            out.append(part)
    text = "/".join(out)
    return "/" + text if rooted else text or "."


def keep_ending(cleaned: str, original: str) -> str:
    """The cleaned path with the `/.` or `/` that the original ended with."""
    if original.rpartition("/")[2] == "." and cleaned.rpartition("/")[2] != ".":
        cleaned = cleaned if cleaned.endswith("/") else cleaned + "/"
        return cleaned + "."
    if original.endswith("/") and not cleaned.endswith("/"):
        return cleaned + "/"
    return cleaned


def local(path: str) -> str:
    """A local path made absolute, its ending kept."""
    return keep_ending(clean(os.path.join(os.getcwd(), path)), path)


def split(path: str) -> tuple[str, str]:
    """(folder, last part) of a path, `/x/.` being («/x», «.»)."""
    cleaned = keep_ending(clean(path), path)
    if cleaned.endswith("/") and len(cleaned) > 1 and not cleaned.endswith("/."):
        cleaned = cleaned.rstrip("/") or "/"
    folder, _, base = cleaned.rpartition("/")
    return folder or "/", base


def plan(source: CopyEnd, target: CopyEnd) -> tuple[str, tuple[str, str] | None]:
    """Where the archive is to be unpacked, and how its members are to be renamed. Raises CommandFailed."""
    folder, base = split(target.path)
    name = source.rebase or split(source.path)[1]
    if target.exists and target.is_folder:
        return target.path, None
    if target.exists and source.is_folder:
        raise CommandFailed("cannot copy directory")
    if not target.exists and not source.is_folder and says_folder(target.path):
        raise CommandFailed("no such directory")
    return folder, (name, base)


def go_error(call: str, path: str, error: OSError) -> CommandFailed:
    """An error of a local path in Go's words."""
    return CommandFailed(f"{call} {path}: {(error.strerror or '').lower()}")


def local_source(path: str, follow: bool) -> CopyEnd:
    """What is at the local source. Raises CommandFailed."""
    absolute = local(path)
    try:
        bare = absolute.rstrip("/") or "/"
        if follow and os.path.islink(bare):
            resolved = os.path.realpath(bare)
            os.stat(resolved)
            rebase = os.path.basename(bare) if os.path.basename(bare) != os.path.basename(resolved) else ""
            return CopyEnd(path=keep_ending(resolved, absolute), exists=True, is_folder=os.path.isdir(resolved), rebase=rebase)
        info = os.stat(absolute) if says_folder(absolute) else os.lstat(absolute)
    except OSError as wrong:
        raise go_error("lstat", clean(absolute) if not absolute.startswith("//") else absolute, wrong) from None
    is_folder = (info.st_mode & 0o170000) == 0o040000
    if says_folder(absolute) and not is_folder:
        raise CommandFailed("not a directory")
    return CopyEnd(path=absolute, exists=True, is_folder=is_folder)


def local_target(path: str) -> CopyEnd:
    """What is at the local target, links followed. Raises CommandFailed."""
    absolute = local(path)
    folder = os.path.dirname(absolute.rstrip("/") or "/")
    if not os.path.exists(absolute) and not os.path.isdir(folder):
        raise CommandFailed(f'invalid output path: directory "{folder}" does not exist')
    bare = absolute.rstrip("/") or "/"
    for _ in range(10):
        if not os.path.islink(bare):
            break
        bare = clean(os.path.join(os.path.dirname(bare), os.readlink(bare)))
    else:
        raise CommandFailed(f"too many symlinks in {absolute}")
    if not os.path.lexists(bare):
        if says_folder(absolute):
            return CopyEnd(path=keep_ending(bare, absolute))
        return CopyEnd(path=bare)
    mode = os.lstat(bare).st_mode & 0o170000
    if mode in (0o060000, 0o020000) and bare != "/dev/null":
        raise CommandFailed("invalid output path: got a device")
    return CopyEnd(path=keep_ending(bare, absolute), exists=True, is_folder=mode == 0o040000)
