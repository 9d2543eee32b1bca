"""What `create` would do, for people: the plan, in the order in which it is applied. Nothing is changed."""

from __future__ import annotations

import os

from wherry.linux import capability, namespace
from wherry.runtime import state
from wherry.runtime.create import plan_resources, prepare
from wherry.runtime.plan import plan_init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from wherry.linux.cgroup import Manager
    from wherry.oci.runtime import Config
    from wherry.runtime.container import CreateRequest
    from wherry.runtime.plan import InitPlan, RootfsPlan
    from wherry.runtime.program import ProgramPlan

_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def explain(request: CreateRequest) -> str:
    """The steps, one a line: who does it, then what. Raises what `create` would raise for a config that makes no sense."""
    request, config, bundle, layout, group = prepare(request.replace(seccomp_cache=""))
    fds: list[int] = []
    try:
        plan = plan_init(request, config, bundle, group, layout, fds)
    finally:
        for fd in fds:
            os.close(fd)
    lines = [*_creator(request, config, group), *_init(plan, config), *_end(request, config)]
    return "\n".join(f"{who:8} {step}" for who, step in lines)


def _creator(request: CreateRequest, config: Config, group: Manager) -> Iterator[tuple[str, str]]:
    yield "create", f"claims the state folder {state.folder(request.root, request.id)}"
    for folder in sorted(set(group.paths().values())):
        yield "create", f"makes the cgroup {folder}"
    for step in _limits(plan_resources(config, request), group.version):
        yield "create", f"limits: {step}"


def _limits(resources: Mapping[str, Any], version: str) -> tuple[object, ...]:
    """On v2 without the devices: those are a program for the kernel, not a file."""
    if version == "v2":
        from wherry.linux.cgroup.plan_v2 import plan_v2

        return plan_v2(resources)
    from wherry.linux.cgroup.plan_v1 import plan_v1

    return plan_v1(resources)


def _init(plan: InitPlan, config: Config) -> Iterator[tuple[str, str]]:
    flags = plan.new | (namespace.CLONE_NEWCGROUP if plan.cgroup_namespace else 0)
    names = [name for name, flag in namespace.FLAGS.items() if flags & flag]
    yield "create", f"forks the init into new namespaces: {', '.join(names) or 'none'}"
    for entry in config.linux.namespaces:
        if entry.path:
            last = " (by its last fork)" if entry.type == "pid" and plan.pid_namespace >= 0 else ""
            yield "init", f"joins the {entry.type} namespace {entry.path}{last}"
    for name, mappings in (("uids", config.linux.uid_mappings), ("gids", config.linux.gid_mappings)):
        for one in mappings:
            yield "create", f"maps {one.size} {name} from {one.container_id}: outside they begin at {one.host_id}"
    for name, value in plan.sysctls:
        yield "init", f"sets {name} = {value}"
    yield from _tree(plan.rootfs)
    for kind, hooks in plan.hooks.as_dict().items():
        if kind in ("prestart", "create_runtime", "create_container"):
            for hook in hooks:
                yield "init" if kind == "create_container" else "create", f"runs the {kind} hook {hook.path}"
    yield "init", f"enters the root{', read-only' if plan.rootfs.readonly else ''}"
    for name, value in (("host name", plan.hostname), ("domain name", plan.domainname)):
        if value:
            yield "init", f"sets the {name} {value}"
    yield from _program(plan.program)


def _tree(tree: RootfsPlan) -> Iterator[tuple[str, str]]:
    yield "init", f"mounts the root {tree.rootfs}"
    for step in tree.mounts:
        yield "init", f"mounts {step.describe()}"
    for node in tree.devices.nodes:
        yield "init", f"{'binds' if tree.devices.bind else 'makes'} {node.describe()}"
    for place in (*tree.read_only, *(step.destination for step in tree.sealed)):
        yield "init", f"makes {place} read-only"
    for place in tree.masked:
        yield "init", f"masks {place}"


def _program(program: ProgramPlan) -> Iterator[tuple[str, str]]:
    who = program.credentials
    if program.terminal:
        yield "init", "opens a terminal of the container's devpts"
    if who.no_new_privileges:
        yield "init", "can gain no privileges from here on"
    for name, soft, hard in who.rlimits:
        yield "init", f"limits itself: {name} {soft} (at most {hard})"
    groups = f", groups {', '.join(map(str, who.groups))}" if who.groups else ""
    yield "init", f"becomes uid {who.uid}, gid {who.gid}{groups}, in {program.cwd}"
    for kind, bits in zip(_SETS, who.capabilities, strict=True):
        yield "init", f"keeps {kind}: {' '.join(capability.names(bits)) or 'nothing'}"
    if program.seccomp is not None:
        told = ", and an agent is asked" if program.seccomp.notifies else ""
        yield "init", f"filters system calls: {len(program.seccomp.filter) // 8} instructions{told}"


def _end(request: CreateRequest, config: Config) -> Iterator[tuple[str, str]]:
    if request.pid_file:
        yield "create", f"writes {request.pid_file}"
    assert config.process is not None
    yield "init", "waits for start"
    for hook in config.hooks.start_container:
        yield "start", f"runs the startContainer hook {hook.path}"
    yield "init", f"executes {' '.join(config.process.args)}"
    for hook in config.hooks.poststart:
        yield "start", f"runs the poststart hook {hook.path}"
