"""`wherry-shim` as a program: says what it is. Shims are forks of the zygote that wherryd starts, not programs of their own.

containerd executes its shims (`containerd-shim-NAME-v2 -namespace N -id I start`); that door is not built yet, and refused.
"""

from __future__ import annotations

import sys

import wherry

USAGE = """Usage: wherry-shim [--version | --help]

One shim per running container owns its input, output and end. wherryd has them forked from its zygote, so there is nothing to
start by hand: `ps -eH` shows them as `wherry-shim ID`.
"""


def main(arguments: list[str]) -> int:
    """Runs the program; its exit status."""
    if arguments in ([], ["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    if arguments in (["--version"], ["-v"]):
        sys.stdout.write(f"wherry-shim version {wherry.__version__}\n")
        return 0
    if arguments[-1] in ("start", "delete"):
        sys.stderr.write("wherry-shim: containerd's shim protocol (v2) is not supported yet\n")
        return 1
    sys.stderr.write(f"wherry-shim: unknown argument: {arguments[0]}\n")
    return 125
