"""`update`: other limits for containers that exist."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.create.body import restart_policy
from wherry.cli.create.flags import KERNEL_MEMORY, LIMITS
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIELDS = (
    ("CpuShares", "cpu-shares"),
    ("Memory", "memory"),
    ("NanoCpus", "cpus"),
    ("BlkioWeight", "blkio-weight"),
    ("CpuPeriod", "cpu-period"),
    ("CpuQuota", "cpu-quota"),
    ("CpuRealtimePeriod", "cpu-rt-period"),
    ("CpuRealtimeRuntime", "cpu-rt-runtime"),
    ("MemoryReservation", "memory-reservation"),
    ("MemorySwap", "memory-swap"),
)


def update(call: Invocation) -> int:
    """Changes each container and prints its name."""
    options = call.options
    if not any(options.given(flag.name) for flag in FLAGS):
        raise CommandFailed("you must provide one or more flags when using this command")
    body: dict[str, Any] = {field: options.number(name) for field, name in FIELDS}
    body.update(
        {
            "CpusetCpus": options.text("cpuset-cpus"),
            "CpusetMems": options.text("cpuset-mems"),
            "PidsLimit": options.number("pids-limit"),
            "RestartPolicy": restart_policy(options),
        }
    )
    if not options.given("pids-limit"):
        del body["PidsLimit"]
    if options.number("kernel-memory") and not call.client.at_least("1.42"):  # what a newer daemon has given up
        body["KernelMemory"] = options.number("kernel-memory")
    failed: list[str] = []
    warnings: list[str] = []
    for name in call.arguments:
        try:
            answer = call.client.post(f"/containers/{escape(name)}/update", body)
        except WherryError as wrong:
            failed.append(wrong.message)
        else:
            call.streams.line(name)
            warnings += answer.get("Warnings") or []
    if warnings:
        call.streams.error_line("\n".join(warnings))
    if failed:
        raise CommandFailed("\n".join(failed))
    return 0


FLAGS = (*LIMITS, KERNEL_MEMORY, Flag(name="restart", kind="string", help="When to start it again after it ended"))
UPDATE = Command(usage="[OPTIONS] CONTAINER [CONTAINER...]", action=update, least=1, most=UNLIMITED, flags=FLAGS)
