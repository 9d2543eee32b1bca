"""wherry-runc as an ordinary user, and in user namespaces of root's, beside Debian's runc and crun."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import SAME, bundle_of_busybox, needs  # noqa: F401 (a fixture)

from wherry.runtime.commands.spec import example, rootless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer]
UID, FIRST, COUNT = 1234, 100000, 65536  # the user, and the ids that are granted to it
SOURCE = Path(__file__).resolve().parents[2]
HIERARCHIES = [folder for folder in Path("/sys/fs/cgroup").glob("*") if (folder / "cgroup.procs").exists()]


class Person:
    """An ordinary user with a bundle: calls runtimes, each with a state folder of its own."""

    def __init__(self, place: Path, bundle: Path) -> None:
        self.place, self.bundle, self.uid = place, bundle, UID
        self.programs = {"wherry": str(place / "bin/wherry-runc"), "runc": "runc", "crun": "crun"}

    def configure(self, *args: str, change: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """config.json as `spec --rootless` writes it, with what `change` does to it."""
        document = rootless(example())
        document["linux"]["uidMappings"][0]["hostID"] = document["linux"]["gidMappings"][0]["hostID"] = self.uid
        document["process"].update(terminal=False, args=list(args))
        document["root"]["readonly"] = False
        if change is not None:
            change(document)
        (self.bundle / "config.json").write_text(json.dumps(document))
        return document

    def state(self, runtime: str) -> str:
        return f"{self.place}/state-{runtime}-{self.uid}"

    def call(self, runtime: str, *words: str, before: tuple[str, ...] = (), root: bool = True) -> tuple[int, str]:
        """Exit status and output of one call."""
        state = ("--root", self.state(runtime)) if root else ()
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [*before, self.programs[runtime], *state, *words], cwd=self.bundle, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                timeout=60, check=False, user=self.uid, group=self.uid, extra_groups=[],
                env={"PATH": os.environ["PATH"], "HOME": str(self.place), "XDG_RUNTIME_DIR": str(self.place / "run")})
            output.seek(0)
            text = output.read()
        for pattern, plain in SAME:
            text = re.sub(pattern, plain, text)
        return done.returncode, text.replace("wherry-runc", "runc").replace("\0", "")

    def same(self, peer: str, *words: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
        """What a call of ours gives, which is what the same call of `peer` gives."""
        needs(peer)
        ours, theirs = (self.call(runtime, *words, before=before) for runtime in ("wherry", peer))
        assert (words, *ours) == (words, *theirs)
        return ours


@pytest.fixture(scope="module")
def place(bundle: Path) -> Iterator[Path]:
    """A folder that the user owns, with a copy of the runtime: the checkout need not be open to others."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-rootless-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "bin").mkdir()
    shutil.copy(SOURCE / "bin/wherry-runc", folder / "bin")
    shutil.copytree(SOURCE / "src/wherry", folder / "src/wherry", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(bundle, folder / "bundle", symlinks=True)
    for name in ("stat", "touch", "readlink", "hostname"):
        (folder / "bundle/rootfs/bin" / name).symlink_to("busybox")
    (folder / "bundle/rootfs/etc/group").write_text("root:x:0:\n")
    (folder / "run").mkdir()
    subprocess.run(["chown", "-R", f"{UID}:{UID}", folder], check=True)
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + f"ordinary:x:{UID}:{UID}::/:/bin/sh\n")
    (folder / "subid").write_text(f"ordinary:{FIRST}:{COUNT}\n")
    for source, target in (("passwd", "/etc/passwd"), ("subid", "/etc/subuid"), ("subid", "/etc/subgid")):
        subprocess.run(["mount", "--bind", folder / source, target], check=True)
    yield folder
    for target in ("/etc/passwd", "/etc/subuid", "/etc/subgid"):
        subprocess.run(["umount", target], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def person(place: Path) -> Iterator[Person]:
    someone = Person(place, place / "bundle")
    yield someone
    for runtime in someone.programs:
        if shutil.which(someone.programs[runtime]):
            someone.call(runtime, "delete", "--force", "x")


def granted(document: dict[str, Any]) -> None:
    """The user as root, and all ids that are granted to it."""
    document["linux"]["uidMappings"] = document["linux"]["gidMappings"] = [
        {"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": FIRST, "size": COUNT}]


def without(*kinds: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] not in kinds]
        if "user" in kinds or "mappings" in kinds:
            del document["linux"]["uidMappings"], document["linux"]["gidMappings"]
    return change


LOOK = "id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep Cap /proc/self/status; hostname; cat /dev/null; ls -l /sys/fs"


def test_run(person: Person) -> None:
    person.configure("sh", "-c", LOOK)
    code, text = person.same("runc", "run", "x")
    assert code == 0
    assert "deny" in text


def test_ids_that_are_granted(person: Person) -> None:
    needs("newuidmap")
    person.configure("sh", "-c", LOOK, change=granted)
    assert "allow" in person.same("runc", "run", "x")[1]

    def somebody(document: dict[str, Any]) -> None:
        granted(document)
        document["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    person.configure("id", change=somebody)
    assert person.same("crun", "run", "x") == (0, "uid=1000(user) gid=1000 groups=5\n")  # runc knows no further groups here


def test_ids_that_are_not(person: Person) -> None:
    needs("newuidmap")

    def foreign(document: dict[str, Any]) -> None:
        granted(document)
        document["linux"]["uidMappings"][1]["hostID"] += 1
    person.configure("true", change=foreign)
    code, text = person.call("wherry", "run", "x")
    assert code == 1
    assert "failed to use newuidmap: exit status 1: newuidmap: uid range" in text
    assert person.call("wherry", "list", "-q") == (0, "")

    def group(document: dict[str, Any]) -> None:
        document["process"]["user"]["additionalGids"] = [5]
    person.configure("true", change=group)
    for runtime in ("wherry", "runc"):
        code, text = person.call(runtime, "run", "x")
        assert (runtime, code) == (runtime, 1)
        assert "cannot set any additional groups in a rootless container" in text

    def user(document: dict[str, Any]) -> None:
        document["process"]["user"]["uid"] = 5
    person.configure("true", change=user)
    for runtime in ("wherry", "runc"):
        assert "unable to setup user: cannot set uid to unmapped user in user namespace" in person.call(runtime, "run", "x")[1]


@pytest.mark.parametrize("kinds", [("user",), ("mappings",)], ids=str)
def test_what_goes_without_saying(person: Person, kinds: tuple[str, ...]) -> None:
    """A user namespace, the caller as root in it, the others as granted: crun's answer to what runc refuses."""
    needs("newuidmap")
    person.configure("sh", "-c", "id; cat /proc/self/uid_map /proc/self/gid_map", change=without(*kinds))
    code, text = person.same("crun", "run", "x")
    assert code == 0
    assert text.split()[2:5] == ["0", str(UID), "1"]


def test_a_terminal(person: Person) -> None:
    def terminal(document: dict[str, Any]) -> None:
        document["process"]["terminal"] = True
    person.configure("sh", "-c", "tty; [ -t 0 ] && [ -t 1 ] && echo both", change=terminal)
    code, text = person.call("wherry", "run", "x")
    assert (code, "open /dev/tty: no such device or address" in text) == (1, True)
    done = subprocess.run(
        ["script", "-qec", f"{person.programs['wherry']} --root {person.state('wherry')} run x", "/dev/null"], cwd=person.bundle, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=True, user=UID, group=UID, extra_groups=[])
    assert done.stdout.replace("\0", "").replace("^@", "").split() == ["/dev/pts/0", "both"]


def test_a_life_without_a_cgroup(person: Person) -> None:
    person.configure("sleep", "1000")
    assert person.same("runc", "run", "-d", "x") == (0, "")
    assert person.same("runc", "exec", "x", "sh", "-c", LOOK)[0] == 0
    assert person.same("runc", "exec", "-u", "0:0", "x", "id")[0] == 0
    for words, said in ((("pause",), "cgroups not configured for container"), (("resume",), "container not paused"),
                        (("update", "--memory", "100000000"), "cannot set memory limit: container could not join or create cgroup"),
                        (("ps",), "unable to get all container pids")):
        for runtime in ("wherry", "runc"):
            code, text = person.call(runtime, *words, "x")
            assert (runtime, words, code, said in text) == (runtime, words, 1, True), text
    assert json.loads(person.call("wherry", "events", "--stats", "x")[1])["data"]["pids"] == {}
    assert person.call("wherry", "kill", "--all", "x", "KILL") == (0, "")
    assert person.call("wherry", "delete", "--force", "x") == (0, "")
    assert person.call("wherry", "list", "-q") == (0, "")


def test_create_start_delete(person: Person) -> None:
    person.configure("sh", "-c", "echo hello; sleep 1000")
    for words in (("create", "x"), ("start", "x"), ("delete", "x"), ("delete", "--force", "x"), ("state", "x")):
        person.same("runc", *words)


def test_limits_need_a_cgroup(person: Person) -> None:
    """Without one they are refused, and a cgroup that is named is not done without."""
    for name in ("pids", "memory"):
        def limit(document: dict[str, Any], name: str = name) -> None:
            document["linux"]["resources"] = {name: {"limit": 100000000}}
        person.configure("true", change=limit)
        for runtime in ("wherry", "runc"):
            assert f"cannot set {name} limit: container could not join or create cgroup" in person.call(runtime, "run", "x")[1]

    def named(document: dict[str, Any]) -> None:
        document["linux"]["cgroupsPath"] = "/not-mine"
    person.configure("true", change=named)
    for runtime in ("wherry", "runc"):
        code, text = person.call(runtime, "run", "x")
        assert (runtime, code) == (runtime, 1)
        assert "unable to apply cgroup configuration: mkdir /sys/fs/cgroup/" in text
        assert "not-mine: permission denied" in text


@pytest.mark.parametrize(("word", "code"), [("true", 0), ("auto", 0), ("false", 1), ("T", 0), ("x", 1)])
def test_whether_it_is_rootless_may_be_said(person: Person, word: str, code: int) -> None:
    needs("runc")
    person.configure("true")
    for runtime in ("wherry", "runc"):
        found, text = person.call(runtime, "--rootless", word, "run", "x")
        assert (runtime, found) == (runtime, code), text
        assert ('strconv.ParseBool: parsing \\"x\\": invalid syntax' in text) == (word == "x")


def test_a_cgroup_that_was_given_to_the_user(person: Person) -> None:
    for hierarchy in HIERARCHIES:
        folder = hierarchy / "given"
        folder.mkdir()
        for knob in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / knob).exists():
                (folder / knob).write_text((hierarchy / knob).read_text())
        subprocess.run(["chown", "-R", f"{UID}:{UID}", folder], check=True)
    pids = Path("/sys/fs/cgroup/pids/given/mine")
    if not pids.parent.is_dir():
        pytest.skip("no v1 hierarchy for pids")

    def given(document: dict[str, Any]) -> None:
        document["linux"].update(cgroupsPath="/given/mine", resources={"pids": {"limit": 17}, "memory": {"limit": 50000000}})
    for runtime in ("wherry", "runc"):
        needs(runtime if runtime == "runc" else "true")
        person.configure("sleep", "1000", change=given)
        assert person.call(runtime, "run", "-d", "x") == (0, "")
        assert (pids / "pids.max").read_text() == "17\n"
        assert person.call(runtime, "exec", "x", "sh", "-c", "grep :pids: /proc/self/cgroup")[1].endswith("/given/mine\n")
        assert person.call(runtime, "pause", "x")[0] == 0
        assert '"status": "paused"' in person.call(runtime, "state", "x")[1]
        assert person.call(runtime, "resume", "x")[0] == 0
        assert person.call(runtime, "update", "--pids-limit", "33", "x") == (0, "")
        assert (pids / "pids.max").read_text() == "33\n"
        assert person.call(runtime, "delete", "--force", "x") == (0, "")
        assert not pids.exists()
    for hierarchy in HIERARCHIES:
        (hierarchy / "given").rmdir()


def test_the_state_is_in_the_user_s_own_folder(person: Person) -> None:
    person.configure("sleep", "1000")
    assert person.call("wherry", "run", "-d", "x", root=False) == (0, "")
    assert os.listdir(person.place / "run") == ["wherry-runc"]
    assert person.call("wherry", "list", "-q", root=False) == (0, "x\n")
    assert person.call("wherry", "delete", "--force", "x", root=False) == (0, "")


def test_what_spec_writes_runs(person: Person) -> None:
    (person.bundle / "config.json").unlink(missing_ok=True)
    person.bundle.chmod(0o777)
    assert person.call("wherry", "spec", "--rootless") == (0, "")
    document = json.loads((person.bundle / "config.json").read_text())
    document["process"].update(terminal=False, args=["id"])
    (person.bundle / "config.json").unlink()
    (person.bundle / "config.json").write_text(json.dumps(document))
    assert person.same("runc", "run", "x") == (0, "uid=0(root) gid=0(root)\n")


def test_namespaces_of_others_are_closed(person: Person) -> None:
    def joins(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"].append({"type": "network", "path": "/proc/1/ns/net"})
    person.configure("true", change=joins)
    code, text = person.call("wherry", "run", "x")
    assert (code, "/proc/1/ns/net: permission denied" in text) == (1, True)


@pytest.mark.parametrize("own", [True, False], ids=["with a user namespace of its own", "in the same"])
def test_who_is_root_in_a_user_namespace_only(person: Person, own: bool) -> None:
    """`unshare --user --map-root-user`: as what rootless engines run a runtime."""
    def change(document: dict[str, Any]) -> None:
        document["linux"]["uidMappings"][0]["hostID"] = document["linux"]["gidMappings"][0]["hostID"] = 0
        if not own:
            without("user")(document)
    person.configure("id", change=change)
    assert person.same("runc", "run", "x", before=("unshare", "-Urm", "--")) == (0, "uid=0(root) gid=0(root)\n")


# -- user namespaces made by root ------------------------------------------------------------------------------------------


@pytest.fixture
def root(person: Person) -> Person:
    """The same with root's rights; what it makes belongs to the ids of `mapped`."""
    person.uid = 0
    return person


def mapped(document: dict[str, Any], inside: int = 0, size: int = 60000) -> None:
    document["linux"]["uidMappings"] = document["linux"]["gidMappings"] = [{"containerID": inside, "hostID": UID, "size": size}]
    document["linux"]["namespaces"].append({"type": "network"})
    for entry in document["mounts"]:
        if entry["destination"] == "/sys":
            entry.update(type="sysfs", source="sysfs", options=["nosuid", "noexec", "nodev", "ro"])


def test_what_is_made_belongs_to_the_namespace_s_root(root: Person) -> None:
    root.configure("sh", "-c", "id; stat -c %u:%g /dev /dev/shm /dev/pts /dev/mqueue /proc/1 /proc/sys/net/core; touch /tmp/a; stat -c %u /tmp/a",
                   change=mapped)
    assert root.same("crun", "run", "x") == (0, "uid=0(root) gid=0(root)\n" + 6 * "0:0\n" + "0\n")  # runc's mqueue is somebody else's


def test_a_namespace_without_root(root: Person) -> None:
    def nobody(document: dict[str, Any]) -> None:
        mapped(document, inside=1000, size=1)
        document["process"]["user"] = {"uid": 1000, "gid": 1000}
    root.configure("sh", "-c", "id -u; id -g; cat /proc/self/uid_map; grep Cap /proc/self/status", change=nobody)
    assert root.same("crun", "run", "x")[0] == 0
    root.configure("sleep", "1000", change=nobody)
    assert root.call("wherry", "run", "-d", "x") == (0, "")
    assert root.call("wherry", "exec", "x", "id", "-u") == (0, "1000\n")


def test_a_source_that_only_the_creator_may_read(root: Person) -> None:
    closed = root.place / "closed"
    (closed / "inner").mkdir(parents=True, exist_ok=True)
    (closed / "inner/file").write_text("read\n")
    closed.chmod(0o700)

    def change(document: dict[str, Any]) -> None:
        mapped(document)
        document["mounts"].append({"destination": "/tmp/m", "source": str(closed / "inner"), "type": "bind", "options": ["bind", "ro"]})
    root.configure("cat", "/tmp/m/file", change=change)
    assert root.same("runc", "run", "x") == (0, "read\n")


def test_the_host_s_network(root: Person) -> None:
    """Its user namespace owns no network: /sys is the host's, as with crun."""
    def change(document: dict[str, Any]) -> None:
        mapped(document)
        without("network")(document)
    root.configure("sh", "-c", "ls /sys/class/net; touch /sys/x 2>&1", change=change)
    code, text = root.same("crun", "run", "x")
    assert (code, text.split("\n")[0]) == (1, "lo")


def test_mappings_without_a_namespace_say_nothing(root: Person) -> None:
    def change(document: dict[str, Any]) -> None:
        mapped(document)
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "user"]
    root.configure("cat", "/proc/self/uid_map", change=change)
    assert root.same("runc", "run", "x") == (0, f"{0:10} {0:10} 4294967295\n")


def test_joining_the_namespaces_of_another_container(root: Person, place: Path) -> None:
    """All but the mount namespace, the user namespace also by a name that is bound elsewhere; a network that is not that one's."""
    def first(document: dict[str, Any]) -> None:
        mapped(document)
        document["linux"]["namespaces"].append({"type": "time"})
        document["linux"]["timeOffsets"] = {"monotonic": {"secs": 7881, "nanosecs": 2718281}}
    root.configure("sleep", "1000", change=first)
    assert root.call("wherry", "run", "-d", "--pid-file", "pid", "x") == (0, "")
    pid = (root.bundle / "pid").read_text()
    bound = place / "user-namespace"
    bound.touch()
    subprocess.run(["mount", "--bind", f"/proc/{pid}/ns/user", bound], check=True)

    def second(document: dict[str, Any]) -> None:
        mapped(document)
        document["linux"]["namespaces"].append({"type": "time"})
        del document["linux"]["uidMappings"], document["linux"]["gidMappings"]
        names = {"network": "net"}
        for one in document["linux"]["namespaces"]:
            if one["type"] != "mount":
                one["path"] = str(bound) if one["type"] == "user" else f"/proc/{pid}/ns/{names.get(one['type'], one['type'])}"
    try:
        root.configure("sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/timens_offsets; ps | grep -c 'sleep 1000'", change=second)
        code, text = root.call("wherry", "run", "y")
        assert (code, text.split()[:4]) == (0, ["0", "0", str(UID), "60000"])
        assert "7881   2718281" in text
        assert int(text.split()[-1]) > 1

        def third(document: dict[str, Any]) -> None:
            second(document)
            document["linux"]["namespaces"] = [{"type": "user", "path": str(bound)}, {"type": "network", "path": "/proc/self/ns/net"},
                                               {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}]
        root.configure("readlink", "/proc/self/ns/net", change=third)
        assert root.call("wherry", "run", "y") == (0, os.readlink("/proc/self/ns/net") + "\n")
    finally:
        subprocess.run(["umount", bound], check=True)
        root.call("wherry", "delete", "--force", "y")
