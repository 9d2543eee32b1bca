"""The device rules of cgroup v2: an eBPF program of the type BPF_PROG_TYPE_CGROUP_DEVICE on the cgroup's folder.

The program gets `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, whose first word holds the kind of
device in its low half (1 block, 2 character) and what is wanted in the high half (1 mknod, 2 read, 4 write), and returns 1 to
allow.

Generated: the context is taken apart into registers once, then each exception is a run of comparisons that jump over its verdict.

Sources: bpf(2), uapi/linux/bpf.h, cgroup-v2.rst «Device controller».
"""

from __future__ import annotations

import errno
import os
import struct

from wherry.linux import syscall
from wherry.linux.cgroup.devices import ANY, DeviceSet

BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_PROG_GET_FD_BY_ID, BPF_PROG_QUERY = 5, 8, 9, 13, 16
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2
BPF_F_REPLACE = 4

_LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOVE_IMMEDIATE = 0xB7  # BPF_ALU64 | BPF_MOV | BPF_K
_MOVE_REGISTER_32 = 0xBC  # BPF_ALU | BPF_MOV | BPF_X
_AND_IMMEDIATE_32 = 0x54  # BPF_ALU | BPF_AND | BPF_K
_SHIFT_RIGHT_32 = 0x74  # BPF_ALU | BPF_RSH | BPF_K
_JUMP_UNEQUAL = 0x55  # BPF_JMP | BPF_JNE | BPF_K
_JUMP_UNEQUAL_REGISTER = 0x5D  # BPF_JMP | BPF_JNE | BPF_X
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMPS = (_JUMP_UNEQUAL, _JUMP_UNEQUAL_REGISTER, _JUMP_EQUAL)
_EXIT = 0x95
_KIND = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

Instruction = tuple[int, int, int, int, int]  # code, destination, source, offset, immediate


def device_program(wanted: DeviceSet) -> bytes:
    """The program for a set of rules: pure. An access is allowed when an exception covers all that is wanted of the device."""
    # r2: kind, r3: access, r4: major, r5: minor
    code: list[Instruction] = [
        (_LOAD_WORD, 2, 1, 0, 0), (_AND_IMMEDIATE_32, 2, 0, 0, 0xFFFF),
        (_LOAD_WORD, 3, 1, 0, 0), (_SHIFT_RIGHT_32, 3, 0, 0, 16),
        (_LOAD_WORD, 4, 1, 4, 0), (_LOAD_WORD, 5, 1, 8, 0)]
    for one in wanted.exceptions:
        body: list[Instruction] = []
        access = sum(_ACCESS[letter] for letter in one.access)
        # The tests: each jumps over the verdict when this exception does not speak of the device or of what is wanted of it.
        for register, value in ((2, _KIND[one.kind]), (4, one.major), (5, one.minor)):
            if value != ANY:
                body.append((_JUMP_UNEQUAL, register, 0, 0, value))
        if access != 7:
            # r0 = wanted & listed. Allowed only when that is all of it; denied as soon as it is any of it.
            body += [(_MOVE_REGISTER_32, 0, 3, 0, 0), (_AND_IMMEDIATE_32, 0, 0, 0, access)]
            body.append((_JUMP_EQUAL, 0, 0, 0, 0) if wanted.allow_by_default else (_JUMP_UNEQUAL_REGISTER, 0, 3, 0, 0))
        body += [(_MOVE_IMMEDIATE, 0, 0, 0, int(not wanted.allow_by_default)), (_EXIT, 0, 0, 0, 0)]
        end = len(body)
        code += [(op, dst, src, end - index - 1 if op in _JUMPS else offset, value)
                 for index, (op, dst, src, offset, value) in enumerate(body)]
    code += [(_MOVE_IMMEDIATE, 0, 0, 0, int(wanted.allow_by_default)), (_EXIT, 0, 0, 0, 0)]
    return b"".join(struct.pack("<BBhI", op, src << 4 | dst, offset, value & 0xFFFFFFFF) for op, dst, src, offset, value in code)


def replace_device_filter(folder_fd: int, program: bytes, subject: str) -> None:
    """Puts the program on a cgroup, in the place of those that are there, with no moment without any.

    Raises OSError: EPERM without CAP_SYS_ADMIN, EINVAL when the kernel has no CONFIG_CGROUP_BPF.
    """
    loaded = _load(program, subject)
    try:
        present = _attached(folder_fd, subject)
        olds = []
        try:
            olds = [_by_id(number, subject) for number in present]
            if len(olds) == 1:
                _attach(folder_fd, loaded, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, olds[0], subject)
            else:
                _attach(folder_fd, loaded, BPF_F_ALLOW_MULTI, 0, subject)
                for old in olds:
                    attribute = struct.pack("<IIII", folder_fd, old, BPF_CGROUP_DEVICE, 0)
                    syscall.call("bpf", f"BPF_PROG_DETACH {subject}", BPF_PROG_DETACH, attribute, len(attribute))
        finally:
            for old in olds:
                os.close(old)
    finally:
        os.close(loaded)


def _load(program: bytes, subject: str) -> int:
    instructions, license_text = syscall.Buffer(len(program), program), syscall.Buffer(16, b"Apache-2.0\0")
    # union bpf_attr for BPF_PROG_LOAD: prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version,
    # prog_flags, prog_name
    attribute = struct.pack("<IIQQIIQII16s", BPF_PROG_TYPE_CGROUP_DEVICE, len(program) // 8, instructions.address,
                            license_text.address, 0, 0, 0, 0, 0, b"wherry_devices")
    try:
        return syscall.call("bpf", f"BPF_PROG_LOAD {subject}", BPF_PROG_LOAD, attribute, len(attribute))
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
        raise OSError(errno.EACCES, "the kernel's verifier refuses the device filter", subject) from error


def _attach(folder_fd: int, program_fd: int, flags: int, replaced_fd: int, subject: str) -> None:
    attribute = struct.pack("<IIIII", folder_fd, program_fd, BPF_CGROUP_DEVICE, flags, replaced_fd)
    syscall.call("bpf", f"BPF_PROG_ATTACH {subject}", BPF_PROG_ATTACH, attribute, len(attribute))


def _attached(folder_fd: int, subject: str) -> list[int]:
    """The ids of the device programs on the cgroup itself."""
    room = 64
    ids = syscall.Buffer(4 * room)
    attribute = struct.pack("<IIIIQI4x", folder_fd, BPF_CGROUP_DEVICE, 0, 0, ids.address, room)
    writable = syscall.Buffer(len(attribute), attribute)
    syscall.call("bpf", f"BPF_PROG_QUERY {subject}", BPF_PROG_QUERY, writable, len(attribute))
    count: int = struct.unpack_from("<I", writable.data, 24)[0]
    return list(struct.unpack_from(f"<{count}I", ids.data))


def _by_id(number: int, subject: str) -> int:
    attribute = struct.pack("<III", number, 0, 0)
    return syscall.call("bpf", f"BPF_PROG_GET_FD_BY_ID {subject}", BPF_PROG_GET_FD_BY_ID, attribute, len(attribute))
