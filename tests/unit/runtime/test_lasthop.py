"""The last hop: its code is what its sources say, and it does its steps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wherry.runtime import lasthop

HERE = Path(lasthop.__file__).parent
SRC = HERE.parents[2]
RUN = """
import os, sys
sys.path.insert(0, sys.argv[1])
from wherry.runtime.lasthop import Hop, seal, execute_hop
go = int(sys.argv[2])
hop = Hop(3)
failed = hop.put_failures([(2, 2, b"no such program", 127), (0, 2, b"failed", 9)])
hop.step("read", go, hop.put(b"........"), 1, failures=failed)
hop.step("close", go)
words = [word.encode() for word in sys.argv[3:]]
hop.step("execve", hop.put(words[0] + b"\\0"), hop.put_strings(words), hop.put_strings([b"A=b"]), failures=failed)
os.set_inheritable(go, True)
execute_hop(seal(hop.image()), ["hop"], {})
"""


@pytest.mark.parametrize(("machine", "triple"), [("x86_64", "x86_64-linux-gnu"), ("aarch64", "aarch64-linux-gnu")])
def test_the_code_is_what_the_source_says(machine: str, triple: str, tmp_path: Path) -> None:
    assembler, copier = shutil.which("llvm-mc"), shutil.which("llvm-objcopy")
    if not assembler or not copier:
        pytest.skip("llvm-mc and llvm-objcopy are not installed")
    made, code = tmp_path / "x.o", tmp_path / "x.bin"
    subprocess.run([assembler, f"-triple={triple}", "-filetype=obj", "-o", made, HERE / f"{machine}.s"], check=True)
    subprocess.run([copier, "-O", "binary", "-j", ".text", made, code], check=True)
    assert code.read_bytes() == lasthop.CODE[machine]


def hop(*words: str, byte: bytes = b"x") -> subprocess.CompletedProcess[str]:
    if os.uname().machine not in lasthop.CODE:
        pytest.skip(f"no last hop for {os.uname().machine}")
    reader, writer = os.pipe()
    try:
        os.write(writer, byte)
        return subprocess.run([sys.executable, "-IS", "-c", RUN, str(SRC), str(reader), *words], pass_fds=(reader,),
                              capture_output=True, text=True, timeout=20, check=False)
    finally:
        os.close(reader)
        os.close(writer)


def test_it_executes_with_arguments_and_environment() -> None:
    assert hop("/bin/sh", "-c", "echo $A $0 $1; ls /proc/self/fd | wc -l", "x", "y").stdout.split() == ["b", "x", "y", "4"]


def test_its_failures_have_messages_and_statuses() -> None:
    done = hop("/no/such/program")
    assert (done.returncode, done.stderr) == (127, "no such program")
    done = hop("/etc/hostname")
    assert (done.returncode, done.stderr) == (9, "failed")


def test_nobody_can_change_it() -> None:
    fd = lasthop.seal(b"content")
    try:
        with pytest.raises(PermissionError):
            os.write(fd, b"x")
        with pytest.raises(PermissionError):
            os.truncate(fd, 0)
    finally:
        os.close(fd)
