"""The options that say what a container is to be: shared by `run` and `containers create`."""

from __future__ import annotations

from wherry.ctr.command import Flag
from wherry.ctr.containers import RUNC
from wherry.ctr.main import SNAPSHOTTER


def _text(name: str, help_: str, *short: str) -> Flag:
    return Flag(names=(name, *short), kind="string", help=help_)


def _many(name: str, help_: str) -> Flag:
    return Flag(names=(name,), kind="strings", help=help_)


def _switch(name: str, help_: str, *short: str) -> Flag:
    return Flag(names=(name, *short), help=help_)


CONTAINER_FLAGS = (
    SNAPSHOTTER,
    _many("snapshotter-label", "label for the container's new snapshot"),
    _text("config", "file with the runtime configuration to use", "c"),
    _text("cwd", "folder that the process starts in"),
    _many("env", "environment variable (FOO=bar)"),
    _text("env-file", "file of environment variables (FOO=bar, one a line)"),
    _many("label", "label (foo=bar)"),
    _many("annotation", "OCI annotation (foo=bar)"),
    _many("mount", "mount (type=bind,src=/tmp,dst=/host,options=rbind:ro)"),
    _switch("net-host", "use the machine's network"),
    _switch("privileged", "give the container all that the machine allows"),
    _switch("read-only", "let nothing write to the container's root"),
    Flag(names=("runtime",), kind="string", default=RUNC, help="name of the runtime"),
    _text("runtime-config-path", "file of options for the runtime"),
    _switch("tty", "give the container a terminal", "t"),
    _many("with-ns", "namespace to join instead of a new one (<nstype>:<path>)"),
    _text("pid-file", "file to write the process id of the task to"),
    Flag(names=("gpus",), kind="strings", help="GPU to add"),
    _switch("allow-new-privs", "let programs gain privileges by being executed"),
    Flag(names=("memory-limit",), kind="uint", help="memory in bytes"),
    _many("device", "device, or folder of devices, to add"),
    _many("cap-add", "capability to add (CAP_…)"),
    _many("cap-drop", "capability to drop (CAP_…)"),
    _switch("seccomp", "use the default seccomp profile"),
    _text("seccomp-profile", "file of a seccomp profile of one's own; needs --seccomp"),
    _text("apparmor-default-profile", "name to load AppArmor's default profile under, and use it"),
    _text("apparmor-profile", "AppArmor profile, loaded already, to use"),
    _text("rdt-class", "class of service of the RDT for cache and memory bandwidth"),
    _switch("rootfs", "the first argument is a folder, and the container's root"),
    _switch("no-pivot", "do not use pivot_root"),
    Flag(names=("cpu-quota",), kind="int", default=-1, help="processor time of each period, in microseconds"),
    Flag(names=("cpu-period",), kind="uint", help="length of a period in microseconds"),
    _text("rootfs-propagation", "how mounts spread to and from the container's root"),
)

RUN_FLAGS = (
    _switch("rm", "delete the container when it has ended; not with --detach"),
    _switch("null-io", "send all output to /dev/null"),
    _text("log-uri", "where the output goes: file://, binary://, fifo://"),
    _switch("detach", "leave the container alone once it runs; not with --rm", "d"),
    _text("fifo-dir", "folder for the fifos of the streams"),
    _text("cgroup", 'path of the cgroup; "" for none of its own'),
    _text("platform", "platform of the image to use"),
    _switch("cni", "set up the network by CNI plugins"),
    _text("runc-binary", "program to use as runc"),
    _text("runc-root", "folder for runc's state"),
    _switch("runc-systemd-cgroup", "let systemd make the cgroups"),
    Flag(names=("uidmap",), kind="string", shown="container-uid:host-uid:length",
         help="run in a user namespace with this range of users"),
    Flag(names=("gidmap",), kind="string", shown="container-gid:host-gid:length",
         help="run in a user namespace with this range of groups"),
    _switch("remap-labels", "let the snapshotter map the owners of files"),
    Flag(names=("cpus",), kind="float", help="processors' worth of time"),
    Flag(names=("cpu-shares",), kind="int", default=1024, help="weight for processor time"),
    *CONTAINER_FLAGS,
)
