"""The options of `run` and `create`: what a container may be given."""

from __future__ import annotations

from wherry.cli.command import Flag
from wherry.cli.commands.flags import CONTENT_TRUST
from wherry.cli.create import checks
from wherry.cli.create.mounts import parse_mount
from wherry.cli.create.networks import parse_network
from wherry.cli.values import environment, swap_bytes

HEALTH = (
    Flag(name="health-cmd", kind="string", help="Command that says whether the container is healthy"),
    Flag(name="health-interval", kind="duration", help="Time between two checks (ms|s|m|h)", shown="0s"),
    Flag(name="health-retries", kind="int", help="Failures in a row that make it unhealthy"),
    Flag(
        name="health-start-interval",
        kind="duration",
        since="1.44",
        help="Time between two checks while it starts (ms|s|m|h)",
        shown="0s",
    ),
    Flag(
        name="health-start-period",
        kind="duration",
        help="Time it may take to start, in which failures do not count (ms|s|m|h)",
        shown="0s",
    ),
    Flag(name="health-timeout", kind="duration", help="Time that one check may take (ms|s|m|h)", shown="0s"),
    Flag(name="no-healthcheck", help="Run no check, also none that the image brings"),
)

KERNEL_MEMORY = Flag(name="kernel-memory", kind="bytes", help="Limit of kernel memory (kernels know it no more)", hidden=True)

LIMITS = (
    Flag(name="blkio-weight", kind="uint16", help="Weight of block I/O, 10 to 1000; 0 for none"),
    Flag(name="cpu-period", kind="int", help="Period of the CPU quota, in microseconds"),
    Flag(name="cpu-quota", kind="int", help="CPU time per period, in microseconds"),
    Flag(name="cpu-rt-period", kind="int", help="Period of real-time scheduling, in microseconds"),
    Flag(name="cpu-rt-runtime", kind="int", help="Real-time CPU time per period, in microseconds"),
    Flag(name="cpu-shares", short="c", kind="int", help="Weight of CPU time"),
    Flag(name="cpus", kind="decimal", help="How many CPUs' worth of time"),
    Flag(name="cpuset-cpus", kind="string", help="CPUs to run on (0-3, 0,1)"),
    Flag(name="cpuset-mems", kind="string", help="Memory nodes to use (0-3, 0,1)"),
    Flag(name="memory", short="m", kind="bytes", help="Limit of memory"),
    Flag(name="memory-reservation", kind="bytes", help="Memory to come back to when memory is short"),
    Flag(name="memory-swap", kind="bytes", check=swap_bytes, help="Limit of memory and swap together; -1 for no limit of swap"),
    Flag(name="pids-limit", kind="int", help="Limit of processes (-1 for none)"),
)

MACHINE = (
    Flag(
        name="blkio-weight-device",
        kind="list",
        check=checks.weight_device,
        help="Weight of one device (device:weight)",
        shown="[]",
    ),
    Flag(name="cgroup-parent", kind="string", help="Cgroup in which the container's is made"),
    Flag(name="cpu-count", kind="int", since="windows", help="Number of CPUs (Windows only)", hidden=True),
    Flag(name="cpu-percent", kind="int", since="windows", help="Percentage of CPU (Windows only)", hidden=True),
    Flag(name="device", kind="list", help="Give it a device of the host (host[:container[:rwm]], or a CDI name)"),
    Flag(
        name="device-cgroup-rule",
        kind="list",
        check=checks.device_rule,
        help="Allow more devices, as a rule of the device cgroup",
    ),
    Flag(
        name="device-read-bps",
        kind="list",
        check=checks.rate_bytes,
        help="Limit reading from a device, in bytes per second (device:rate)",
        shown="[]",
    ),
    Flag(
        name="device-read-iops",
        kind="list",
        check=checks.rate_count,
        help="Limit reads from a device per second (device:rate)",
        shown="[]",
    ),
    Flag(
        name="device-write-bps",
        kind="list",
        check=checks.rate_bytes,
        help="Limit writing to a device, in bytes per second (device:rate)",
        shown="[]",
    ),
    Flag(
        name="device-write-iops",
        kind="list",
        check=checks.rate_count,
        help="Limit writes to a device per second (device:rate)",
        shown="[]",
    ),
    Flag(name="gpus", kind="gpu-request", check=checks.gpus, help="GPU devices to give it ('all' for all)"),
    Flag(
        name="io-maxbandwidth",
        kind="bytes",
        since="windows",
        help="Limit of I/O bandwidth of the system drive (Windows only)",
        hidden=True,
    ),
    Flag(
        name="io-maxiops",
        kind="uint",
        since="windows",
        help="Limit of operations of the system drive (Windows only)",
        hidden=True,
    ),
    Flag(name="isolation", kind="string", help="How containers are kept apart (Windows has a choice)"),
    KERNEL_MEMORY,
    Flag(name="memory-swappiness", kind="int", default=-1, help="How readily memory is swapped (0 to 100)"),
    Flag(name="oom-kill-disable", help="Wait instead of being killed when memory runs out"),
    Flag(name="oom-score-adj", kind="int", help="How willingly the host kills it (-1000 to 1000)"),
    Flag(name="ulimit", kind="ulimit", check=checks.ulimit, help="Limits of its processes"),
)

NETWORK = (
    Flag(name="add-host", kind="list", check=checks.extra_host, help="Add a name to its hosts file (host:ip)"),
    Flag(name="dns", kind="list", check=checks.address, help="Name servers"),
    Flag(name="dns-opt", kind="list", help="Options of the resolver", hidden=True, same_as="dns-option"),
    Flag(name="dns-option", kind="list", help="Options of the resolver"),
    Flag(name="dns-search", kind="list", check=checks.search_domain, help="Domains in which names are looked up"),
    Flag(name="domainname", kind="string", help="NIS domain name"),
    Flag(name="expose", kind="list", help="Say that a port or a range is used"),
    Flag(name="hostname", short="h", kind="string", help="Host name"),
    Flag(name="ip", kind="string", help="IPv4 address (172.30.100.104)"),
    Flag(name="ip6", kind="string", help="IPv6 address (2001:db8::33)"),
    Flag(name="link", kind="list", help="Link to another container"),
    Flag(name="link-local-ip", kind="list", help="Link-local addresses"),
    Flag(name="mac-address", kind="string", help="MAC address (92:d0:c6:0a:29:33)"),
    Flag(name="net", kind="network", check=parse_network, help="Connect it to a network", hidden=True, same_as="network"),
    Flag(name="net-alias", kind="list", help="Name in the network", hidden=True, same_as="network-alias"),
    Flag(name="network", kind="network", check=parse_network, help="Connect it to a network"),
    Flag(name="network-alias", kind="list", help="Name in the network"),
    Flag(name="publish", short="p", kind="list", help="Publish a port ([[address:]port:]port[/protocol])"),
    Flag(name="publish-all", short="P", help="Publish all exposed ports at free ports of the host"),
)

BASIC = (
    Flag(name="annotation", kind="map", check=checks.loose_pair, since="1.43", help="Note for the OCI runtime"),
    Flag(name="attach", short="a", kind="list", check=checks.stream, help="Attach to STDIN, STDOUT or STDERR"),
    Flag(name="cap-add", kind="list", help="Add capabilities"),
    Flag(name="cap-drop", kind="list", help="Take capabilities away"),
    Flag(
        name="cgroupns",
        kind="string",
        since="1.41",
        help="Cgroup namespace:\n'host':     the host's\n'private':  its own\n'':         as the daemon is set up (default)",
    ),
    Flag(name="cidfile", kind="string", help="Write the container's id to this file"),
    CONTENT_TRUST,
    Flag(name="entrypoint", kind="string", help="Program to run instead of the image's entrypoint"),
    Flag(name="env", short="e", kind="list", check=environment, help="Set environment variables"),
    Flag(name="env-file", kind="list", help="Set the environment variables in this file"),
    Flag(name="group-add", kind="list", help="More groups of its user"),
    Flag(name="init", help="Run a small init as process 1, which passes signals on and reaps"),
    Flag(name="interactive", short="i", help="Keep stdin open, also when nothing is attached"),
    Flag(name="ipc", kind="string", help="IPC namespace"),
    Flag(name="label", short="l", kind="list", check=checks.label, help="Label it"),
    Flag(name="label-file", kind="list", help="Label it with the lines of this file"),
    Flag(name="log-driver", kind="string", help="Driver of its log"),
    Flag(name="log-opt", kind="list", help="Options of the log's driver"),
    Flag(name="mount", kind="mount", check=parse_mount, help="Mount a file system"),
    Flag(name="name", kind="string", help="Name"),
    Flag(name="pid", kind="string", help="PID namespace"),
    Flag(name="platform", kind="string", help="Platform to choose where there are several"),
    Flag(name="privileged", help="Give it everything the host has"),
    Flag(name="pull", kind="string", default="missing", help='Fetch the image first ("always", "missing", "never")'),
    Flag(name="quiet", short="q", help="Fetch the image without saying so"),
    Flag(name="read-only", help="Mount its root file system read-only"),
    Flag(name="restart", kind="string", default="no", help="When to start it again after it ended"),
    Flag(name="rm", help="Remove it, and its anonymous volumes, when it ends"),
    Flag(name="runtime", kind="string", help="OCI runtime"),
    Flag(name="security-opt", kind="list", help="Security options"),
    Flag(name="shm-size", kind="bytes", help="Size of /dev/shm"),
    Flag(name="stop-signal", kind="string", help="Signal that stops it"),
    Flag(name="stop-timeout", kind="int", help="Seconds until it is killed when it is stopped"),
    Flag(name="storage-opt", kind="list", help="Options of the storage driver"),
    Flag(name="sysctl", kind="map", check=checks.sysctl, help="Kernel parameters of its namespaces"),
    Flag(name="tmpfs", kind="list", help="Mount a tmpfs"),
    Flag(name="tty", short="t", help="Give it a terminal"),
    Flag(name="use-api-socket", help="Mount the daemon's socket into it, with the logins of this user"),
    Flag(name="user", short="u", kind="string", help="User to run as (<name|uid>[:<group|gid>])"),
    Flag(name="userns", kind="string", help="User namespace"),
    Flag(name="uts", kind="string", help="UTS namespace"),
    Flag(name="volume", short="v", kind="list", help="Mount a volume or a folder of the host"),
    Flag(name="volume-driver", kind="string", help="Driver of volumes that are made for it"),
    Flag(name="volumes-from", kind="list", help="Mount what this container has mounted"),
    Flag(name="workdir", short="w", kind="string", help="Working folder"),
)

CONTAINER = BASIC + NETWORK + MACHINE + LIMITS + HEALTH
