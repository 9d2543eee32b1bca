"""`tasks metrics`."""

from __future__ import annotations

from wherry.console.table import columns
from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.command import Invocation


def metrics(call: Invocation) -> None:
    """Prints one moment's figures of a task, as a table or as JSON."""
    from wherry.ctr import containers
    from wherry.ctr.values import moment_spoken
    from wherry.proto import cgroups_v1_pb2, cgroups_v2_pb2

    name, client, form = call.argument(0), call.client, call.options.text("format")
    if form not in ("table", "json"):
        raise CommandFailed("format must be table or json")
    containers.load(client, name)
    containers.task_of(client, name)
    found = client.tasks.Metrics(filters=[f"id=={name}"]).metrics
    if not found or not found[0].data.type_url:
        raise CommandFailed("no metrics received")
    kind = found[0].data.type_url.rpartition("/")[2]
    messages: dict[str, Any] = {one.DESCRIPTOR.full_name: one for one in (cgroups_v1_pb2.Metrics, cgroups_v2_pb2.Metrics)}
    if kind not in messages:
        raise CommandFailed(f"cannot convert metric data of {kind}")
    data = messages[kind].FromString(found[0].data.value)
    if form == "json":
        import json

        from wherry.ctr.eventtext import as_object

        call.streams.line(json.dumps(as_object(data), indent=2))
        return
    head = [("ID", "TIMESTAMP", ""), (found[0].id, moment_spoken(found[0].timestamp), ""), ("",)]
    body = _v1(data) if messages[kind] is cgroups_v1_pb2.Metrics else _v2(data)
    call.streams.out(columns([*head, ("METRIC", "VALUE", ""), *((key, str(value), "") for key, value in body)], 4, 4))


def _v1(data: Any) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    if data.HasField("memory"):
        rows += [("memory.usage_in_bytes", data.memory.usage.usage), ("memory.limit_in_bytes", data.memory.usage.limit),
                 ("memory.stat.cache", data.memory.total_cache)]
    if data.HasField("cpu"):
        usage = data.cpu.usage
        rows += [("cpuacct.usage", usage.total), ("cpuacct.usage_percpu", f"[{' '.join(map(str, usage.per_cpu))}]")]
    if data.HasField("pids"):
        rows += [("pids.current", data.pids.current), ("pids.limit", data.pids.limit)]
    return rows


def _v2(data: Any) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    if data.HasField("pids"):
        rows += [("pids.current", data.pids.current), ("pids.limit", data.pids.limit)]
    if data.HasField("cpu"):
        rows += [(f"cpu.{field}", getattr(data.cpu, field)) for field in (
            "usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec")]
    if data.HasField("memory"):
        rows += [(f"memory.{field}", getattr(data.memory, field)) for field in (
            "usage", "usage_limit", "swap_usage", "swap_limit")]
        rows += [(f"memory.{field.name}", getattr(data.memory, field.name)) for field in data.memory.DESCRIPTOR.fields
                 if field.name not in ("usage", "usage_limit", "swap_usage", "swap_limit", "max_usage")]
    return rows


METRICS = Command(usage="CONTAINER", action=metrics,
                  flags=(Flag(names=("format",), kind="string", default="table", help='"table" or "json"'),))
