"""An interpreter of classic BPF as seccomp(2) runs it."""

from __future__ import annotations

import struct


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program))


def run(code, number: int, arch: int, arguments=(0,) * 6, big_endian: bool = False) -> int:
    data = struct.pack((">" if big_endian else "<") + "IIQ6Q", number, arch, 0, *arguments)
    word = ">I" if big_endian else "<I"
    accumulator = index = 0
    scratch = [0] * 16
    place = 0
    while True:
        op, true, false, k = code[place]
        place += 1
        if op == 0x20:
            accumulator = struct.unpack_from(word, data, k)[0]
        elif op == 0x15:
            place += true if accumulator == k else false
        elif op == 0x25:
            place += true if accumulator > k else false
        elif op == 0x35:
            place += true if accumulator >= k else false
        elif op == 0x45:
            place += true if accumulator & k else false
        elif op == 0x05:
            place += k
        elif op == 0x54:
            accumulator &= k
        elif op == 0x06:
            return k
        elif op == 0x02:
            scratch[k] = accumulator
        elif op == 0x60:
            accumulator = scratch[k]
        elif op == 0x07:
            index = accumulator
        elif op == 0x87:
            accumulator = index
        else:
            raise AssertionError(f"instruction {op:#x}")
