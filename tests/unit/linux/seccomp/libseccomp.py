"""libseccomp by ctypes, as an oracle: the same profile through the compiler that everybody else uses."""

from __future__ import annotations

import ctypes
import tempfile

OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
TOKENS = {"SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E,
          "SCMP_ARCH_AARCH64": 0xC00000B7, "SCMP_ARCH_ARM": 0x40000028, "SCMP_ARCH_RISCV64": 0xC00000F3,
          "SCMP_ARCH_PPC64LE": 0xC0000015, "SCMP_ARCH_S390X": 0x80000016}
ACTIONS = {"SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_PROCESS": 0x80000000, "SCMP_ACT_TRAP": 0x30000, "SCMP_ACT_LOG": 0x7FFC0000,
           "SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x50000, "SCMP_ACT_TRACE": 0x7FF00000, "SCMP_ACT_NOTIFY": 0x7FC00000}


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def library():
    """The library, or None where it is not installed."""
    try:
        found = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    found.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    found.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
    found.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    found.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    found.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    found.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    found.seccomp_release.argtypes = [ctypes.c_void_p]
    return found


def action(name, errno_value):
    code = ACTIONS[name]
    return code | (1 if errno_value is None else errno_value) if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else code


def compile_profile(found, section) -> bytes:
    default = action(section["defaultAction"], section.get("defaultErrnoRet"))
    context = found.seccomp_init(default)
    try:
        for name in section.get("architectures", ()):
            code = found.seccomp_arch_add(context, TOKENS[name])
            assert code in (0, -17), (name, code)
        for entry in section["syscalls"]:
            verdict = action(entry["action"], entry.get("errnoRet"))
            if verdict == default:
                continue
            arguments = (_Comparison * 6)()
            given = entry.get("args") or ()
            for place, one in enumerate(given):
                operator = OPERATORS.index(one["op"].removeprefix("SCMP_CMP_")) + 1
                arguments[place] = _Comparison(one["index"], operator, one.get("value", 0), one.get("valueTwo", 0))
            for name in entry["names"]:
                number = found.seccomp_syscall_resolve_name(name.encode())
                if number != -1:
                    code = found.seccomp_rule_add_array(context, verdict, number, len(given), arguments)
                    assert code == 0, (name, code)
        with tempfile.TemporaryFile() as file:
            assert found.seccomp_export_bpf(context, file.fileno()) == 0
            file.seek(0)
            return file.read()
    finally:
        found.seccomp_release(context)


def resolve(found, token: int, number: int) -> str | None:
    text = found.seccomp_syscall_resolve_num_arch(token, number)
    return ctypes.string_at(text).decode() if text else None
