#!/usr/bin/python3
"""Runs the tests file by file where they start daemons, so that no file meets what another left, and none can hang the run.

    run_tests.py [PART...] [-- [--second-try] PYTEST-OPTION...]       parts: unit system peers vm (default: all)

Unit tests are one run. Each file of the other parts is a run of its own, and so has a private world of its own (tests/conftest.py). The last
line counts all of them; the exit status is 1 when anything failed.

With --second-try a file that failed runs once more, in a new world and in the same order. When it passes then, the failure is named as
unsteady before the last line and does not count: on a busy machine one deadline among thousands of tests would hide what a change did.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PARTS = ("unit", "system", "peers", "vm")
LIMIT_S = {"unit": 900, "system": 600, "peers": 600, "vm": 2400}
NO_TESTS = 5
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)")


def run(paths: list[str], options: list[str], limit_s: int) -> tuple[int, Counter[str]]:
    """One run of pytest, its output shown; exit status and counts. A run over its time is killed and counts as failed."""
    child = subprocess.Popen([sys.executable, "-m", "pytest", *options, *paths], cwd=TOP, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace")
    assert child.stdout is not None
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child.pid, signal.SIGKILL))
    signal.alarm(limit_s)
    last = ""
    for line in child.stdout:
        print(line, end="", flush=True)
        if _COUNT.search(line) and " in " in line:
            last = line
    code = child.wait()
    signal.alarm(0)
    counts = Counter({("errors" if what == "error" else what): int(number) for number, what in _COUNT.findall(last)})
    if code == -signal.SIGKILL:
        print(f"run_tests: {' '.join(paths)} was killed after {limit_s} s", flush=True)
        counts["failed"] += 1
    elif code not in (0, NO_TESTS) and not counts["failed"] + counts["errors"]:
        counts["failed"] += 1
    return code, counts


def main(argv: list[str]) -> int:
    """0 when all passed."""
    cut = argv.index("--") if "--" in argv else len(argv)
    parts, options = argv[:cut] or list(PARTS), argv[cut + 1:]
    has_second_try = "--second-try" in options
    options = [one for one in options if one != "--second-try"]
    total: Counter[str] = Counter()
    unsteady: list[str] = []
    for part in parts:
        files = ["tests/unit"] if part == "unit" else sorted(str(one.relative_to(TOP)) for one in (TOP / "tests" / part).glob("test_*.py"))
        for file in files:
            code, counts = run([file], options, LIMIT_S[part])
            if has_second_try and code not in (0, NO_TESTS):
                print(f"run_tests: {file} failed and runs once more", flush=True)
                code, counts = run([file], options, LIMIT_S[part])
                if code == 0:
                    unsteady.append(file)
            total += counts
    for file in unsteady:
        print(f"run_tests: {file} is unsteady: it failed, and passed when it ran again", flush=True)
    failed = total["failed"] + total["errors"] + total["xpassed"]
    print(f"{total['passed'] + total['xfailed']} passed, {failed} failed, {total['skipped']} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
