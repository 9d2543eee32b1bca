"""The default profile beside Docker's, and profiles of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry.errors import InvalidArgument
from wherry.linux.seccomp.compiler import compile_program
from wherry.oci.seccomp import default_section, parse_profile, resolve_profile
from wherry.oci.seccomp_default import default_profile

# What Docker 20.10 wrote into the runtime spec, by what was added to or dropped from the capabilities.
RECORDED = json.loads((Path(__file__).parent / "recorded/seccomp-20.10.json").read_text())
DOCKER = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"]
EVERY = [*DOCKER, *["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_MODULE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_SYS_NICE", "CAP_SYSLOG"]]
CAPABILITIES = {"plain": DOCKER, "cap_add_lower": [*DOCKER, "CAP_SYS_ADMIN"], "cap_drop_all": [], "cap_add_all": EVERY}
# Docker 25 took io_uring away; AF_VSOCK sockets went in 23, so `socket` has a condition now.
GONE = {"io_uring_enter", "io_uring_register", "io_uring_setup"}
# Docker allows these by now.
NEW = {"cachestat", "fchmodat2", "futex_wake", "futex_wait", "futex_requeue", "map_shadow_stack", "mseal", "name_to_handle_at",
       "pkey_alloc", "pkey_free", "pkey_mprotect", "getxattrat", "setxattrat", "listxattrat", "removexattrat", "uretprobe",
       "process_vm_readv", "process_vm_writev", "clock_settime64", "set_mempolicy_home_node"}


def rules(section):
    """Each call with its rules, in a form that compares."""
    found = {}
    for entry in section["syscalls"]:
        for name in entry["names"]:
            args = tuple(tuple(sorted(one.items())) for one in entry.get("args") or ())
            found.setdefault(name, set()).add((entry["action"], entry.get("errnoRet"), args))
    return found


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_the_default_allows_what_docker_allows(name):
    section = default_section(tuple(CAPABILITIES[name]), "x86_64", (6, 1))
    ours, theirs = rules(section), rules(RECORDED[name])
    for call, expected in theirs.items():
        if call not in GONE | {"socket"}:
            assert expected <= ours[call], call
    assert set(ours) - set(theirs) <= NEW
    assert not GONE & set(ours)
    assert section["architectures"] == RECORDED[name]["architectures"]
    assert section["defaultAction"] == RECORDED[name]["defaultAction"]


def test_sockets_of_virtual_machines_are_refused():
    assert rules(default_section((), "x86_64", (6, 1)))["socket"] == {
        ("SCMP_ACT_ALLOW", None, ((("index", 0), ("op", "SCMP_CMP_NE"), ("value", 40)),))}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "armv7l", "riscv64", "ppc64le", "s390x"])
def test_it_compiles_for_every_machine(machine):
    assert len(compile_program(default_section((), machine, (6, 1)), machine).filter) < 8 * 1024


def test_conditions_of_machine_kernel_and_capability():
    assert "ptrace" not in rules(default_section((), "x86_64", (4, 7)))
    assert "ptrace" in rules(default_section((), "x86_64", (4, 8)))
    assert "ptrace" in rules(default_section(("CAP_SYS_PTRACE",), "x86_64", (4, 7)))
    assert "arm_sync_file_range" in rules(default_section((), "aarch64", (6, 1)))
    assert "arch_prctl" not in rules(default_section((), "aarch64", (6, 1)))
    (s390,) = rules(default_section((), "s390x", (6, 1)))["clone"]
    assert dict(s390[2][0])["index"] == 1


def test_no_profile_is_shared():
    default_profile()["syscalls"].clear()
    assert default_profile()["syscalls"]


def test_profiles_of_the_users_own():
    profile = parse_profile("""{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "flags": ["F"],
        "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": null, "comment": "x"},
                     {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "5.0"}}]}""")
    assert resolve_profile(profile, (), "x86_64", (6, 1)) == {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "flags": ["F"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]}


@pytest.mark.parametrize(("text", "message"), [
    ("{", "Decoding seccomp profile failed"), ("[]", "not a JSON object"), ("{}", "defaultAction"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["a"], "archMap": [{}]}', "'architectures' and 'archMap'"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a", "names": ["b"], "action": "x"}]}', "'name' and 'names'"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["b"], "action": "x", "includes": {"minKernel": "new"}}]}', "'new'"),
])
def test_broken_profiles(text, message):
    with pytest.raises(InvalidArgument, match=message):
        resolve_profile(parse_profile(text), (), "x86_64", (6, 1))
