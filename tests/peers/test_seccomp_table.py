"""Filters that do not notify: actions, errnoRet, flags, architectures, operators, seen by a program, beside runc and crun."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer]
MODE = 0o777  # with which busybox makes a folder
DONE, SIGSYS = (0, ""), (159, "")


def failed(reason: str) -> tuple[int, str]:
    return 1, f"mkdir: can't create directory '/tmp/x': {reason}\n"


def refused(reason: str) -> tuple[int, str]:
    return 1, f'time level=error msg="runc run failed: {reason}"\n'


NOT_PERMITTED, NO_CALL, IO = failed("Operation not permitted"), failed("Function not implemented"), failed("Input/output error")


def rule(action: str, names: tuple[str, ...] = ("mkdir",), **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": f"SCMP_ACT_{action}", **more}


def profile(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}


def when(*conditions: tuple[int, str, int] | tuple[int, str, int, int], error: int = 5) -> dict[str, Any]:
    """Input/output error for mkdir under conditions (argument, operator, value, second value)."""
    return profile(rule("ERRNO", errnoRet=error, args=[
        {"index": one[0], "op": f"SCMP_CMP_{one[1]}", "value": one[2], "valueTwo": one[3] if len(one) > 3 else 0} for one in conditions]))


# name: (profile, what happens, runtimes that do otherwise and why)
CASES: dict[str, tuple[dict[str, Any], tuple[int, str], str]] = {
    "errno": (profile(rule("ERRNO")), NOT_PERMITTED, ""),
    "errnoRet": (profile(rule("ERRNO", errnoRet=5)), IO, ""),
    "errnoRet 0": (profile(rule("ERRNO", errnoRet=0)), DONE, ""),
    "errnoRet of allow": (profile(rule("ALLOW", errnoRet=5)), refused(
        "seccomp: action SCMP_ACT_ALLOW does not return an errno, but errnoRet is 5"), "runc goes on, crun words it otherwise; spec: MUST fail"),
    "kill": (profile(rule("KILL")), SIGSYS, ""),
    "kill thread": (profile(rule("KILL_THREAD")), SIGSYS, ""),
    "kill process": (profile(rule("KILL_PROCESS")), SIGSYS, ""),
    "trap": (profile(rule("TRAP")), SIGSYS, ""),
    "trace without a tracer": (profile(rule("TRACE")), NO_CALL, ""),
    "trace with a value": (profile(rule("TRACE", errnoRet=9)), NO_CALL, ""),
    "log": (profile(rule("LOG")), DONE, ""),
    "default action": ({"defaultAction": "SCMP_ACT_LOG", "syscalls": [rule("ERRNO")]}, NOT_PERMITTED, ""),
    "flags": (profile(rule("ERRNO"), flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]),
              NOT_PERMITTED, "runc 1.1.5 knows no flags"),
    "unknown flag": (profile(rule("ERRNO"), flags=["SECCOMP_FILTER_FLAG_X"]), refused("seccomp: unknown flag 'SECCOMP_FILTER_FLAG_X'"),
                     "both word it otherwise"),
    "several architectures": (profile(rule("ERRNO"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]), NOT_PERMITTED, ""),
    "architectures without the own": (profile(rule("ERRNO"), architectures=["SCMP_ARCH_X86"]), NOT_PERMITTED, ""),
    "unknown architecture": (profile(rule("ERRNO"), architectures=["SCMP_ARCH_X"]), refused(
        "string SCMP_ARCH_X is not a valid arch for seccomp"), "crun words it otherwise"),
    "unknown action": (profile(rule("X")), refused("string SCMP_ACT_X is not a valid action for seccomp"), "crun words it otherwise"),
    "unknown operator": (when((0, "X", 1)), refused("string SCMP_CMP_X is not a valid operator for seccomp"), "crun words it otherwise"),
    "unknown call": (profile(rule("ERRNO", ("nosuchcall", "mkdir"))), NOT_PERMITTED, ""),
    "a call twice": (profile(rule("ERRNO"), rule("KILL")), NOT_PERMITTED, ""),
    "the first of two conditions": (profile(*(one["syscalls"][0] for one in (when((1, "EQ", MODE)), when((1, "LE", MODE), error=9)))), IO, ""),
    "one argument twice: either": (when((1, "EQ", MODE), (1, "EQ", 1)), IO, ""),
    "two arguments: both": (when((1, "EQ", MODE), (0, "EQ", 1)), DONE, ""),
    "EQ": (when((1, "EQ", MODE)), IO, ""), "not EQ": (when((1, "EQ", MODE + 1)), DONE, ""),
    "NE": (when((1, "NE", MODE)), DONE, ""), "not NE": (when((1, "NE", MODE + 1)), IO, ""),
    "LT": (when((1, "LT", MODE + 1)), IO, ""), "not LT": (when((1, "LT", MODE)), DONE, ""),
    "LE": (when((1, "LE", MODE)), IO, ""), "not LE": (when((1, "LE", MODE - 1)), DONE, ""),
    "GT": (when((1, "GT", MODE - 1)), IO, ""), "not GT": (when((1, "GT", MODE)), DONE, ""),
    "GE": (when((1, "GE", MODE)), IO, ""), "not GE": (when((1, "GE", MODE + 1)), DONE, ""),
    "MASKED_EQ": (when((1, "MASKED_EQ", 0o70, 0o70)), IO, ""), "not MASKED_EQ": (when((1, "MASKED_EQ", 0o70, 0o20)), DONE, ""),
    "wide": (when((1, "LT", 1 << 40)), IO, ""), "wide GT": (when((1, "GT", 1 << 40)), DONE, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_a_filter(bundle: Path, name: str) -> None:
    section, expected, otherwise = CASES[name]
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/mkdir")
    seen = {}
    for runtime in (WHERRY, "runc", "crun"):
        if shutil.which(runtime) is None:
            continue
        shutil.rmtree(bundle / "rootfs/tmp/x", ignore_errors=True)
        configure(bundle, "mkdir", "/tmp/x", noNewPrivileges=True)
        document = json.loads((bundle / "config.json").read_text())
        document["linux"]["seccomp"] = section
        (bundle / "config.json").write_text(json.dumps(document))
        seen[runtime] = call(runtime, bundle, "run", "filtered")
    assert seen[WHERRY] == expected
    for runtime in ("runc", "crun"):
        assert runtime not in seen or runtime in otherwise or "both" in otherwise or seen[runtime] == expected, (runtime, seen[runtime])
