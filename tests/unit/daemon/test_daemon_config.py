"""Flags and daemon.json: what is taken, what is refused, and in which words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from wherry.api.containerd.pace import Pace
from wherry.cli.flags import parse
from wherry.daemon import config
from wherry.daemon.flags import BY_KEY, SETTINGS
from wherry.daemon.main import main
from wherry.daemon.reload import reloaded
from wherry.daemon.settings import DOCKERS, OWN, Settings, settings
from wherry.engine.options import ContainerdOptions, Runtime
from wherry.errors import InvalidArgument, Unsupported, WherryError

if TYPE_CHECKING:
    from pathlib import Path

# The flags of dockerd 20.10.24, and those that came later.
DOCKERDS = frozenset("""add-runtime allow-nondistributable-artifacts api-cors-header authorization-plugin bip bridge cgroup-parent
config-file containerd containerd-namespace containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root
debug default-address-pool default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode default-runtime
default-shm-size default-ulimit dns dns-opt dns-search exec-opt exec-root experimental fixed-cidr fixed-cidr-v6 group host
host-gateway-ip icc init init-path insecure-registry ip ip-forward ip-masq ip6tables iptables ipv6 label live-restore log-driver
log-level log-opt max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr mtu
network-control-plane-mtu no-new-privileges node-generic-resource oom-score-adjust pidfile raw-logs registry-mirror rootless
seccomp-profile selinux-enabled shutdown-timeout storage-driver storage-opt swarm-default-advertise-addr tls tlscacert tlscert
tlskey tlsverify userland-proxy userland-proxy-path userns-remap version allow-direct-routing bip6 bridge-accept-fwmark
cdi-spec-dir default-network-opt default-stop-timeout feature firewall-backend http-proxy https-proxy ip-forward-no-drop
log-format network-diagnostic-port no-proxy nri-opts validate""".split())  # noqa: SIM905 (a list of eighty lines is harder to compare)


def read(arguments: list[str], file: Any = None, tmp_path: Path | None = None) -> Settings:
    options, _ = parse([one.flag for one in SETTINGS], arguments)
    path = "/nonexistent/daemon.json"
    if tmp_path is not None:
        path = str(tmp_path / "daemon.json")
        (tmp_path / "daemon.json").write_text(file if isinstance(file, str) else json.dumps(file))
    return settings(config.read(options, path))


def test_every_flag_of_dockerd_is_known() -> None:
    names = {one.name for one in SETTINGS}
    assert DOCKERDS - names == set()
    assert names - DOCKERDS == {"containerd-address", "containerd-gc", "drop-in", "no-docker-api", "on-demand", "on-demand-seconds"}


@pytest.mark.parametrize("setting", [one for one in SETTINGS if one.refused], ids=lambda one: one.name)
def test_what_is_not_done_is_refused_by_name_and_its_default_is_not(setting: Any) -> None:
    kind = setting.flag.kind
    value = {"bool": "true", "int": "7", "map": "a=b"}.get(kind, "x")
    with pytest.raises(Unsupported, match=f"--{setting.name} is not supported"):
        read([f"--{setting.name}={value}"])
    if kind not in ("list", "map"):
        default = {"bool": "false", "int": str(setting.default)}.get(kind, setting.default)
        read([f"--{setting.name}={default}"])


@pytest.mark.parametrize("setting", [one for one in SETTINGS if one.refused], ids=lambda one: one.key)
def test_so_it_is_in_the_file(setting: Any, tmp_path: Path) -> None:
    value: Any = {"bool": True, "int": 7, "map": {"a": "b"}, "list": ["x"]}.get(setting.flag.kind, "x")
    with pytest.raises(Unsupported, match=f"\"{setting.key}\" is not supported"):
        read([], {setting.key: value}, tmp_path)


def test_defaults_are_our_own_places() -> None:
    found = read([])
    assert found.places is OWN
    assert found.hosts == ("unix:///run/wherry.sock",)
    assert (found.engine.data_root, found.engine.run_folder, found.engine.network.bridge) == (
        "/var/lib/wherry", "/run/wherry", "wherry0")
    assert found.on_demand_s is None
    assert found.tls is None


def test_drop_in_takes_docker_s_places() -> None:
    found = read(["--drop-in", "--bridge", "br5"])
    assert found.places is DOCKERS
    assert found.hosts == ("unix:///var/run/docker.sock",)
    assert (found.engine.data_root, found.engine.cgroup_parent, found.engine.network.bridge) == (
        "/var/lib/docker", "/docker", "br5")


def test_the_file_and_the_flags_come_together(tmp_path: Path) -> None:
    found = read(["--label", "a=b", "--live-restore"], {
        "debug": True, "hosts": ["tcp://127.0.0.1:2375", "fd://"], "runtimes": {"crun": {"path": "/bin/crun", "runtimeArgs": ["-x"]}},
        "default-runtime": "crun", "log-opts": {"max-size": "1m"}, "default-shm-size": "128M",
        "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64, "Soft": 32}}, "insecure-registries": ["10.0.0.0/8"],
        "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}], "exec-opts": ["native.cgroupdriver=systemd"],
        "selinux-enabled": False, "storage-driver": "overlay2"}, tmp_path)
    assert found.debug
    assert found.hosts == ("tcp://127.0.0.1:2375", "fd://")
    engine = found.engine
    assert (engine.labels, engine.live_restore, engine.default_runtime) == (("a=b",), True, "crun")
    assert engine.runtimes["crun"] == Runtime("/bin/crun", ("-x",))
    assert engine.log_options == {"max-size": "1m"}
    assert engine.default_shm_size_bytes == 128 << 20
    assert engine.default_ulimits == {"nofile": (32, 64)}
    assert engine.network.default_address_pools == (("172.30.0.0/16", 24),)
    assert (engine.cgroup_driver, engine.cgroup_parent) == ("systemd", "system.slice")


def test_the_machine_s_cgroup_driver_is_taken_where_none_is_asked_for() -> None:
    def engine(*words: str, machine: str) -> tuple[str, str, str]:
        options, _ = parse([one.flag for one in SETTINGS], list(words))
        found = settings(config.read(options, "/nonexistent/daemon.json"), machine).engine
        return found.cgroup_driver, found.cgroup_parent, found.scope_prefix

    assert engine(machine="systemd") == ("systemd", "system.slice", "wherry")
    assert engine("--drop-in", "--cgroup-parent", "a-b.slice", machine="systemd") == ("systemd", "a-b.slice", "docker")
    assert engine("--exec-opt", "native.cgroupdriver=cgroupfs", machine="systemd")[:2] == ("cgroupfs", "/wherry")
    with pytest.raises(InvalidArgument, match="should be a valid slice"):
        engine("--cgroup-parent", "/mine", machine="systemd")


@pytest.mark.parametrize(("arguments", "file", "message"), [
    ([], {"foo": 1, "bar": 2}, "the following directives don't match any configuration option: bar, foo"),
    (["--debug", "--label", "x=y"], {"debug": True, "labels": ["a=b"]},
     ("the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: "
      "true), labels: (from flag: [x=y], from file: [a=b])")),
    ([], '{"debug":', "unexpected EOF"),
    ([], {"debug": 1}, "json: cannot unmarshal number into Go struct field Config.debug of type bool"),
    ([], {"labels": "a"}, "json: cannot unmarshal string into Go struct field Config.labels of type []string"),
    ([], [], "json: cannot unmarshal array into Go value of type map[string]interface {}"),
])
def test_a_file_that_does_not_fit(arguments: list[str], file: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read(arguments, file, tmp_path)
    assert raised.value.message == f"unable to configure the Docker daemon with file {tmp_path}/daemon.json: {message}"


def test_null_and_an_empty_file_set_nothing(tmp_path: Path) -> None:
    assert read([], dict.fromkeys(BY_KEY), tmp_path) == read([], "", tmp_path) == read([])


def test_when_garbage_is_collected(tmp_path: Path) -> None:
    assert read([]).pace == Pace()
    found = read([], {"containerd-gc": {"pause_threshold": "0.1", "deletion_threshold": "3", "mutation_threshold": "0",
                                        "schedule_delay": "1m", "startup_delay": "250ms"}}, tmp_path).pace
    assert found == Pace(pause_threshold=0.1, deletion_threshold=3, mutation_threshold=0, schedule_delay_s=60, startup_delay_s=0.25)


def test_a_containerd_runs_the_containers_with_runc(tmp_path: Path) -> None:
    assert read([]).engine.containerd.address == ""
    found = read([], {"containerd": "/c.sock", "containerd-namespace": "mine", "runtimes": {"crun": {"path": "crun"}}}, tmp_path).engine
    assert found.containerd == ContainerdOptions("/c.sock", "mine")
    assert found.runtimes == {"runc": Runtime("runc"), "crun": Runtime("crun")}
    assert read(["--containerd", "unix:///c.sock"]).engine.containerd == ContainerdOptions("/c.sock", "moby")
    with pytest.raises(Unsupported, match="runtimeArgs are not supported with --containerd"):
        read(["--containerd", "/c.sock"], {"runtimes": {"crun": {"path": "crun", "runtimeArgs": ["--debug"]}}}, tmp_path)


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(WherryError, match="open /nope: no such file or directory"):
        read(["--config-file", "/nope"])


@pytest.mark.parametrize(("arguments", "message"), [
    (["-l", "loud"], "unable to parse logging level: loud"),
    (["--log-format", "xml"], "invalid log format: xml"),
    (["-s", "vfs"], 'the storage driver "vfs" is not supported'),
    (["--log-driver", "syslog"], 'the log driver "syslog" is not supported'),
    (["--firewall-backend", "iptables"], 'the firewall backend "iptables" is not supported'),
    (["--exec-opt", "native.cgroupdriver=none"], "invalid native.cgroupdriver: none"),
    (["--exec-opt", "a=b"], "invalid exec option: a=b"),
    (["--bip", "10.0.0.1/99"], "invalid CIDR address: 10.0.0.1/99"),
    (["--bip", "10.0.0.1/24", "-b", "br0"], "mutually exclusive options"),
    (["--dns", "x"], "x is not an ip address"),
    (["--label", "x"], "bad attribute format: x"),
    (["--registry-mirror", "mirror"], "invalid mirror"),
    (["--default-runtime", "kata"], "specified default runtime 'kata' does not exist"),
    (["--default-ulimit", "nofile=x"], "invalid ulimit argument: nofile=x"),
    (["--default-address-pool", "base=10.0.0.0/8,size=4"], "invalid pools size: 4"),
    (["-H", "npipe://x"], "unsupported proto 'npipe'"),
    (["--max-concurrent-downloads=0"], "invalid max concurrent downloads: 0"),
    (["--containerd-gc", "schedule_delay_ms=1"], "unknown setting of garbage collection: schedule_delay_ms"),
    (["--containerd-gc", "pause_threshold=0.6"], "invalid setting of garbage collection: pause_threshold=0.6"),
    (["--containerd-gc", "mutation_threshold=many"], "invalid setting of garbage collection: mutation_threshold=many"),
    (["--containerd-gc", "startup_delay=5"], "invalid setting of garbage collection: startup_delay=5"),
    (["--containerd", "containerd.sock"], "invalid address of a containerd: containerd.sock"),
    (["--containerd", "/c.sock", "--no-docker-api", "--containerd-address", "/w.sock"], "--containerd runs the containers of Docker's API"),
    (["--default-ipc-mode", "host"], "IPC mode is not supported: host"),
])
def test_wrong_values_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(WherryError) as raised:
        read(arguments)
    assert message in raised.value.message


def test_validate_and_version_start_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('{"debug": true}')
    assert main(["--validate", f"--config-file={tmp_path}/d.json"]) == 0
    assert capsys.readouterr().out == "configuration OK\n"
    (tmp_path / "d.json").write_text('{"debugg": true}')
    assert main(["--validate", f"--config-file={tmp_path}/d.json"]) == 1
    assert "don't match any configuration option: debugg" in capsys.readouterr().err
    assert main(["-v"]) == 0
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "--data-root string" in text
    assert "on-demand" not in text
    assert main(["--nonsense"]) == 1
    assert capsys.readouterr().err == "wherryd: unknown flag: --nonsense\nSee 'wherryd --help'.\n"
    assert main(["run"]) == 1


def test_reload_takes_what_can_change_and_names_the_rest() -> None:
    present, fresh = read(["--debug=false"]), read(["--debug", "--label", "a=b", "--mtu", "1400", "-H", "fd://"])
    result, changed, waiting = reloaded(present, fresh)
    assert changed == ["debug", "labels"]
    assert waiting == ["hosts", "network"]
    assert result.debug
    assert result.engine.labels == ("a=b",)
    assert result.engine.network.mtu == 1500
    assert result.hosts == present.hosts
