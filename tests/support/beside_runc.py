"""One bundle and two runtimes: the same calls of `wherry-runc` and of a real runtime, made comparable."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wherry.runtime.commands.spec import example

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNTIMES = ("runc", WHERRY := str(Path(__file__).resolve().parents[2] / "bin/wherry-runc"))
# What differs and why: the field has its own name; our version is plain; where a message has crun's words too, they come last.
SAME = [(r"\S*/(wherry-)?runc", "runc"), (r'time="[^"]*"', "time"), (r'"created": ?"[^"]*"', "created"), (r'"pid": ?\d+', "pid"),
        (r"1\.0\.2-dev", "1.0.2"), (": use --console-socket", ""), (r"/proc/self/fd/\d+", "fd")]


def needs(*names: str) -> None:
    """Skips where a program is missing."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module", name="bundle")
def bundle_of_busybox() -> Iterator[Path]:
    """A bundle of busybox, for `configure`."""
    place = Path(tempfile.mkdtemp(prefix="wherry-beside-", dir="/var/tmp"))  # pids repeat: worlds have their own
    place.chmod(0o755)
    rootfs = place / "rootfs"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    for name in ("sh", "cat", "echo", "id", "ls", "sleep", "true", "grep", "env", "tty", "ps", "mount"):
        (rootfs / "bin" / name).symlink_to("busybox")
    (rootfs / "bin/garbage").write_text("no program")
    (rootfs / "bin/garbage").chmod(0o755)
    (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    yield place
    shutil.rmtree(place)


def configure(bundle: Path, *args: str, cwd: str = "/", **process: object) -> None:
    """Writes config.json: `args` is what runs, `process` changes other fields of it."""
    document = example()
    document["process"].update(terminal=False, args=list(args), cwd=cwd)
    document["process"].update(process)
    document["root"]["readonly"] = False
    document["linux"]["cgroupsPath"] = f"/wherry-beside/{os.getpid()}"
    document["mounts"][-1]["options"] = ["nosuid", "noexec", "nodev", "relatime", "ro"]
    (bundle / "config.json").write_text(json.dumps(document))


def call(runtime: str, bundle: Path, *words: str) -> tuple[int, str]:
    """Exit status and output of one call, without what may differ."""
    root = f"/run/beside-{os.getpid()}-{Path(runtime).name}"
    with open(bundle / "out", "w+") as output:
        done = subprocess.run([runtime, "--root", root, *words], cwd=bundle, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                              timeout=30, check=False)
        output.seek(0)
        text = output.read()
    for pattern, plain in SAME:
        text = re.sub(pattern, plain, text)
    return done.returncode, text.replace("wherry-runc", "runc")


def both(bundle: Path, *calls: tuple[str, ...]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The same calls with ours and with runc."""
    needs("runc")
    return [call(WHERRY, bundle, *one) for one in calls], [call("runc", bundle, *one) for one in calls]


def group(runtime: str) -> str:
    """The cgroup, below each controller, of the container that `sleeping` starts with this runtime."""
    return f"wherry-beside/{os.path.basename(runtime)}-{os.getpid()}"


@contextlib.contextmanager
def sleeping(bundle: Path) -> Iterator[Path]:
    """A container `x` that sleeps, one per runtime, in cgroups of their own: both run at once."""
    for runtime in RUNTIMES:
        configure(bundle, "sleep", "1000")
        document = json.loads((bundle / "config.json").read_text())
        document["linux"]["cgroupsPath"] = f"/{group(runtime)}"
        (bundle / "config.json").write_text(json.dumps(document))
        assert call(runtime, bundle, "run", "-d", "x") == (0, "")
    yield bundle
    for runtime in RUNTIMES:
        assert call(runtime, bundle, "delete", "--force", "x")[0] == 0
