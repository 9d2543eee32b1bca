"""What the zygote holds: every shim and every container's init begins as a copy of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wherry.shim.spawn import TITLE_BYTES, interpreter, interpreter_argv, zygote_code

SOURCE = Path(__file__).resolve().parents[3] / "src"
HEAVY = {"re", "json", "typing", "dataclasses", "enum", "signal", "subprocess", "logging", "argparse", "socket", "ctypes", "pathlib", "asyncio",
         "tempfile", "shutil", "functools", "collections", "contextlib", "inspect", "threading", "datetime", "selectors", "traceback"}
LIMIT_KIB = 12 * 1024


def test_it_imports_nothing_heavy_and_stays_small() -> None:
    code = ("from wherry.shim.zygote import preload; preload(); import sys; print(*sys.modules); "
            "print([line for line in open('/proc/self/smaps_rollup') if line.startswith('Rss:')][0].split()[1])")
    command = [interpreter(), "-sS", "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {code}"]
    for _ in range(2):  # on a fresh tree the first one compiles what it imports, which takes memory that a zygote does not
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHOME": sys.base_prefix})
    modules, resident_kib = done.stdout.splitlines()
    assert set(modules.split()) & HEAVY == set()
    assert int(resident_kib) < LIMIT_KIB


def test_its_arguments_have_room_for_a_shims_title() -> None:
    argv = interpreter_argv("wherry-zygote", zygote_code())
    assert sum(len(one) + 1 for one in argv) >= TITLE_BYTES >= len("wherry-shim ") + 64 + 1
