"""Real containers through the runtime: warm by the library, cold by `wherry-runc`; their ways out, their insides, attacks on them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wherry.errors import Conflict, NotFound
from wherry.linux import mount, process
from wherry.oci.runtime import Config, User
from wherry.runtime import container, foreignproc
from wherry.runtime.commands.spec import example

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root
RUNC = Path(__file__).resolve().parents[2] / "bin/wherry-runc"
ALL_CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID", "CAP_KILL", "CAP_SYS_PTRACE"]


@pytest.fixture
def bundle() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="wherry-runtime-", dir="/var/tmp"))  # pids repeat: worlds have their own
    place.chmod(0o755)
    rootfs = place / "rootfs"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    for name in ("sh", "cat", "echo", "id", "ls", "sleep", "true", "grep", "readlink", "hostname", "mount", "ps", "touch", "tty", "stty", "head"):
        (rootfs / "bin" / name).symlink_to("busybox")
    (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    yield place
    shutil.rmtree(place)


class Box:
    """Runs containers of one bundle and collects what they print."""

    def __init__(self, bundle: Path) -> None:
        self.bundle, self.root = bundle, str(bundle / "state")
        self.number = 0

    def config(self, *args: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Config:
        document = example()
        document["process"].update(terminal=False, args=list(args))
        document["root"]["readonly"] = False
        document["linux"]["cgroupsPath"] = f"/wherry-runtime-test/{os.getpid()}"
        change(document)
        (self.bundle / "config.json").write_text(json.dumps(document))
        return Config.from_json(document)

    def run(self, *args: str, change: Callable[[dict[str, Any]], None] = lambda _: None, mode: str = "warm") -> tuple[int, str]:
        config = self.config(*args, change=change)
        self.number += 1
        reader, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            init = container.create(container.CreateRequest(
                id=f"c{self.number}", bundle=str(self.bundle), root=self.root, config=config, stdio=(null, writer, writer), mode=mode))
        finally:
            os.close(writer)
            os.close(null)
        found = container.load(self.root, f"c{self.number}")
        try:
            init.start() if mode == "warm" else container.start(found)
            with open(reader, "rb", closefd=False) as output:
                text = output.read().decode()
            code = process.reap(init.pidfd)
            assert code is not None
            return code, text
        except container.StartFailed:
            process.reap(init.pidfd)
            raise
        finally:
            os.close(reader)
            init.close()
            container.delete(found, force=True)
            assert os.listdir(self.root) == []


@pytest.fixture
def box(bundle: Path) -> Iterator[Box]:
    yield Box(bundle)
    left = subprocess.run(["find", "/sys/fs/cgroup", "-path", f"*wherry-runtime-test/{os.getpid()}*"], capture_output=True, text=True, check=True)
    assert left.stdout == ""


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_a_program_runs_and_its_status_comes_back(box: Box, mode: str) -> None:
    assert box.run("sh", "-c", "echo hello; exit 7", mode=mode) == (7, "hello\n")
    assert box.run("sh", "-c", "kill -9 $$", mode=mode)[0] in (137, 0)  # pid 1 ignores what it does not handle
    code, text = box.run("sh", "-c", "echo $$ $PATH $HOME; hostname; id -u", mode=mode)
    assert (code, text.split()) == (0, ["1", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "/root", "wherry", "0"])


@pytest.mark.parametrize("mode", ["warm", "cold"])
@pytest.mark.parametrize(("program", "code", "message"), [
    ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
    ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
])
def test_a_program_that_cannot_run_is_told_and_leaves_nothing(box: Box, mode: str, program: str, code: int, message: str) -> None:
    with pytest.raises(container.StartFailed) as caught:
        box.run(program, mode=mode)
    assert (caught.value.exit_code, caught.value.message) == (code, "unable to start container process: " + message)
    assert os.listdir(box.root) in ([], None)


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_what_execve_refuses_is_said_on_standard_error(box: Box, mode: str) -> None:
    garbage = box.bundle / "rootfs/bin/garbage"
    garbage.write_text("no program")
    garbage.chmod(0o755)
    assert box.run("/bin/garbage", mode=mode) == (1, "exec /bin/garbage: exec format error\n")


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_nothing_of_the_host_leaks_in(box: Box, mode: str) -> None:
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        _, descriptors = box.run("ls", "/proc/self/fd", mode=mode)
        _, signals = box.run("grep", "-E", "SigBlk|SigIgn", "/proc/self/status", mode=mode)
        _, executable = box.run("readlink", "/proc/1/exe", mode=mode)
    finally:
        os.close(secret)
    assert descriptors.split() == ["0", "1", "2", "3"]  # the last is the folder that ls reads
    assert signals.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    assert executable == "/bin/busybox\n"


def test_credentials_are_as_asked(box: Box) -> None:
    def change(document: dict[str, Any]) -> None:
        document["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5, 6], "umask": 0o77}
        document["process"]["capabilities"] = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                                               "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
        document["process"]["oomScoreAdj"] = 321
        document["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}]

    _, text = box.run("sh", "-c", "id -u; id -G; echo $HOME; cat /proc/self/oom_score_adj; ulimit -n; umask; "
                                  "grep -E 'Cap(Prm|Bnd|Amb)|NoNew' /proc/self/status", change=change)
    kill = f"{1 << 5:016x}"
    assert text.split() == ["1000", "1000", "5", "6", "/home/user", "321", "99", "0077", "CapPrm:", kill, "CapBnd:", kill, "CapAmb:", kill,
                            "NoNewPrivs:", "1"]


def test_the_tree_is_as_asked(box: Box) -> None:
    (box.bundle / "data").mkdir()
    (box.bundle / "data/f").write_text("x")
    (box.bundle / "rootfs/full").mkdir()
    (box.bundle / "rootfs/full/kept").write_text("copied")

    def change(document: dict[str, Any]) -> None:
        document["root"]["readonly"] = True
        document["mounts"] += [
            {"destination": "/in/here", "type": "bind", "source": "data", "options": ["rbind", "ro"]},
            {"destination": "/in/file", "type": "bind", "source": str(box.bundle / "data/f"), "options": ["bind"]},
            {"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}]

    _, text = box.run("sh", "-c", "touch /x; touch /in/here/x; echo y >/in/file; cat /in/here/f /full/kept; touch /full/x; "
                                  "cat /proc/kcore | head -c1; ls -A /sys/firmware; ls /dev", change=change)
    assert text.count("Read-only file system") == 2
    assert "y\ncopied" in text
    for name in ("null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "ptmx", "shm", "mqueue"):
        assert name in text


def test_links_of_an_image_lead_no_mount_out_of_it(box: Box) -> None:
    outside = box.bundle / "outside"
    outside.mkdir()
    (box.bundle / "rootfs/link").symlink_to(f"/../../../..{outside}")

    def change(document: dict[str, Any]) -> None:
        document["mounts"].append({"destination": "/link/new", "type": "tmpfs", "source": "tmpfs"})

    assert box.run("true", change=change)[0] == 0
    assert os.listdir(outside) == []
    assert (box.bundle / f"rootfs{outside}/new").is_dir()


def test_an_image_does_not_lead_proc_elsewhere(box: Box) -> None:
    (box.bundle / "rootfs/proc").rmdir()
    (box.bundle / "rootfs/proc").symlink_to("/tmp")
    with pytest.raises(container.StartFailed, match='filesystem "proc" must be mounted on ordinary directory'):
        box.run("true")


def test_a_link_into_proc_is_no_way_to_mount_there(box: Box) -> None:
    (box.bundle / "rootfs/attr").symlink_to("/proc/self/attr")
    with pytest.raises(container.StartFailed, match="because it is inside /proc"):
        box.run("true", change=lambda document: document["mounts"].append(
            {"destination": "/attr", "type": "bind", "source": "/tmp", "options": ["bind"]}))


def test_the_working_folder_must_be_inside(box: Box) -> None:
    """CVE-2024-21626: a descriptor of a host folder as the working folder."""
    for fd in range(3, 12):
        with pytest.raises(container.StartFailed):
            box.run("true", change=lambda document, fd=fd: document["process"].update(cwd=f"/proc/self/fd/{fd}"))  # type: ignore[misc]


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_the_hosts_interpreter_cannot_be_run_or_written(box: Box, mode: str) -> None:
    """CVE-2019-5736: `#!/proc/self/exe` as the program. Cold, the last hop meets itself and ends."""
    attack = box.bundle / "rootfs/bin/attack"
    attack.write_text("#!/proc/self/exe\n")
    attack.chmod(0o755)
    before = os.stat(sys.executable)
    code, text = box.run("/bin/attack", mode=mode)
    assert os.stat(sys.executable).st_mtime_ns == before.st_mtime_ns
    if mode == "cold":
        assert (code, text) == (1, "")


def test_the_waiting_init_is_no_interpreter(box: Box) -> None:
    config = box.config("true")
    init = container.create(container.CreateRequest(id="w", bundle=str(box.bundle), root=box.root, config=config, mode="cold"))
    found = container.load(box.root, "w")
    try:
        assert os.readlink(f"/proc/{init.pid}/exe").startswith("/memfd:")
        assert container.state(found)["status"] == "created"
        container.kill(found, 9)
        process.reap(init.pidfd)
        assert container.state(found)["status"] == "stopped"
        with pytest.raises(Conflict, match="cannot start a container that has stopped"):
            container.start(found)
        with pytest.raises(Conflict, match="container not running"):
            container.kill(found, 9)
    finally:
        init.close()
        container.delete(found, force=True)


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_further_processes(box: Box, mode: str) -> None:
    config = box.config("sleep", "1000")
    assert config.process is not None
    init = container.create(container.CreateRequest(id="e", bundle=str(box.bundle), root=box.root, config=config))
    found = container.load(box.root, "e")

    def execute(*args: str, terminal: bool = False, user: User = User()) -> tuple[int | None, str]:  # noqa: B008
        assert config.process is not None
        reader, writer = os.pipe()
        request = container.ExecRequest(
            process=config.process.replace(args=args, user=user, console_size=(30, 90)), stdio=(writer, writer, writer),
            console=terminal, mode=mode)
        try:
            running = container.execute(found, request)
        finally:
            os.close(writer)
        parts = []
        source = running.console if running.console is not None else reader
        try:
            while part := os.read(source, 4096):
                parts.append(part)
        except OSError:
            pass  # EIO: nobody has the terminal any more
        code = process.reap(running.pidfd)
        for fd in {running.pidfd, source, reader}:
            os.close(fd)
        return code, b"".join(parts).decode()

    try:
        with pytest.raises(NotFound):
            container.load(box.root, "other")
        with pytest.raises(Conflict, match="container with given ID already exists"):
            container.create(container.CreateRequest(id="e", bundle=str(box.bundle), root=box.root, config=config))
        init.start()
        assert execute("sh", "-c", "cat /proc/1/cmdline; echo; cat /proc/self/cgroup >&2; exit 4")[0] == 4
        code, text = execute("sh", "-c", "tty; stty size; id -u; ps", terminal=True, user=User(uid=1000, gid=1000))
        assert (code, text.split()[:4]) == (0, ["/dev/pts/0", "30", "90", "1000"])
        assert "python" not in text
        with pytest.raises(container.StartFailed, match="executable file not found") as caught:
            execute("nosuch")
        assert caught.value.exit_code == 127
        container.pause(found)
        assert container.state(found)["status"] == "paused"
        with pytest.raises(Conflict, match="cannot exec in a paused container"):
            execute("true")
        container.resume(found)
        with pytest.raises(Conflict, match="container not paused"):
            container.resume(found)
        with pytest.raises(Conflict, match="cannot delete container e that is not stopped: running"):
            container.delete(found)
        container.update(found, {"pids": {"limit": 40}})
        assert container.processes(found) == (init.pid,)
        container.kill(found, 9, everyone=True)
        assert process.reap(init.pidfd) == 137
        with pytest.raises(Conflict, match="cannot exec in a stopped container"):
            execute("true")
    finally:
        init.close()
        container.delete(found, force=True)
    assert os.listdir(box.root) == []


def test_a_user_namespace_by_maps(box: Box) -> None:
    for folder, _, names in os.walk(box.bundle / "rootfs"):
        for name in (".", *names):
            os.chown(Path(folder, name), 100_000, 100_000, follow_symlinks=False)
    for place in (box.bundle, box.bundle / "rootfs"):
        place.chmod(0o755)

    def change(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"].append({"type": "user"})
        for name in ("uidMappings", "gidMappings"):
            document["linux"][name] = [{"containerID": 0, "hostID": 100_000, "size": 1000}]

    _, text = box.run("sh", "-c", "id -u; cat /proc/self/uid_map; echo x >/dev/null && echo written", change=change)
    assert text.split() == ["0", "0", "100000", "1000", "written"]


def test_namespaces_are_joined_by_path(box: Box) -> None:
    other = subprocess.Popen(["unshare", "-n", "-u", "-i", "-p", "-f", "sh", "-c", "hostname joined; echo; exec sleep 1000"],
                             stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    child = Path(f"/proc/{other.pid}/task/{other.pid}/children").read_text().split()[0]

    def change(document: dict[str, Any]) -> None:
        document.pop("hostname")
        document["linux"]["namespaces"] = [{"type": "mount"}] + [
            {"type": kind, "path": f"/proc/{child}/ns/{name}"}
            for kind, name in (("network", "net"), ("uts", "uts"), ("ipc", "ipc"), ("pid", "pid"))]

    try:
        _, text = box.run("sh", "-c", "hostname; readlink /proc/self/ns/net; ps", change=change)
        assert text.split()[:2] == ["joined", os.readlink(f"/proc/{child}/ns/net")]
        assert "sleep 1000" in text
        assert "python" not in text
    finally:
        os.kill(int(child), 9)
        other.wait()
        other.stdout.close()


def joining(pid: int, **more: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a config: into the pid namespace of a process."""
    def change(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "pid"]
        document["linux"]["namespaces"].append({"type": "pid", "path": f"/proc/{pid}/ns/pid"})
        document["process"].update(more)
    return change


@pytest.fixture
def other() -> Iterator[int]:
    """The first process of another pid namespace."""
    holder = subprocess.Popen(["unshare", "-p", "-f", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    first = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
    yield first
    os.kill(first, 9)
    holder.wait()
    holder.stdout.close()


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_a_pid_namespace_of_others_is_joined(box: Box, mode: str, other: int) -> None:
    code, text = box.run("sh", "-c", "cat /proc/1/comm; ps; readlink /proc/self/ns/pid; exit 3", change=joining(other), mode=mode)
    assert code == 3
    lines = text.splitlines()
    assert lines[0] == "sleep"
    assert lines[-1] == os.readlink(f"/proc/{other}/ns/pid")
    assert "python" not in text
    with pytest.raises(container.StartFailed) as refused:
        box.run("/bin/nothing", change=joining(other), mode=mode)
    assert refused.value.exit_code == 127


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_in_a_pid_namespace_of_others_the_rest_ends_with_the_container(box: Box, mode: str, other: int) -> None:
    """There it is not the end of the init that ends the others."""
    assert box.run("sh", "-c", "sleep 1234 >/dev/null 2>&1 &", change=joining(other), mode=mode)[0] == 0
    children = Path(f"/proc/{other}/task/{other}/children").read_text().split()
    assert [one for one in children if Path(f"/proc/{one}/stat").read_text().rsplit(")")[1].split()[0] != "Z"] == []


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_hooks_of_a_container_that_joins_a_pid_namespace(box: Box, mode: str, other: int) -> None:
    def change(document: dict[str, Any]) -> None:
        joining(other)(document)
        log = box.bundle / "log"
        log.write_text("")
        for name in ("createRuntime", "createContainer", "poststart"):
            document.setdefault("hooks", {})[name] = [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {name} >>{log}"]}]
        document["hooks"]["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer >/tmp/ran"]}]

    _, text = box.run("cat", "/tmp/ran", change=change, mode=mode)
    assert text.split() == ["startContainer"]
    assert (box.bundle / "log").read_text().split() == ["createRuntime", "createContainer", "poststart"]


def test_procfs_of_another_pid_namespace(other: int) -> None:
    """By the mount option, and as kernels without it need it: by a helper."""
    pids = os.open(f"/proc/{other}/ns/pid", os.O_RDONLY)
    root = os.open("/", os.O_PATH)
    for tree in (foreignproc.mount_proc(pids, root), mount.configured(foreignproc.open_inside(pids, root))):
        place = f"/proc/self/fd/{tree}"
        assert Path(f"{place}/1/comm").read_text() == "sleep\n"
        assert Path(f"{place}/sys/kernel/ostype").read_text() == "Linux\n"
        os.close(tree)
    os.close(pids)
    os.close(root)


def test_hooks_run_in_their_order_with_the_state_on_standard_input(box: Box) -> None:
    log = box.bundle / "log"

    def change(document: dict[str, Any]) -> None:
        document["hooks"] = {
            name: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {name} >>{log}; cat >{log}.{name}"]}]
            for name in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}

    assert box.run("true", change=change)[0] == 0
    assert log.read_text().split() == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    assert json.loads(Path(f"{log}.createRuntime").read_text())["status"] == "created"
    assert json.loads(Path(f"{log}.poststop").read_text())["status"] == "stopped"


def test_a_failing_hook_ends_the_creation(box: Box) -> None:
    with pytest.raises(Exception, match=r"error running createRuntime hook #0: .*exit status 3"):
        box.run("true", change=lambda document: document.update(hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]}))
    assert os.listdir(box.root) == []


def test_what_a_killed_creator_left_is_taken_over(box: Box) -> None:
    ruin = Path(box.root) / "c1"
    ruin.mkdir(parents=True)
    (ruin / "exec.fifo").write_text("")
    assert box.run("true")[0] == 0


def test_devices_of_the_host_keep_their_owners(box: Box) -> None:
    before = os.stat("/dev/null")
    null = os.open("/dev/null", os.O_RDWR)
    config = box.config("true", change=lambda document: document["process"].update(user={"uid": 1000, "gid": 1000}))
    init = container.create(container.CreateRequest(
        id="d", bundle=str(box.bundle), root=box.root, config=config, stdio=(null, null, null)))
    init.start()
    process.reap(init.pidfd)
    init.close()
    os.close(null)
    container.delete(container.load(box.root, "d"))
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, stat.S_IMODE(before.st_mode))


def test_seccomp_holds_for_the_program_and_for_further_ones(box: Box) -> None:
    def change(document: dict[str, Any]) -> None:
        document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}

    for mode in ("warm", "cold"):
        for nnp in (False, True):
            def both(document: dict[str, Any], nnp: bool = nnp) -> None:
                change(document)
                document["process"]["noNewPrivileges"] = nnp

            _, text = box.run("sh", "-c", "busybox mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status", change=both, mode=mode)
            assert "Function not implemented" in text
            assert "Seccomp:\t2" in text


def test_the_cold_command_line_in_a_terminal(box: Box) -> None:
    """`wherry-runc run` in a terminal of its own: its size, its bytes, the status, nothing left."""
    box.config("sh", "-c", "tty; stty size; read line; echo got $line; exit 6", change=lambda document: document["process"].update(terminal=True))
    import pty
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(box.bundle)
        os.execv(RUNC, [str(RUNC), "--root", box.root, "run", "t"])
    guard = threading.Timer(20, os.kill, (pid, 9))
    guard.start()
    os.write(master, b"word\n")
    text = b""
    try:
        while part := os.read(master, 4096):
            text += part
    except OSError:
        pass
    guard.cancel()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    os.close(master)
    assert b"/dev/pts/0" in text
    assert b"got word" in text
    assert os.listdir(box.root) == []


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_a_prepared_null_device_masks_nothing_of_the_host(box: Box, mode: str) -> None:
    """CVE-2025-31133: /dev/null of the image is a link; masked paths must not be made of what it leads to."""
    (box.bundle / "rootfs/dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    (box.bundle / "rootfs/secret").write_text("hidden")

    def change(document: dict[str, Any]) -> None:
        document["mounts"] = [one for one in document["mounts"] if not one["destination"].startswith("/dev")]
        document["linux"]["maskedPaths"] = ["/secret"]
        document["linux"]["devices"] = []

    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert box.run("sh", "-c", "cat /secret; echo end", change=change, mode=mode) == (0, "end\n")
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_a_sysctl_goes_to_the_kernel_whatever_proc_the_image_has(box: Box, mode: str) -> None:
    """CVE-2025-52881: the image's /proc is no procfs until it is mounted; the write must not land in a file of the image."""
    planted = box.bundle / "rootfs/proc/sys/net/ipv4/ip_forward"
    planted.parent.mkdir(parents=True)
    planted.write_text("planted")
    _, text = box.run("cat", "/proc/sys/net/ipv4/ip_forward", mode=mode,
                      change=lambda document: document["linux"].update(sysctl={"net.ipv4.ip_forward": "1"}))
    assert text == "1\n"
    assert planted.read_text() == "planted"


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_a_prepared_console_is_mounted_nowhere_else(box: Box, mode: str) -> None:
    """CVE-2025-52565: /dev/console of the image is a link into /proc; the terminal must not be put over what it leads to."""
    (box.bundle / "rootfs/dev/console").symlink_to("/proc/sys/kernel/core_pattern")
    (box.bundle / "rootfs/dev/pts").mkdir()

    def change(document: dict[str, Any]) -> None:
        document["mounts"] = [one for one in document["mounts"] if one["destination"] not in ("/dev", "/dev/shm", "/dev/mqueue")]
        document["process"]["terminal"] = True

    config = box.config("grep", "core_pattern", "/proc/self/mountinfo", change=change)
    request = container.CreateRequest(id="t", bundle=str(box.bundle), root=box.root, config=config, console=True, mode=mode)
    with pytest.raises(container.StartFailed, match="symbolic links"):
        container.create(request)
    assert os.listdir(box.root) == []


def test_the_plan_is_explained_and_nothing_is_changed(box: Box) -> None:
    config = box.config("sleep", "1", change=lambda document: document["linux"].update(
        seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]},
        sysctl={"net.ipv4.ip_forward": "1"}, resources={"pids": {"limit": 7}}))
    assert config.process is not None
    done = subprocess.run([RUNC, "--root", box.root, "create", "--explain", "-b", box.bundle, "explained"],
                          capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"create", "init"}
    order = [next(number for number, line in enumerate(lines) if text in line) for text in (
        "claims the state folder", "makes the cgroup", "pids.max = 7", "forks the init into new namespaces: pid, network, mount",
        "sets net.ipv4.ip_forward = 1", "mounts the root", "mounts proc at /proc", "makes device /dev/null 1:3", "makes /proc/sys read-only",
        "masks /proc/kcore", "enters the root", "becomes uid 0, gid 0", "keeps bounding: CAP_KILL", "filters system calls", "waits for start",
        "executes sleep 1")]
    assert order == sorted(order)
    assert not os.path.exists(box.root)
    assert not any(f"wherry-runtime-test/{os.getpid()}" in folder for folder, _, _ in os.walk("/sys/fs/cgroup"))


@pytest.mark.parametrize("form", ["text", "json"])
def test_each_step_is_traced_to_the_log_also_from_inside(box: Box, form: str) -> None:
    box.config("true")
    log = box.bundle / f"log-{form}"
    done = subprocess.run([RUNC, "--debug", "--log", log, "--log-format", form, "--root", box.root, "run", "-b", box.bundle, "traced"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
    text = log.read_text()
    steps = ("traced: all is planned", "the init is ", "[1] init child process in init() builds the tree",
             "[1] mount proc at /proc", "[1] init the tree stands",
             "[1] pivot_root", "[1] init will execute /bin/true", "create traced is made", "cgroup rmdir")
    places = [text.find(step) for step in steps]
    assert -1 not in places, steps[places.index(-1)]
    assert places[2:] == sorted(places[2:])
    if form == "json":
        assert {json.loads(line)["level"] for line in text.splitlines()} == {"debug"}
    assert list((box.bundle / "rootfs").rglob("log*")) == []
