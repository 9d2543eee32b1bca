"""Classic BPF for seccomp: building blocks that join into a program.

A block is a list of instructions `(code, jump if true, jump if false, k)`, as `struct sock_filter` has them; jumps count from the
next instruction and stay inside a block. Each block ends by returning a verdict, or falls through where it says so.

Sources: seccomp(2), linux/filter.h, linux/bpf_common.h.
"""

from __future__ import annotations

import struct

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Instruction = tuple[int, int, int, int]
    Block = list[Instruction]

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
NOT_LESS = 0x35  # BPF_JMP | BPF_JGE | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K
# struct seccomp_data { int nr; u32 arch; u64 instruction_pointer; u64 args[6]; }
NUMBER, ARCH, ARGUMENTS = 0, 4, 16
MAX_INSTRUCTIONS = 4096
FARTHEST = 255
_LOW = 0xFFFFFFFF


class Condition(Record):
    """A comparison of one argument: `operator` as the specification names it, without `SCMP_CMP_`; `mask` for MASKED_EQ."""

    index: int
    operator: str
    value: int
    mask: int = _LOW << 32 | _LOW


def branch(code: int, k: int, then: Block, otherwise: Block) -> Block:
    """If the accumulator compares, `then`, else `otherwise`. Both must end by returning."""
    if len(then) <= FARTHEST:
        return [(code, 0, len(then), k), *then, *otherwise]
    return [(code, 1, 0, k), (JUMP, 0, 0, len(then)), *then, *otherwise]


def verdict(action: int) -> Block:
    """Ends the filter with this answer."""
    return [(RETURN, 0, 0, action)]


def when_all(conditions: Sequence[Condition], wide: bool, big_endian: bool, then: Block) -> Block:
    """`then` when every condition holds; otherwise falls through to what follows. Destroys the accumulator.

    `wide`: arguments have 64 bits; else only the lower half is looked at, as is right for 32 bit ABIs.
    """
    block = then
    for condition in reversed(conditions):
        block = [*_test(condition, wide, big_endian, len(block)), *block]
    return block


# Where a comparison of halves goes on: at the next instruction, behind the test (it holds), or behind the guarded block.
_NEXT, _PASS, _FAIL = "next", "pass", "fail"


def _test(condition: Condition, wide: bool, big_endian: bool, guarded: int) -> Block:
    """The test itself: falls through when the condition holds, else jumps over the `guarded` instructions that follow."""
    low = ARGUMENTS + 8 * condition.index + (4 if big_endian else 0)
    high = ARGUMENTS + 8 * condition.index + (0 if big_endian else 4)
    value, mask = condition.value, condition.mask
    steps: list[tuple[int, int, str, str]] = []

    def half(offset: int, shift: int, last: bool) -> None:
        """One 32 bit half, the higher first: it decides alone, or leaves it to the lower one."""
        k, bits = value >> shift & _LOW, mask >> shift & _LOW
        steps.append((LOAD, offset, _NEXT, _NEXT))
        if condition.operator == "MASKED_EQ" and bits != _LOW:
            steps.append((AND, bits, _NEXT, _NEXT))
        if condition.operator in ("EQ", "MASKED_EQ"):
            steps.append((EQUAL, k, _PASS if last else _NEXT, _FAIL))
        elif condition.operator == "NE":
            steps.append((EQUAL, k, _FAIL if last else _NEXT, _PASS))
        else:
            # «Less» is «not greater or equal», «less or equal» is «not greater».
            yes, no = (_PASS, _FAIL) if condition.operator in ("GT", "GE") else (_FAIL, _PASS)
            if not last:
                steps.append((GREATER, k, yes, _NEXT))
                steps.append((EQUAL, k, _NEXT, no))
            else:
                steps.append((GREATER if condition.operator in ("GT", "LE") else NOT_LESS, k, yes, no))

    if wide and not (condition.operator == "MASKED_EQ" and mask >> 32 == 0 and value >> 32 == 0):
        half(high, 32, last=False)
    half(low, 0, last=True)
    block: Block = []
    for place, (code, k, yes, no) in enumerate(steps):
        rest = len(steps) - place - 1
        far = {_NEXT: 0, _PASS: rest, _FAIL: rest + guarded}
        block.append((code, 0, 0, k) if code in (LOAD, AND) else (code, far[yes], far[no], k))
    return block


def search(ranges: Sequence[tuple[int, Block]]) -> Block:
    """Finds the block for the accumulator. `ranges` are (first number, block), in order, the first one from 0."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    return branch(NOT_LESS, ranges[middle][0], search(ranges[middle:]), search(ranges[:middle]))


def encode(block: Block) -> bytes:
    """The program as the kernel reads it. Raises ValueError when it is too long, or a jump is too far (a defect)."""
    if len(block) > MAX_INSTRUCTIONS:
        raise ValueError(f"the filter has {len(block)} instructions, the kernel takes {MAX_INSTRUCTIONS}")
    return b"".join([struct.pack("=HBBI", *instruction) for instruction in block])
