"""Filters in the kernel: what they refuse, what they say to a listener."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

PREAMBLE = """
import ctypes, errno, os, select
from wherry.linux import seccomp
def rule(*names, **more): return {"names": list(names), "action": "SCMP_ACT_ALLOW", **more}
def load(*rules, default="SCMP_ACT_ALLOW", **more):
    return seccomp.load(seccomp.compile({"defaultAction": default, "syscalls": list(rules), **more}))
"""


def child(code, *, user=None):
    """Runs the code in a Python of its own: a filter cannot be taken off again."""
    return subprocess.run([sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, timeout=60, user=user)


def test_a_call_is_refused_with_its_errno():
    result = child("""
assert load(rule("mkdir", "mkdirat", action="SCMP_ACT_ERRNO", errnoRet=errno.EXDEV)) is None
try:
    os.mkdir("/tmp/never")
except OSError as error:
    print(error.errno)
""")
    assert result.stdout.strip() == str(errno.EXDEV), result.stderr


def test_conditions_on_arguments():
    result = child("""
load(rule("kill", action="SCMP_ACT_ERRNO", args=[{"index": 1, "op": "SCMP_CMP_EQ", "value": 10}]))
os.kill(os.getpid(), 0)
try:
    os.kill(os.getpid(), 10)
except PermissionError:
    print("refused")
""")
    assert result.stdout.strip() == "refused", result.stderr


def test_a_kill_ends_the_process():
    result = child("""
load(rule("mkdir", "mkdirat", action="SCMP_ACT_KILL_PROCESS"))
os.mkdir("/tmp/never")
""")
    assert result.returncode == -31


@pytest.mark.root
def test_without_the_right_it_says_what_is_needed():
    result = child("""
try:
    load(rule("mkdir", action="SCMP_ACT_ERRNO"))
except PermissionError as error:
    print(error.strerror)
""", user=65534)
    assert result.stdout.strip() == "needs CAP_SYS_ADMIN or no-new-privileges", result.stderr


@pytest.mark.root
def test_the_listener_hears_of_the_call():
    result = child("""
listener = load(rule("getpgid", action="SCMP_ACT_NOTIFY"))
assert not os.get_inheritable(listener)
if os.fork() == 0:
    os.close(listener)  # else it would wait for itself
    try:
        os.getpgid(1)
    finally:
        os._exit(0)
poll = select.poll()
poll.register(listener, select.POLLIN)
print("heard" if poll.poll(10000) else "silence")
os.close(listener)
os.wait()
""")
    assert result.stdout.strip() == "heard", result.stderr


def test_dockers_kind_of_profile_lets_a_program_run():
    code = "import os; os.execv('/bin/busybox', ['sh', '-c', 'echo alive; unshare -U true || echo refused'])"
    profile = """
from wherry.oci.seccomp import default_section
seccomp.load(seccomp.compile(default_section((), "x86_64", (6, 1))))
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the profile is asked for x86_64")
    result = child(profile + code)
    assert result.stdout.split() == ["alive", "refused"], result.stderr
