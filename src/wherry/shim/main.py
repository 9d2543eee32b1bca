"""`wherry-shim` as a program: says what it is. Shims are forks of the zygote that wherryd starts, not programs of their own.

The shim that containerd executes is `containerd-shim-wherry-v2` (`wherry.shim.containerd`).
"""

from __future__ import annotations

import sys

import wherry

USAGE = """Usage: wherry-shim [--version | --help]

One shim per running container owns its input, output and end. wherryd has them forked from its zygote, so there is nothing to
start by hand: `ps -eH` shows them as `wherry-shim ID`. containerd executes `containerd-shim-wherry-v2` instead.
"""


def main(arguments: list[str]) -> int:
    """Runs the program; its exit status."""
    if arguments in ([], ["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    if arguments in (["--version"], ["-v"]):
        sys.stdout.write(f"wherry-shim version {wherry.__version__}\n")
        return 0
    sys.stderr.write(f"wherry-shim: unknown argument: {arguments[0]}\n")
    return 125
