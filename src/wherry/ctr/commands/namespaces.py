"""`namespaces create`, `list`, `remove`, `label`."""

from __future__ import annotations

from wherry import errors
from wherry.console.table import columns
from wherry.ctr import log
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.values import label_text, labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def create(call: Invocation) -> None:
    """Makes a namespace with labels."""
    name = call.argument(0)
    if not name:
        raise CommandFailed("please specify a namespace")
    call.client.namespaces.Create(namespace={"name": name, "labels": labels(call.arguments[1:])})


def list_(call: Invocation) -> None:
    """Lists namespaces in order of their names."""
    found = sorted(call.client.namespaces.List().namespaces, key=lambda one: one.name)
    if call.options.on("quiet"):
        call.streams.out("".join(f"{one.name}\n" for one in found))
        return
    rows = [("NAME", "LABELS", ""), *((one.name, label_text(one.labels), "") for one in found)]
    call.streams.out(columns(rows, 1, 1))


def remove(call: Invocation) -> None:
    """Removes each namespace, which must be empty; goes on past one that cannot be."""
    failure: errors.WherryError | None = None
    client = call.client
    for name in call.arguments:
        if call.options.on("cgroup"):
            _remove_cgroup(name)
        try:
            client.namespaces.Delete(name=name)
        except errors.NotFound:
            pass  # it is as gone as it was to be
        except errors.WherryError as problem:
            log.write("error", f"unable to delete {name}", error=problem.message)
            failure = failure or errors.Internal(f"unable to delete {name}: {problem.message}")
            continue
        call.streams.line(name)
    if failure is not None:
        raise failure


def _remove_cgroup(name: str) -> None:
    """Removes the namespace's empty folder from each hierarchy."""
    import glob
    import os

    for folder in (*glob.glob(f"/sys/fs/cgroup/*/{name}"), f"/sys/fs/cgroup/{name}"):
        if os.path.isfile(f"{folder}/cgroup.procs"):
            os.rmdir(folder)


def label(call: Invocation) -> None:
    """Sets labels; an empty value clears one."""
    name = call.argument(0)
    given = labels(call.arguments[1:])
    if not name:
        raise CommandFailed("please specify a namespace")
    paths = [f"labels.{key}" for key in given]
    call.client.namespaces.Update(namespace={"name": name, "labels": given}, update_mask={"paths": paths})


CREATE = Command(usage="<name> [<key>=<value>]", action=create, description="make a namespace; its name must be new")
LIST = Command(usage="[flags]", action=list_, description="list namespaces",
               flags=(Flag(names=("quiet", "q"), help="print names only"),))
REMOVE = Command(usage="<name> [<name>, ...]", action=remove, description="remove namespaces, which must be empty",
                 flags=(Flag(names=("cgroup", "c"), help="remove the namespace's cgroup too"),))
LABEL = Command(usage="<name> [<key>=<value>, ...]", action=label,
                description="set and clear a namespace's labels; an empty value clears one")
