"""Every flag of wherryd: dockerd's, under dockerd's names, with the key that each has in daemon.json.

A flag of dockerd that is not done stands here too, marked `refused`: giving it another value than its default is an
error that names it. So is a key of daemon.json. Nothing is parsed and then ignored.
"""

from __future__ import annotations

from typing import Any

from wherry.cli.command import Flag
from wherry.cli.values import COLLECTING
from wherry.record import Record


class Setting(Record):
    """One thing that can be set. `key` is its name in daemon.json, empty where it has none there."""

    flag: Flag
    key: str = ""
    refused: bool = False
    is_object: bool = False
    """In daemon.json it is a JSON object or a list of objects, not what the flag's kind says."""

    @property
    def name(self) -> str:
        """The flag's name."""
        return self.flag.name

    @property
    def default(self) -> Any:
        """What counts as not given."""
        if self.flag.kind in COLLECTING:
            return []
        if self.flag.default is not None:
            return self.flag.default
        return {"bool": False, "int": 0, "bytes": 0}.get(self.flag.kind, "")


def _done(name: str, help_: str, kind: str = "string", key: str | None = None, *, short: str = "", default: Any = None,
          shown: str = "", hidden: bool = False, is_object: bool = False) -> Setting:
    flag = Flag(name=name, help=help_, short=short, kind=kind, default=default, shown=shown, hidden=hidden)
    return Setting(flag=flag, key=name if key is None else key, is_object=is_object)


def _refused(name: str, kind: str = "string", key: str | None = None, *, default: Any = None,
             is_object: bool = False) -> Setting:
    flag = Flag(name=name, kind=kind, default=default, hidden=True)
    return Setting(flag=flag, key=name if key is None else key, refused=True, is_object=is_object)


SETTINGS: tuple[Setting, ...] = (
    # What is done.
    _done("add-runtime", "Register an additional OCI compatible runtime", "map", "runtimes", shown="[]", is_object=True),
    _done("bip", "Address with prefix length of the default bridge (default: the first free subnet)"),
    _done("bridge", "Bridge to attach containers to, or \"none\"", short="b"),
    _done("cgroup-parent", "Parent cgroup for all containers"),
    _done("config-file", "Daemon configuration file", key=""),
    _done("containerd", "Address of a containerd that runs the containers, in place of shims of wherry's own"),
    _done("containerd-namespace", "Namespace of the containers there", default="moby", shown='"moby"'),
    _done("containerd-address", "Socket of containerd's API, \"\" for none (default: containerd.sock in --exec-root, where the "
          "extra wherry[containerd] is installed)", key=""),
    _done("containerd-gc", "When containerd's API collects garbage: containerd's settings pause_threshold, deletion_threshold, "
          "mutation_threshold, schedule_delay, startup_delay", "map", shown="map[]"),
    _done("data-root", "Root directory of persistent state"),
    _done("debug", "Enable debug mode", "bool", short="D"),
    _done("default-address-pool", "Pools that subnets of networks are taken from", "list", "default-address-pools",
          is_object=True),
    _done("default-cgroupns-mode", "Default cgroup namespace of containers (\"host\" | \"private\")"),
    _done("default-gateway", "Default gateway of containers on the default bridge"),
    _done("default-gateway-v6", "The same for IPv6"),
    _done("default-ipc-mode", "Default IPC mode of containers (\"shareable\" | \"private\")", default="private",
          shown='"private"'),
    _done("default-runtime", "Default OCI runtime of containers", default="runc", shown='"runc"'),
    _done("default-shm-size", "Default size of /dev/shm in containers", "bytes", default=64 << 20, shown="64MiB"),
    _done("default-ulimit", "Default ulimits of containers", "list", "default-ulimits", is_object=True),
    _done("dns", "DNS server to use", "list"),
    _done("dns-opt", "DNS options to use", "list", "dns-opts"),
    _done("dns-search", "DNS search domains to use", "list"),
    _done("drop-in", "Take Docker's places: its socket, data root, bridge and configuration file", "bool", ""),
    _done("exec-opt", "Options of execution (native.cgroupdriver=cgroupfs|systemd)", "list", "exec-opts"),
    _done("exec-root", "Root directory of state files while running"),
    _done("firewall-backend", "Firewall backend (\"nftables\")", default="nftables", shown='"nftables"'),
    _done("fixed-cidr", "IPv4 subnet for the default bridge's addresses"),
    _done("fixed-cidr-v6", "IPv6 subnet for the default bridge's addresses"),
    _done("group", "Group of the Unix socket", short="G"),
    _done("host", "Sockets to listen on", "list", "hosts", short="H"),
    _done("host-gateway-ip", "Address that \"host-gateway\" in --add-host stands for (default: the default bridge's)"),
    _done("http-proxy", "HTTP proxy for registries"),
    _done("https-proxy", "HTTPS proxy for registries"),
    _done("no-proxy", "Hosts that are reached without a proxy"),
    _done("icc", "Let containers on the default bridge talk to each other", "bool", default=True),
    _done("init", "Run an init in each container", "bool"),
    _done("init-path", "Path of docker-init"),
    _done("insecure-registry", "Registries without TLS or with an unknown certificate", "list", "insecure-registries"),
    _done("ip", "Address where ports are published that name none", default="0.0.0.0", shown="0.0.0.0"),
    _done("ip-forward", "Enable net.ipv4.ip_forward", "bool", default=True),
    _done("ip-masq", "Enable masquerading", "bool", default=True),
    _done("iptables", "Write firewall rules", "bool", default=True),
    _done("ip6tables", "Write firewall rules for IPv6 too", "bool"),
    _done("ipv6", "Give containers on the default bridge IPv6 addresses too", "bool"),
    _done("label", "Labels of the daemon (key=value)", "list", "labels"),
    _done("live-restore", "Let containers run while the daemon is down", "bool"),
    _done("log-driver", "Default log driver of containers (\"json-file\" | \"none\")", default="json-file",
          shown='"json-file"'),
    _done("log-format", "Format of the daemon's own log (\"text\" | \"json\")", default="text", shown='"text"'),
    _done("log-level", "Level of the daemon's own log (\"debug\" | \"info\" | \"warn\" | \"error\" | \"fatal\")", short="l",
          default="info", shown='"info"'),
    _done("log-opt", "Default options of the log driver", "map", "log-opts"),
    _done("max-concurrent-downloads", "Downloads at once for each pull", "int", default=3),
    _done("max-concurrent-uploads", "Uploads at once for each push", "int", default=5),
    _done("mtu", "MTU of the default bridge", "int", default=1500),
    _done("no-docker-api", "Serve containerd's API alone", "bool", ""),
    _done("no-new-privileges", "Set no-new-privileges for new containers", "bool"),
    _done("on-demand", "End when nobody has needed the daemon for a while", "bool", "", hidden=True),
    _done("on-demand-seconds", "How long that while is", "int", "", default=600, hidden=True),
    _done("oom-score-adjust", "Set the daemon's oom_score_adj", "int"),
    _done("pidfile", "Path of the daemon's PID file", short="p"),
    _done("registry-mirror", "Mirrors of Docker Hub", "list", "registry-mirrors"),
    _done("seccomp-profile", "Path of a seccomp profile, or \"unconfined\""),
    _done("shutdown-timeout", "Seconds that containers have for their end when the daemon ends", "int", default=15),
    _done("storage-driver", "Storage driver (\"overlay2\")", short="s"),
    _done("tls", "Use TLS; implied by --tlsverify", "bool"),
    _done("tlscacert", "Trust only clients with a certificate signed by this CA"),
    _done("tlscert", "Path of the TLS certificate"),
    _done("tlskey", "Path of the TLS key"),
    _done("tlsverify", "Use TLS and verify clients", "bool"),
    _done("userland-proxy", "Use a proxy for what NAT cannot do", "bool", default=True),
    _done("userland-proxy-path", "Path of the proxy's program"),
    _done("validate", "Check the configuration and end", "bool", ""),
    _done("version", "Print the version and end", "bool", "", short="v"),
    # What dockerd has and this daemon has not.
    _refused("allow-direct-routing", "bool"),
    _refused("allow-nondistributable-artifacts", "list"),
    _refused("api-cors-header"),
    _refused("authorization-plugin", "list", "authorization-plugins"),
    _refused("bip6"),
    _refused("bridge-accept-fwmark"),
    _refused("cdi-spec-dir", "list", "cdi-spec-dirs"),
    _refused("containerd-plugins-namespace", key="containerd-plugin-namespace", default="plugins.moby"),
    _refused("cpu-rt-period", "int"),
    _refused("cpu-rt-runtime", "int"),
    _refused("cri-containerd", "bool"),
    _refused("default-network-opt", "map", "default-network-opts", is_object=True),
    _refused("default-stop-timeout", "int", default=10),
    _refused("experimental", "bool"),
    _refused("feature", "map", "features", is_object=True),
    _refused("ip-forward-no-drop", "bool"),
    _refused("max-download-attempts", "int", default=5),
    _refused("metrics-addr"),
    _refused("network-control-plane-mtu", "int", default=1500),
    _refused("network-diagnostic-port", "int"),
    _refused("node-generic-resource", "list", "node-generic-resources"),
    _refused("nri-opts", "map", is_object=True),
    _refused("raw-logs", "bool"),
    _refused("rootless", "bool"),
    _refused("selinux-enabled", "bool"),
    _refused("storage-opt", "list", "storage-opts"),
    _refused("swarm-default-advertise-addr"),
    _refused("userns-remap"),
)

# Keys of daemon.json that no flag has, all refused unless empty.
REFUSED_KEYS = ("builder", "min-api-version", "proxies", "resolv-conf", "host-gateway-ips", "swarm-raft-election-tick",
                "swarm-raft-heartbeat-tick")

BY_KEY = {setting.key: setting for setting in SETTINGS if setting.key}


def is_of_kind(setting: Setting, value: Any) -> bool:
    """Whether a value of daemon.json is of the type that the setting wants; None, Go's null, is of every type."""
    if value is None or setting.is_object:
        return value is None or isinstance(value, dict | list)
    kind = setting.flag.kind
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "bytes":
        return (isinstance(value, int) and not isinstance(value, bool)) or isinstance(value, str)
    if kind == "map":
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if kind in COLLECTING:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, str)

