"""A program for the inside of a container that stops whoever enters it and tries what CVE-2019-5736 and CVE-2016-9962 did.

Run by the host's interpreter (its folders are given to the container, read-only) as the container's pid 1, with CAP_SYS_PTRACE. Process ids of
a namespace follow each other, so the next one can be stopped the moment it exists: before it has become the program it was made for. What is
behind its `/proc/<pid>` is then looked at in peace, a few instructions are granted, and so on until it is the program. One JSON object per look
goes to the file in `argv[1]`; `argv[2]` is the program the processes become in the end.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import sys
import time

AHEAD = 4
FINE_LOOKS = 300
COARSE_S = 0.0003


def is_foreign(path: str, own: int) -> bool:
    """Whether a descriptor is of a file or folder outside the container's root filesystem; pipes, sockets, devices are none."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)) and found.st_dev != own


def read_only(path: str) -> bool:
    """Whether the file behind a link of /proc is on a read-only mount, or closed to us.

    Opening it for writing would tell ETXTBSY while it runs; the exploit keeps a descriptor and writes later.
    """
    try:
        fd = os.open(path, os.O_PATH)
    except OSError:
        return True
    try:
        return bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY) or os.fstat(fd).st_nlink == 0
    finally:
        os.close(fd)


def link(path: str) -> str:
    """Where a link leads, or why that is not told."""
    try:
        return os.readlink(path)
    except OSError as error:
        return "!" + errno.errorcode[error.errno or 0]


def names(path: str) -> list[str]:
    """The names in a folder; none when it cannot be read."""
    try:
        return os.listdir(path)
    except OSError:
        return []


def look(place: str) -> dict[str, object]:
    """What is behind one process."""
    own_root = os.stat("/")
    try:
        root = os.stat(f"{place}/root/")
        inside = (root.st_dev, root.st_ino) == (own_root.st_dev, own_root.st_ino)
    except OSError:
        inside = True  # gone, or closed to us
    return {
        "exe": link(f"{place}/exe"),
        "exe_writable": not read_only(f"{place}/exe"),
        "root_inside": inside,
        "root_files": names(f"{place}/root"),
        "cwd": link(f"{place}/cwd"),
        "foreign": sorted({link(f"{place}/fd/{name}") for name in names(f"{place}/fd")
                           if is_foreign(f"{place}/fd/{name}", own_root.st_dev)}),
        "writable_maps": sorted({link(f"{place}/map_files/{name}") for name in names(f"{place}/map_files")
                                 if not read_only(f"{place}/map_files/{name}")}),
    }


def main() -> None:
    """Waits for processes for ever."""
    pid = 2
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write("ready\n")
        out.flush()
        while True:
            for candidate in range(pid, pid + AHEAD):
                try:
                    os.kill(candidate, signal.SIGSTOP)
                except ProcessLookupError:
                    continue
                pid = candidate + 1
                looks = 0
                while True:
                    seen = look(f"/proc/{candidate}")
                    if link(f"/proc/{candidate}/exe") != seen["exe"]:
                        continue  # it became its program while we looked: half of this is about that one
                    ended = str(seen["exe"]).startswith("!") or seen["exe"] == sys.argv[2]
                    if not ended:
                        out.write(json.dumps(seen) + "\n")
                        out.flush()
                    try:
                        os.kill(candidate, signal.SIGCONT)
                        if ended:
                            break
                        looks += 1
                        if looks < FINE_LOOKS:
                            os.sched_yield()
                        else:  # a system call that every signal makes begin again would never end
                            time.sleep(COARSE_S)
                        os.kill(candidate, signal.SIGSTOP)
                    except ProcessLookupError:
                        break
                break


if __name__ == "__main__":
    main()
