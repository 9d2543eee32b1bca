"""`wherry-runc features`: what this runtime can do, as the runtime-spec's document («Features»)."""

from __future__ import annotations

import os

from wherry.linux import capability, mountwords
from wherry.oci import jsontext
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.runtime.main import Context

COMMAND = Command(name="features", usage="show what this runtime can do", arguments="", minimum=0, maximum=0)

_ACTIONS = ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP")
_OPERATORS = ("EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE")


def run(context: Context) -> int:  # noqa: ARG001
    """Prints them."""
    os.write(1, (jsontext.dumps(document(), indent=4) + "\n").encode())
    return 0


def document() -> dict[str, Any]:
    """The document. Every word in it is taken from the tables that the runtime itself goes by."""
    from wherry import __version__
    from wherry.linux.namespace import FLAGS as NAMESPACES
    from wherry.linux.seccomp import architecture, compiler

    options = {*mountwords.ATTRIBUTES, *("r" + word for word in mountwords.ATTRIBUTES), *mountwords.PROPAGATION,
               *mountwords.SUPERBLOCK, *mountwords.NOTHING, "bind", "rbind", "tmpcopyup", "idmap", "ridmap", "remount"} - {""}
    flags = sorted(compiler.FLAGS)
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": sorted(options),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(capability.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True},
            "seccomp": {"enabled": True,
                        "actions": [f"SCMP_ACT_{name}" for name in _ACTIONS],
                        "operators": [f"SCMP_CMP_{name}" for name in _OPERATORS],
                        "archs": sorted(architecture.NAMES),
                        "knownFlags": flags,
                        "supportedFlags": flags},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"org.wherry.version": __version__},
        "potentiallyUnsafeConfigAnnotations": ["run.oci."],
    }
