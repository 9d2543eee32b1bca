#!/usr/bin/env python3
"""Runs the commands of docs/walkthrough.md on a fresh wherryd; compares what they print with the page, or writes it there.

    scripts/isolate.py scripts/walkthrough.py [--write]

Run it in a private world (isolate.py): it makes a bridge, firewall rules and mounts. What is different each time (ids, times,
sizes, process numbers) is compared as a class of its own.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
PAGE = HOME / "docs" / "walkthrough.md"
START_S = 30.0
_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
_CHANGING = (
    (r"\b(?:sha256:)?[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "ID"),
    (r"(?:About an?|Less than an?|\d+) (?:second|minute|hour|day|week|month|year)s?( ago)?", "TIME"),
    (r"\b\d+(?:\.\d+)?[kM]?B\b", "SIZE"),
    (r"^ *\d+ root ", "PROCESS "),
    (r"\b(?:\d{1,3}\.){3}\d{1,3}\b", "ADDRESS"),
    (r"[ \t]+", " "),
)


def normalised(text: str) -> str:
    """The text with everything that changes from run to run as a word."""
    for pattern, word in _CHANGING:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


def commands(block: str) -> list[str]:
    """The commands of a console block."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def output(command: str, environment: dict[str, str], folder: str) -> str:
    """What a command prints, on both outputs."""
    done = subprocess.run(["sh", "-c", command], env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    text = "\n".join(line.rstrip() for line in done.stdout.splitlines() if line.strip())
    return text + "\n" if text else ""


def walked(page: str, environment: dict[str, str], folder: str) -> str:
    """The page with what its commands print now."""
    return _BLOCK.sub(lambda block: "".join(f"$ {one}\n{output(one, environment, folder)}" for one in commands(block[0])), page)


def walk(page: str) -> str:
    """Starts a daemon, walks, and ends it."""
    sys.path.insert(0, str(HOME / "tests" / "support"))
    from busybox_image import archive

    with tempfile.TemporaryDirectory(prefix="wherry-walk-", dir="/var/tmp") as folder, tempfile.TemporaryDirectory(dir="/run") as run:
        (Path(folder) / "busybox.tar").write_bytes(archive())
        programs = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "ROOT": f"{folder}/data", "LC_ALL": "C",
                       "DOCKER_HOST": f"unix://{run}/wherry.sock"}
        with (Path(folder) / "log").open("wb") as log:
            daemon = subprocess.Popen([programs / "wherryd", "--data-root", f"{folder}/data", "--exec-root", f"{run}/exec", "--pidfile",
                                       f"{run}/pid", "-H", f"unix://{run}/wherry.sock"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_S
            while not os.path.exists(f"{run}/wherry.sock"):
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit((Path(folder) / "log").read_text())
                time.sleep(0.02)
            return walked(page, environment, folder).replace(folder + "/data", "$ROOT")
        finally:
            daemon.terminate()
            daemon.wait(START_S)
            subprocess.run(["ip", "link", "delete", "wherry0"], capture_output=True, check=False)


def difference(page: str, now: str) -> str:
    """Where the page does not say what the commands print; "" when it does."""
    return "\n".join(difflib.unified_diff(normalised(page).splitlines(), normalised(now).splitlines(), "the page", "now", lineterm=""))


def main() -> int:
    """0 where the page says what the commands print."""
    page = PAGE.read_text()
    now = walk(page)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(now)
        return 0
    found = difference(page, now)
    print(found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
