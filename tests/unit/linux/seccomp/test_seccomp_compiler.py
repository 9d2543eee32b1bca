"""Filters do what the profile says: interpreted, against the specification's words and against libseccomp."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.errors import InvalidArgument
from wherry.linux import seccomp
from wherry.linux.seccomp.architecture import architecture, native, numbers
from wherry.linux.seccomp.compiler import compile_program

HERE = Path(__file__).parent
PROFILES = json.loads((HERE.parents[1] / "oci/recorded/seccomp-20.10.json").read_text())


def _neighbour(name):
    spec = importlib.util.spec_from_file_location(f"seccomp_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bpf, libseccomp = _neighbour("bpf"), _neighbour("libseccomp")
LIBRARY = libseccomp.library()
needs_libseccomp = pytest.mark.skipif(LIBRARY is None, reason="libseccomp.so.2 is not installed")

X86_64, X86, AARCH64, ARM, S390X = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0x80000016
X32_BIT = 0x40000000
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0, 0x50001, 0x50026
NUMBERS = [*range(480), *range(510, 560), 983041, 983042, 983045, X32_BIT - 1, *range(X32_BIT, X32_BIT + 560), 2**31, 2**32 - 1]
EDGES = (0, 1, 2, 5, 8, 24, 40, 0x20000, 0x20008, 0x7E020000, 0x10000000, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**32 + 8, 2**40, 2**64 - 1)


def profile(*entries, default="SCMP_ACT_ERRNO", architectures=(), **more):
    return {"defaultAction": default, "architectures": list(architectures), "syscalls": list(entries), **more}


def rule(*names, action="SCMP_ACT_ALLOW", **more):
    return {"names": list(names), "action": action, **more}


def condition(index, operator, value, second=0):
    return {"index": index, "op": f"SCMP_CMP_{operator}", "value": value, "valueTwo": second}


def answer(section, number, arch=X86_64, arguments=(0,) * 6, machine="x86_64"):
    code = bpf.decode(compile_program(section, machine).filter)
    return bpf.run(code, number, arch, arguments, big_endian=machine == "s390x")


def holds(operator, argument, value, second):
    return {"NE": argument != value, "LT": argument < value, "LE": argument <= value, "EQ": argument == value,
            "GE": argument >= value, "GT": argument > value, "MASKED_EQ": argument & value == second & value}[operator]


# libseccomp: what both compilers say must be the same


@needs_libseccomp
@pytest.mark.parametrize("name", sorted(PROFILES))
def test_dockers_profile_equals_libseccomps(name):
    """Every number of every architecture, and for the calls with conditions every class of arguments."""
    section = PROFILES[name]
    ours = bpf.decode(compile_program(section, "x86_64").filter)
    theirs = bpf.decode(libseccomp.compile_profile(LIBRARY, section))
    assert len(ours) < len(theirs)
    tables = [numbers(architecture(arch)) for arch in section["architectures"]]
    conditional = {number for table in tables for call, number in table.items()
                   if call in ("clone", "personality", "socketcall", "ipc")}
    named = {call for entry in section["syscalls"] for call in entry["names"]}
    # What comes after these is answered by the stub for new calls, which libseccomp leaves to runc.
    newest = {arch: max(number for call, number in numbers(architecture(name)).items() if call in named)
              for arch, name in ((X86_64, "SCMP_ARCH_X86_64"), (X86, "SCMP_ARCH_X86"), (X32_BIT, "SCMP_ARCH_X32"))}
    for arch in (X86_64, X86, AARCH64, ARM):
        for number in NUMBERS:
            for first in EDGES if number in conditional else EDGES[:1]:
                ours_says = bpf.run(ours, number, arch, (first, *EDGES[3:8]))
                limit = newest.get(X32_BIT if arch == X86_64 and number >= X32_BIT else arch)
                if limit is not None and number > limit:
                    assert ours_says == ENOSYS
                    continue
                assert ours_says == bpf.run(theirs, number, arch, (first, *EDGES[3:8])), (hex(arch), number, first)


# On x86_64 the library's native architecture is always part of its filter, and so of what is compared.
@needs_libseccomp
@pytest.mark.parametrize("arch", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
                                  "SCMP_ARCH_RISCV64", "SCMP_ARCH_PPC64LE"])
@pytest.mark.parametrize("operator", libseccomp.OPERATORS)
def test_comparisons_equal_libseccomps(operator, arch):
    audit = architecture(arch).audit
    table = numbers(architecture(arch))
    call = "ioctl"
    for value in EDGES:
        section = profile(rule(call, "socket", args=[condition(1, operator, value, value & ~1), condition(2, "NE", 7)]),
                          default="SCMP_ACT_ALLOW" if value & 1 else "SCMP_ACT_ERRNO", architectures=[arch])
        section["syscalls"][0]["action"] = "SCMP_ACT_ERRNO" if value & 1 else "SCMP_ACT_ALLOW"
        ours = bpf.decode(compile_program(section, "x86_64").filter)
        theirs = bpf.decode(libseccomp.compile_profile(LIBRARY, section))
        for second in EDGES:
            for third in (7, 8):
                arguments = (1, second, third, 0, 0, 0)
                for number in (table[call], table["ioctl"] - 1, table.get("socketcall", 0)):
                    assert bpf.run(ours, number, audit, arguments) == bpf.run(theirs, number, audit, arguments), (value, arguments)


@needs_libseccomp
@pytest.mark.parametrize("name", sorted(libseccomp.TOKENS))
def test_the_tables_equal_libseccomps(name):
    arch = architecture(name)
    table = {number: call for call, number in numbers(arch).items()}
    assert len(table) == len(numbers(arch))
    for number in [*range(454), *range(512, 548), 983041, 983042]:
        theirs = libseccomp.resolve(LIBRARY, libseccomp.TOKENS[name], number | arch.bit)
        if theirs is not None:
            assert table.get(number | arch.bit) == theirs


# The specification's words


@given(st.sampled_from(libseccomp.OPERATORS), st.sampled_from(EDGES), st.sampled_from(EDGES), st.sampled_from(EDGES),
       st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_comparisons_of_64_bits(operator, value, second, argument, index):
    arguments = [3] * 6
    arguments[index] = argument
    section = profile(rule("read", args=[condition(index, operator, value, second)]))
    assert (answer(section, 0, arguments=arguments) == ALLOW) == holds(operator, argument, value, second)
    if operator != "MASKED_EQ":
        section = profile(rule("read", args=[condition(index, operator, value)]), architectures=["SCMP_ARCH_S390X"])
        got = answer(section, 3, S390X, arguments, machine="s390x")
        assert (got == ALLOW) == holds(operator, argument, value, second)


calls = st.sampled_from(["read", "write", "open", "openat", "mmap", "ioctl", "futex_waitv", "nonsense"])
conditions = st.builds(condition, st.integers(0, 1), st.sampled_from(libseccomp.OPERATORS), st.sampled_from(EDGES),
                       st.sampled_from(EDGES))
entries = st.builds(lambda names, action, args: rule(*names, action=action, args=args), st.lists(calls, min_size=1, max_size=3),
                    st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_TRAP", "SCMP_ACT_KILL_PROCESS"]), st.lists(conditions, max_size=2))


@given(st.lists(entries, max_size=6), st.sampled_from(EDGES), st.sampled_from(EDGES))
@settings(max_examples=200, deadline=None)
def test_any_profile_means_what_its_rules_say(rules, first, second):
    """The first rule without conditions decides; else the first whose conditions hold; else the default."""
    section = profile(*rules)
    code = bpf.decode(compile_program(section, "x86_64").filter)
    arguments = (first, second, 0, 0, 0, 0)
    for name, number in (("read", 0), ("write", 1), ("open", 2), ("mmap", 9), ("ioctl", 16), ("openat", 257), ("close", 3)):
        mine = [one for one in rules if name in one["names"]]
        expected = EPERM
        for one in sorted(mine, key=lambda one: bool(one["args"])):
            checks = [holds(arg["op"][9:], arguments[arg["index"]], arg["value"], arg["valueTwo"]) for arg in one["args"]]
            same_twice = len({arg["index"] for arg in one["args"]}) < len(one["args"])
            if any(checks) if same_twice else all(checks):
                expected = {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_TRAP": 0x30000, "SCMP_ACT_KILL_PROCESS": 0x80000000}[one["action"]]
                break
        got = bpf.run(code, number, X86_64, arguments)
        newest = max((numbers(architecture("SCMP_ARCH_X86_64")).get(call, -1) for one in rules for call in one["names"]), default=-1)
        assert got == (ENOSYS if 0 <= newest < number else expected)


def test_a_newer_call_is_answered_with_enosys():
    section = profile(rule("read", "statx"))
    assert answer(section, 332) == ALLOW
    assert answer(section, 331) == EPERM
    assert answer(section, 333) == ENOSYS
    assert answer(section, 450) == ENOSYS
    # Not where the default lets things pass, and not where it says ENOSYS itself.
    assert answer(profile(rule("statx", action="SCMP_ACT_ERRNO"), default="SCMP_ACT_ALLOW"), 450) == ALLOW
    assert answer(profile(rule("statx"), default="SCMP_ACT_LOG"), 450) == 0x7FFC0000
    assert answer(profile(rule("read"), defaultErrnoRet=38), 2) == ENOSYS


def test_a_call_that_is_named_only_to_be_refused_is_not_new():
    assert answer(profile(rule("read"), rule("statx", action="SCMP_ACT_ERRNO", errnoRet=1)), 331) == EPERM


def test_other_architectures_are_killed():
    section = profile(rule("read"), architectures=["SCMP_ARCH_X86_64"])
    assert answer(section, 0) == ALLOW
    assert answer(section, X32_BIT) == KILL
    assert answer(section, 3, X86) == KILL
    assert answer(profile(rule("read"), architectures=["SCMP_ARCH_X32"]), X32_BIT) == ALLOW


def test_one_call_stands_for_many_on_x86():
    section = profile(rule("socket"), architectures=["SCMP_ARCH_X86"])
    assert answer(section, 359, X86) == ALLOW
    assert answer(section, 102, X86, (1, 0, 0, 0, 0, 0)) == ALLOW
    assert answer(section, 102, X86, (2, 0, 0, 0, 0, 0)) == EPERM


@pytest.mark.parametrize(("action", "errno_value", "expected"), [
    ("SCMP_ACT_KILL", None, KILL), ("SCMP_ACT_KILL_THREAD", None, KILL), ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
    ("SCMP_ACT_TRAP", None, 0x30000), ("SCMP_ACT_ERRNO", 38, ENOSYS), ("SCMP_ACT_ERRNO", 0, 0x50000), ("SCMP_ACT_TRACE", 5, 0x7FF00005),
    ("SCMP_ACT_TRACE", None, 0x7FF00001), ("SCMP_ACT_LOG", None, 0x7FFC0000), ("SCMP_ACT_NOTIFY", None, 0x7FC00000)])
def test_actions(action, errno_value, expected):
    extra = {} if errno_value is None else {"errnoRet": errno_value}
    assert answer(profile(rule("read", action=action, **extra), default="SCMP_ACT_ALLOW"), 0) == expected


def test_flags_and_listener():
    assert compile_program(profile(rule("read")), "x86_64").flags == 4
    program = compile_program(profile(rule("read", action="SCMP_ACT_NOTIFY"), flags=[
        "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), "x86_64")
    assert program.flags == 1 | 2 | 32
    assert program.notifies
    assert compile_program(profile(rule("read"), flags=[]), "x86_64").flags == 0


@pytest.mark.parametrize(("section", "message"), [
    ({}, "string  is not a valid action for seccomp"),
    (profile(rule("read", action="SCMP_ACT_DANCE")), "string SCMP_ACT_DANCE is not a valid action for seccomp"),
    (profile(rule("read"), architectures=["SCMP_ARCH_VAX"]), "string SCMP_ARCH_VAX is not a valid arch for seccomp"),
    (profile(rule("read"), architectures=["SCMP_ARCH_MIPS"]), "no table of its system calls yet"),
    (profile(rule("read", args=[condition(0, "ALMOST", 1)])), "string SCMP_CMP_ALMOST is not a valid operator for seccomp"),
    (profile(rule("read", args=[condition(6, "EQ", 1)])), "no argument 6"),
    (profile(rule("read"), flags=["SECCOMP_FILTER_FLAG_FAST"]), "unknown flag"),
    (profile(rule("read", errnoRet=5)), "does not return an errno"),
    (profile(rule()), "without names"),
    (profile(*[rule("read", args=[condition(0, "EQ", number)]) for number in range(2000)]), "instructions"),
])
def test_what_is_unknown_is_named(section, message):
    with pytest.raises(InvalidArgument, match=message):
        compile_program(section, "x86_64")


def test_unknown_machine():
    with pytest.raises(InvalidArgument, match="machine 'vax'"):
        native("vax")


def test_far_jumps():
    """More conditions than a conditional jump can pass over."""
    many = [rule("read", args=[condition(0, "EQ", number)]) for number in range(300)]
    section = profile(*many, rule("close"), architectures=["SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"])
    assert answer(section, 0, arguments=(299, 0, 0, 0, 0, 0)) == ALLOW
    assert answer(section, 0, arguments=(300, 0, 0, 0, 0, 0)) == EPERM
    assert answer(section, 3) == ALLOW
    assert answer(section, 63, AARCH64, (7, 0, 0, 0, 0, 0)) == ALLOW


def test_the_cache_gives_the_same_and_mends_itself(tmp_path):
    section = profile(rule("read"), rule("clone", args=[condition(0, "MASKED_EQ", 8)]))
    folder = str(tmp_path / "cache")
    fresh = seccomp.compile(section)
    assert seccomp.compile(section, folder) == fresh
    (file,) = Path(folder).iterdir()
    before = file.stat().st_ino
    assert seccomp.compile(section, folder) == fresh
    assert file.stat().st_ino == before
    for broken in (b"", b"wherry-seccomp 4 0 16\n1234567", b"nonsense", file.read_bytes()[:-8]):
        file.write_bytes(broken)
        assert seccomp.compile(section, folder) == fresh
    file.chmod(0o666)
    file.write_bytes(b"wherry-seccomp 4 0 8\n" + b"\6\0\0\0\0\0\xff\x7f")
    assert seccomp.compile(section, folder) == fresh
    assert seccomp.compile(profile(rule("write")), folder) != fresh
    assert len(list(Path(folder).iterdir())) == 2


def test_without_a_place_for_the_cache_it_is_compiled(tmp_path):
    (tmp_path / "file").write_text("")
    assert seccomp.compile(profile(rule("read")), str(tmp_path / "file/cache")) == seccomp.compile(profile(rule("read")))
