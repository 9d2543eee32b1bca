"""The advisories of runc and of Docker, each attack on all ways into a container: cold, by a shim of wherryd, in a slot made ahead.

Each test sees that the host is as it was, and that the same thing without the attack works. A refusal must be for the attack.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attacked import Attack, Cold, Engine, Slot
from containers_by_api import until
from wherryd_box import PROGRAM, folders, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
RACES = 8
RENAME_EXCHANGE = 2
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with wherryd() as daemon:
        yield Engine(daemon)


@pytest.fixture(params=["cold", "engine", "slot"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Cold | Engine:
    if request.param == "cold":
        return Cold(tmp_path / "cold")
    engine: Engine = request.getfixturevalue("engine")
    return engine if request.param == "engine" else Slot(engine.daemon)


@contextlib.contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Two names change places, as fast as that can be done, for the length of the block; then they are as they were."""
    stop = threading.Event()
    names = os.fsencode(one), os.fsencode(other)
    done = 0

    def exchange() -> None:
        nonlocal done
        while not stop.is_set() or done % 2:
            assert LIBC.renameat2(-100, names[0], -100, names[1], RENAME_EXCHANGE) == 0
            done += 1

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert done > RACES


def test_the_program_of_the_host_is_not_to_be_had_by_proc_self_exe(way: Cold | Engine) -> None:
    """CVE-2019-5736: whatever `#!/proc/self/exe` becomes, it is nothing that could be written."""
    script = "for i in 1 2 3; do /attack; done; echo control"
    code, text = way.run(Attack(args=("sh", "-c", script), files={"attack": "#!/proc/self/exe\n"}))
    assert code == 0
    assert text.endswith("control\n")
    _, text = way.run(Attack(args=("/attack",), files={"attack": "#!/proc/self/exe\n"}))
    assert "control" not in text
    assert "Python" not in text


@pytest.mark.parametrize("target", ["/tmp", "/proc2", "../../../../tmp"])
def test_the_image_does_not_say_where_proc_is(way: Cold | Engine, target: str) -> None:
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc of the image is a link, so what is masked would be somewhere else."""
    look = Attack(args=("sh", "-c", "cat /proc/keys; ls /proc/1/status"), files={"proc2/here": ""})
    assert way.run(look) == (0, "/proc/1/status\n")
    attack = Attack(args=look.args, files=look.files, links={"proc": target})
    if isinstance(way, Engine):  # it covers the link by a folder, as dockerd
        assert way.run(attack) == (0, "/proc/1/status\n")
        return
    code, text = way.run(attack)
    assert code != 0
    assert 'filesystem "proc" must be mounted on ordinary directory' in text


@pytest.mark.parametrize("place", ["/proc", "/proc/self/attr", "/proc/sys", "/led/self/attr"])
def test_nothing_is_mounted_over_proc(way: Cold | Engine, tmp_path: Path, place: str) -> None:
    """CVE-2019-16884, CVE-2025-52881: what is written to /proc (labels, sysctls) would go to files of the attacker."""
    fake = tmp_path / "fake"
    (fake / "self/attr").mkdir(parents=True)
    (fake / "self/attr/exec").touch()
    other = Attack(args=("ls", "/other"), binds=(f"{fake}:/other",))
    assert way.run(other) == (0, "self\n")
    code, text = way.run(Attack(args=("ls", place), binds=(f"{fake}:{place}",), links={"led": "/proc"}))
    assert code != 0
    assert "/proc" in text
    assert "inside /proc" in text or "not of type proc" in text, text
    assert (fake / "self/attr/exec").read_text() == ""


def test_a_sysctl_goes_to_the_kernel_and_nowhere_else(way: Cold | Engine) -> None:
    """CVE-2025-52881: the image has a file where the sysctl would be; and no name of a sysctl leads to another one."""
    name, before = "net.ipv4.ip_forward", CORE_PATTERN.read_text()
    read = ("cat", "/proc/sys/net/ipv4/ip_forward")
    for value in ("0", "1"):
        assert way.run(Attack(args=read, files={"proc/sys/net/ipv4/ip_forward": "planted"}, sysctls={name: value})) == (0, value + "\n")
    for attack in ("net/../kernel/core_pattern", "net.ipv4/../../kernel/core_pattern"):
        code, text = way.run(Attack(args=read, sysctls={attack: "|/attack"}))
        assert code != 0
        assert "not in a separate kernel namespace" in text
    assert CORE_PATTERN.read_text() == before


def test_a_race_for_the_target_of_a_mount_is_lost(way: Cold | Engine, tmp_path: Path) -> None:
    """CVE-2021-30465, CVE-2024-45310: folder and link to the host change places while mounts are made, and their targets, below."""
    outside, volume, source = tmp_path / "outside", tmp_path / "volume", tmp_path / "source"
    for folder in (outside, volume / "a", source):
        folder.mkdir(parents=True)
    (source / "mark").touch()
    (outside / "secret").touch()
    (volume / "b").symlink_to("/" + "../" * 12 + str(outside)[1:])
    attack = Attack(args=("ls", "/v/a/made", "/v/b/made"), binds=(f"{volume}:/v", f"{source}:/v/a/made", f"{source}/mark:/v/a/file"))
    started = 0
    with exchanging(volume / "a", volume / "b"):
        for _ in range(4 * RACES):
            _, text = way.run(attack)
            started += "mark" in text
            assert "secret" not in text
            assert sorted(os.listdir(outside)) == ["secret"]
            if started == RACES // 2:
                break
    assert started
    assert "mark" in way.run(attack)[1]
    assert sorted(os.listdir(outside)) == ["secret"]


def test_no_descriptor_of_the_host_is_a_working_folder(way: Cold | Engine) -> None:
    """CVE-2024-21626: by its number, and by a link of the image."""
    for fd in range(3, 11):
        for place, links in ((f"/proc/self/fd/{fd}", {}), ("/w", {"w": f"/proc/self/fd/{fd}/../../.."})):
            code, text = way.run(Attack(args=("ls", "-a", "."), cwd=place, links=links))
            assert code != 0, text
            assert ".." not in text.split("\n")
    assert way.run(Attack(args=("pwd",), cwd="/w", links={"w": "/tmp"})) == (0, "/tmp\n")


def test_masks_are_made_of_the_real_null_device(way: Cold | Engine, tmp_path: Path) -> None:
    """CVE-2025-31133: /dev of the container is a folder of the attacker, its null a link; also while it is exchanged with the device."""
    before = CORE_PATTERN.read_text()
    look = ("sh", "-c", "stat -c %t:%T /proc/keys; cat /proc/keys; echo end")
    masked = "1:3\nend\n"
    assert way.run(Attack(args=look)) == (0, masked)
    assert way.run(Attack(args=look, links={"dev/null": str(CORE_PATTERN)})) == (0, masked)
    devices = tmp_path / "dev"
    devices.mkdir()
    os.mknod(devices / "null", 0o20666, os.makedev(1, 3))
    (devices / "link").symlink_to(CORE_PATTERN)
    with exchanging(devices / "null", devices / "link"):
        for _ in range(RACES):
            assert way.run(Attack(args=look, binds=(f"{devices}:/dev",))) == (0, masked)
    assert CORE_PATTERN.read_text() == before


def test_the_console_is_mounted_on_no_link(way: Cold | Engine, tmp_path: Path) -> None:
    """CVE-2025-52565: /dev/console leads into /proc, in the image and in a folder of the attacker that is /dev."""
    args = ("sh", "-c", "grep -c core_pattern /proc/self/mountinfo; tty; test -c /dev/console && echo console")
    good = (0, "0\r\n/dev/pts/0\r\nconsole\r\n")
    assert way.run(Attack(args=args, terminal=True)) == good
    assert way.run(Attack(args=args, terminal=True, links={"dev/console": str(CORE_PATTERN)})) == good
    if isinstance(way, Engine):
        return  # as with dockerd, a folder that is /dev leaves no room for terminals
    devices = tmp_path / "dev"
    for name in ("pts", "shm", "mqueue"):
        (devices / name).mkdir(parents=True)
    (devices / "ptmx").symlink_to("pts/ptmx")
    assert way.run(Attack(args=args, terminal=True, binds=(f"{devices}:/dev",))) == good
    (devices / "console").unlink()
    (devices / "console").symlink_to(CORE_PATTERN)
    code, text = way.run(Attack(args=args, terminal=True, binds=(f"{devices}:/dev",)))
    assert code != 0
    assert "symbolic links" in text.lower()


def test_long_lists_are_not_cut_into_others(way: Cold | Engine) -> None:
    """CVE-2021-43784: a length of 16 bits ran over, and what followed was read as something else (there: namespaces of the host)."""
    groups = tuple(range(70_000, 70_000 + 20_000))
    code, text = way.run(Attack(args=("sh", "-c", "grep ^Groups: /proc/self/status | wc -w; readlink /proc/self/ns/mnt"), groups=groups))
    assert code == 0
    count, own = text.split()
    assert int(count) == 1 + len(groups) + isinstance(way, Engine)  # «Groups:», and there the user's own
    assert own != os.readlink("/proc/self/ns/mnt")


def test_no_capability_is_inheritable(way: Cold | Engine) -> None:
    """CVE-2022-29162: also when capabilities are asked for."""
    args = ("sh", "-c", "grep CapInh /proc/self/status; grep CapEff /proc/self/status")
    plain, more = (way.run(Attack(args=args, capabilities=names)) for names in ((), ("CAP_SYS_PTRACE",)))
    assert plain[1].startswith("CapInh:\t" + "0" * 16 + "\n")
    assert more[1].startswith("CapInh:\t" + "0" * 16 + "\n")
    assert int(more[1].split()[3], 16) & ~int(plain[1].split()[3], 16) == 1 << 19


def test_cgroups_are_not_to_be_written(way: Cold | Engine) -> None:
    """CVE-2023-25809, and the release agent of cgroup v1: every hierarchy is read-only in an ordinary container."""
    script = ("cd /sys/fs/cgroup && for i in . *; do mkdir $i/made 2>/dev/null && echo written; done; "
              "find . -name release_agent -exec sh -c 'echo x 2>/dev/null >{} && echo written' \\;; ls -d /sys/fs/cgroup")
    assert way.run(Attack(args=("sh", "-c", script))) == (0, "/sys/fs/cgroup\n")


def test_a_copy_takes_neither_code_nor_ways_of_the_container(engine: Engine, tmp_path: Path) -> None:
    """CVE-2019-14271, CVE-2018-15664: who copies opens no library of the container (here fifos: that would wait), and follows no magic link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    libraries = " ".join(f"{folder}/{name}" for folder in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib")
                         for name in ("libnss_files.so.2", "libnss_compat.so.2", "libc.so.6", "libcrypt.so.1"))
    script = (f"for i in {libraries} /etc/nsswitch.conf /etc/ld.so.cache; do mkdir -p ${{i%/*}}; rm -f $i; mkfifo $i; done; "
              f"ln -s /proc/1/root{outside} /magic; ln -s /etc /plain; echo text >/etc/own; touch /ready; sleep 1000")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("planted"))

    def put(folder: str) -> int:
        return engine.daemon.request("PUT", f"/containers/{container}/archive?path={folder}", data.getvalue(), {"Content-Type": "application/x-tar"})[0]

    def get(path: str) -> tuple[int, object]:
        return engine.daemon.get(f"/containers/{container}/archive?path={path}")

    with engine.api.running("sh", "-c", script, host={"PidMode": "host"}) as container:
        until(lambda: get("/ready")[0] == 200)
        assert put("/plain") == 200
        assert engine.api.exec(container, "ls", "/etc/planted") == (0, "/etc/planted\n")
        status, tar_bytes = get("/plain/own")
        assert status == 200
        assert b"text\n" in tar_bytes  # type: ignore[operator]
        assert put("/magic/") >= 400
        status, tar_bytes = get("/magic/secret")
        assert status >= 400
        assert "of the host" not in str(tar_bytes)
    assert os.listdir(outside) == ["secret"]


def test_there_is_no_authorization_to_go_around() -> None:
    """CVE-2024-41110: a plugin saw no body of a request. There are none here, and who asks for one is not left without knowing."""
    with folders() as daemon:
        done = subprocess.run([*PROGRAM, "--data-root", daemon.data_root, "-H", daemon.socket, "--authorization-plugin", "guard"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "authorization-plugin" in done.stderr


def test_the_socket_is_for_root_and_its_group(engine: Engine) -> None:
    found = os.stat(engine.daemon.path)
    assert found.st_mode & 0o777 == 0o660
    assert found.st_uid == 0


def test_a_device_that_was_not_given_cannot_be_opened(way: Cold | Engine) -> None:
    """With CAP_MKNOD a node of it can be made; the cgroup closes it: a disk, the kernel's memory and messages."""
    script = ("cd /tmp; for i in 'b 8 0' 'b 7 0' 'c 1 1' 'c 1 11' 'c 10 232'; do mknod x $i && dd if=x of=/dev/null count=1 2>&1 | "
              "grep -q 'Operation not permitted' || echo open $i; rm x; done; mknod x c 1 5 && dd if=x of=/dev/null count=1 2>/dev/null && echo zero")
    assert way.run(Attack(args=("sh", "-c", script), capabilities=("CAP_MKNOD",))) == (0, "zero\n")


def test_of_kernel_settings_nothing_is_to_be_written(way: Cold | Engine) -> None:
    """What belongs to the host is read-only or not there; one's own limits of the process can be read."""
    script = ("for i in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/uevent_helper "
              "/sys/power/state; do test -e $i && (echo x >$i) 2>/dev/null && echo written $i; done; "
              "mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; head -n1 /proc/self/limits | cut -c1-5")
    before = CORE_PATTERN.read_text()
    assert way.run(Attack(args=("sh", "-c", script))) == (0, "Limit\n")
    assert CORE_PATTERN.read_text() == before


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", ".", "-x", "a\\b"])
def test_a_name_is_no_path(engine: Engine, name: str) -> None:
    """Of containers and volumes: both are names of folders below the data root, or could be taken for one."""
    before = sorted(os.listdir(engine.daemon.data_root))
    for path, body in (("/volumes/create", {"Name": name}), (f"/containers/create?name={name}", {"Image": "busybox"}),
                       ("/containers/create", {"Image": "busybox", "HostConfig": {"Mounts": [{"Type": "volume", "Source": name, "Target": "/v"}]}})):
        status, answer = engine.daemon.request("POST", path, body)
        assert status == 400, (path, answer)
    assert engine.daemon.request("POST", "/volumes/create", {"Name": "a_name.of-its_own"})[0] == 201
    assert sorted(os.listdir(engine.daemon.data_root)) == before


def test_keys_are_not_listed(way: Cold | Engine) -> None:
    """/proc/keys would list those of the host."""
    assert way.run(Attack(args=("sh", "-c", "wc -c </proc/keys; grep -c ^Name: /proc/self/status"))) == (0, "0\n1\n")
