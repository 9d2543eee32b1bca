"""What containerd's requests mean for a container here: runc's options, the runtime, where its state is; and kept for `delete`.

options       BinaryName names an OCI runtime with runc's command line; without one the runtime is wherry's own, in the shim
state         <Root>/<namespace>, by default /run/containerd/runc/<namespace>, for wherry's own /run/containerd/wherry/<namespace>
kept          <bundle>/shim.json, for the `delete` of a shim that is gone
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, NotFound, Unsupported
from wherry.oci.jsontext import dumps, loads
from wherry.shim.containerd import messages
from wherry.shim.containerd.protobuf import decode
from wherry.shim.protocol import BUILTIN, LaunchRequest, LogOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from wherry.linux.cgroup import Manager

KEPT: Final = "shim.json"
_OWN_STATE: Final = "/run/containerd/wherry"
_RUNC_STATE: Final = "/run/containerd/runc"


def read_options(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Runc's options out of an Any; those that are not there have their zero value. Raises InvalidArgument, Unsupported."""
    if given is not None and given["type_url"].rpartition("/")[2] not in (messages.Options.name, ""):
        raise InvalidArgument(f"unsupported option type {given['type_url']!r}")
    options = decode(messages.Options, given["value"] if given else b"")
    for name in ("criu_image_path", "criu_work_path"):
        if options[name]:
            raise Unsupported(f"the option {name} (checkpoints) is not supported")
    return options


def launch_request(request: Mapping[str, Any], options: Mapping[str, Any], namespace: str) -> LaunchRequest:
    """A container as `wherry.shim.driver` is asked for it."""
    binary = options["binary_name"]
    root = options["root"] or (_RUNC_STATE if binary else _OWN_STATE)
    return LaunchRequest(
        id=request["id"],
        bundle=request["bundle"],
        run_folder=request["bundle"],
        runtime=binary or BUILTIN,
        runtime_root=f"{root}/{namespace}",
        systemd_cgroup=options["systemd_cgroup"],
        no_pivot=options["no_pivot_root"],
        no_new_keyring=options["no_new_keyring"],
        terminal=request["terminal"],
        log=LogOptions(driver="none"),
    )


def save(request: LaunchRequest) -> None:
    """Keeps what `delete` needs in the bundle."""
    kept = {"runtime": request.runtime, "runtime_root": request.runtime_root, "systemd_cgroup": request.systemd_cgroup}
    fd = os.open(f"{request.bundle}/{KEPT}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(dumps(kept))


def load(container_id: str, bundle: str) -> LaunchRequest:
    """What was kept. Raises NotFound when no task was created in the bundle."""
    try:
        with open(f"{bundle}/{KEPT}", encoding="utf-8") as file:
            kept: Any = loads(file.read())
    except FileNotFoundError as error:
        raise NotFound(f"no task was created in {bundle}") from error
    return LaunchRequest(id=container_id, bundle=bundle, run_folder=bundle, log=LogOptions(driver="none"), **kept)


def read_json(given: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    """The JSON object in an Any, as containerd packs types of the runtime-spec. Raises InvalidArgument."""
    try:
        document = loads(given["value"].decode()) if given else None
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{what}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"{what}: not a JSON object")
    return document


def cgroup_of(pid: int) -> Manager:
    """The cgroup of a container's init, whatever runtime made it. Raises NotFound when it has ended or is in none of its own."""
    from wherry.linux import cgroup
    from wherry.shim.oomwatch import memory_cgroup

    try:
        path = memory_cgroup(pid)
    except OSError:
        path = None
    if path is None:
        raise NotFound("cgroup does not exist: not found")
    return cgroup.manager(path)
