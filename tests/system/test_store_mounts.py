"""Container layers: Docker's files in the init layer, both ways to mount, what changed, commit, export, removal."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

from wherry.errors import Conflict, NotFound
from wherry.store import overlaymount, tarheader
from wherry.store.layers import MAX_DEPTH, LayerStore
from wherry.store.mounts import ContainerLayers
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, padding, write_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wherry.store.overlaymount import Overlay

ID = "c" * 64


def tar(*members: tuple[str, bytes]) -> io.BytesIO:
    out = b""
    for name, data in members:
        kind, link = tarheader.REGULAR, ""
        if name.endswith("/"):
            kind = tarheader.FOLDER
        elif name.endswith("@"):
            name, kind, link, data = name[:-1], tarheader.SYMLINK, data.decode(), b""
        out += write_header(Entry(name=name, kind=kind, link=link, size=len(data), mode=0o755)) + data + bytes(padding(len(data)))
    return io.BytesIO(out + bytes(1024))


class Store:
    def __init__(self, root: DataRoot) -> None:
        self.root = root
        self.layers = LayerStore(root)
        self.containers = ContainerLayers(root, self.layers)

    def image(self, *layers: io.BytesIO) -> str:
        """The chain id of layers that an image now holds."""
        with self.layers.lease() as lease:
            chain = lease.commit([lease.stage(one) for one in layers])[-1].chain_id
            self.layers.retain(chain)
        return chain


@pytest.fixture
def store() -> Iterator[Store]:
    path = tempfile.mkdtemp(prefix="wherry-mounts-", dir="/var/tmp")
    with DataRoot.open(path) as root:
        made = Store(root)
        yield made
        for container in made.containers.list():
            made.containers.remove(container)
    shutil.rmtree(path)


BASE = (("etc/", b""), ("etc/passwd", b"root"), ("etc/hosts", b"image's own"), ("usr/", b""), ("usr/bin/", b""), ("usr/bin/a", b"1"),
        ("usr/bin/b", b"2"), ("proc/", b""), ("d/", b""), ("d/x", b"1"), ("l@", b"d"))


def mounted() -> int:
    with open("/proc/self/mounts") as mounts:
        return sum(line.startswith("overlay ") for line in mounts)


@pytest.fixture(params=["lowerdir+", "mount(2)"])
def mount_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to mount; the older one as on a kernel that does not know the newer."""
    if request.param == "mount(2)":

        def refuse(_overlay: Overlay) -> int:
            raise OSError(22, "Invalid argument")

        monkeypatch.setattr(overlaymount, "detached", refuse)
    return str(request.param)


def test_a_container_s_tree_with_docker_s_files(store: Store, mount_by: str) -> None:
    chain = store.image(tar(*BASE), tar(("new", b"top"),))
    before = mounted()
    store.containers.create(ID, chain)
    folder = f"{store.root.layerdb}/mounts/{ID}"
    assert sorted(os.listdir(folder)) == ["init-id", "mount-id", "parent"]
    merged = store.containers.mount(ID)
    assert mounted() == before + 1
    assert sorted(os.listdir(merged)) == [".dockerenv", "d", "dev", "etc", "l", "new", "proc", "sys", "usr"]
    assert sorted(os.listdir(f"{merged}/dev")) == ["console", "pts", "shm"]
    assert sorted(os.listdir(f"{merged}/etc")) == ["hostname", "hosts", "mtab", "passwd", "resolv.conf"]
    assert os.readlink(f"{merged}/etc/mtab") == "/proc/mounts"
    assert os.stat(f"{merged}/etc/hosts").st_size == 0
    assert stat.S_IMODE(os.stat(f"{merged}/.dockerenv").st_mode) == 0o755
    assert store.containers.changes(ID) == ()
    assert store.containers.mount(ID) == merged
    store.containers.unmount(ID)
    assert mounted() == before + 1
    store.containers.unmount(ID)
    assert mounted() == before
    assert not os.path.exists(merged)
    store.containers.unmount(ID)  # harmless
    store.containers.remove(ID)
    assert os.listdir(store.root.half_made) == []
    with pytest.raises(NotFound):
        store.containers.mount(ID)
    assert len(os.listdir(store.root.overlay.links)) == 2, "the image's layers are still there"


def test_as_many_layers_as_docker_takes(store: Store, mount_by: str) -> None:
    chain = store.image(*(tar((f"f{number}", b"x")) for number in range(MAX_DEPTH)))
    store.containers.create(ID, chain)
    overlay = store.containers.overlay(ID)
    assert len(overlay.lower) == len(overlay.links) == MAX_DEPTH + 1
    assert os.path.samefile(f"{overlay.base}/{overlay.links[0]}", overlay.lower[0])
    merged = store.containers.mount(ID)
    assert len([name for name in os.listdir(merged) if name.startswith("f")]) == MAX_DEPTH


def test_what_changed_is_told_as_docker_diff_does(store: Store) -> None:
    chain = store.image(tar(*BASE))
    store.containers.create(ID, chain)
    merged = store.containers.mount(ID)
    with open(f"{merged}/etc/passwd", "a") as file:
        file.write("more")
    os.unlink(f"{merged}/d/x")
    shutil.rmtree(f"{merged}/usr/bin")
    os.mkdir(f"{merged}/usr/bin")
    for name in ("usr/bin/a", "added"):
        with open(f"{merged}/{name}", "w") as file:
            file.write("12345")
    os.unlink(f"{merged}/l")
    os.mkdir(f"{merged}/l")
    os.mkdir(f"{merged}/gone")
    os.rmdir(f"{merged}/gone")
    found = [(change.kind, change.path) for change in store.containers.changes(ID)]
    assert found == [(1, "/added"), (0, "/d"), (2, "/d/x"), (0, "/etc"), (0, "/etc/passwd"), (0, "/l"), (0, "/usr"), (0, "/usr/bin"),
                     (0, "/usr/bin/a"), (2, "/usr/bin/b")]
    own, whole = store.containers.size(ID)
    assert own == len("rootmore") + 5 + 5
    assert whole == own + store.layers.size(chain)
    with tarfile.open(fileobj=io.BytesIO(store.containers.open_diff(ID).read())) as diff:
        assert diff.getnames() == ["added", "d", "d/.wh.x", "etc", "etc/passwd", "l", "l/.wh..wh..opq", "usr", "usr/bin",
                                   "usr/bin/.wh..wh..opq", "usr/bin/a"]


def test_a_commit_is_the_same_tree(store: Store) -> None:
    chain = store.image(tar(*BASE))
    store.containers.create(ID, chain)
    merged = store.containers.mount(ID)
    shutil.rmtree(f"{merged}/usr")
    os.mkdir(f"{merged}/usr")
    os.unlink(f"{merged}/etc/passwd")
    with open(f"{merged}/usr/x", "w") as file:
        file.write("x")
    os.mkfifo(f"{merged}/fifo")
    os.setxattr(f"{merged}/usr/x", "user.kept", b"1")
    with store.layers.lease() as lease:
        committed = lease.register(store.containers.open_diff(ID), chain)
        store.containers.create("d" * 64, committed.chain_id)
    other = store.containers.mount("d" * 64)
    assert os.listdir(f"{other}/usr") == ["x"]
    assert not os.path.exists(f"{other}/etc/passwd")
    assert os.getxattr(f"{other}/usr/x", "user.kept") == b"1"
    assert store.containers.changes("d" * 64) == ()
    exported = [store.containers.open_export(one).read() for one in (ID, "d" * 64)]
    names = []
    for data in exported:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names.append(archive.getnames())
    assert names[0] == names[1]


def test_an_export_mounts_and_unmounts_by_itself(store: Store) -> None:
    store.containers.create(ID, store.image(tar(*BASE)))
    before = mounted()
    stream = store.containers.open_export(ID)
    assert mounted() == before
    stream.read(10)
    assert mounted() == before + 1
    stream.close()
    assert mounted() == before


def test_a_mount_that_outlived_the_daemon_is_taken_over(store: Store) -> None:
    store.containers.create(ID, store.image(tar(*BASE)))
    merged = store.containers.mount(ID)
    again = ContainerLayers(store.root, store.layers)
    before = mounted()
    assert again.mount(ID) == merged
    assert mounted() == before
    again.unmount(ID)
    assert mounted() == before - 1


def test_a_container_without_an_image(store: Store) -> None:
    store.containers.create(ID)
    merged = store.containers.mount(ID)
    assert sorted(os.listdir(merged)) == [".dockerenv", "dev", "etc", "proc", "sys"]
    assert store.containers.size(ID) == (0, 0)
    with pytest.raises(Conflict, match="has a writable layer already"):
        store.containers.create(ID)


@pytest.mark.parametrize("odd", [(("etc@", b"/usr"),), (("etc", b"a file"),), (("dev/", b""), ("dev/pts@", b"/tmp"), ("proc@", b"/"))])
def test_odd_images_do_not_lead_docker_s_files_elsewhere(store: Store, odd: tuple[tuple[str, bytes], ...]) -> None:
    host = sorted(os.listdir("/tmp"))
    store.containers.create(ID, store.image(tar(*odd)))
    merged = store.containers.mount(ID)
    for name in ("etc", "dev", "dev/pts", "proc"):
        assert os.path.isdir(f"{merged}/{name}")
        assert not os.path.islink(f"{merged}/{name}")
    assert os.path.isfile(f"{merged}/etc/hosts")
    assert sorted(os.listdir("/tmp")) == host


def test_a_tree_deeper_than_a_path_is_diffed_committed_and_removed(store: Store) -> None:
    store.containers.create(ID, store.image(tar(*BASE)))
    current = os.open(store.containers.mount(ID), os.O_RDONLY)
    for _ in range(2200):
        os.mkdir("dd", dir_fd=current)
        below = os.open("dd", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)
    assert len(store.containers.open_export(ID).read()) > 2200 * 512
    assert len(store.containers.open_diff(ID).read()) > 2200 * 512
    store.containers.remove(ID)
    assert os.listdir(store.root.half_made) == []


def test_removing_a_mounted_container_does_not_touch_the_image(store: Store) -> None:
    chain = store.image(tar(*BASE))
    store.containers.create(ID, chain)
    store.containers.mount(ID)
    store.containers.remove(ID)
    diff = store.root.overlay.diff(store.layers.get(chain).cache_id)
    assert sorted(os.listdir(f"{diff}/usr/bin")) == ["a", "b"]


def test_discarding_a_half_made_layer_unmounts_it_first(store: Store) -> None:
    chain = store.image(tar(*BASE))
    store.containers.create(ID, chain)
    overlay = store.containers.overlay(ID)
    store.containers.mount(ID)
    os.rename(f"{store.root.layerdb}/mounts/{ID}", f"{store.root.half_made}/unmount-x")
    store.root._recover()
    assert not os.path.exists(os.path.dirname(overlay.upper))
    diff = store.root.overlay.diff(store.layers.get(chain).cache_id)
    assert sorted(os.listdir(f"{diff}/usr/bin")) == ["a", "b"]


def test_with_a_function_of_the_kernel_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a filter that knows no fsopen: ENOSYS or EPERM."""
    from wherry.linux import mount as mounts

    calls: list[int] = []

    def refusing(number: int) -> Callable[..., int]:
        def refuse(*_arguments: object) -> int:
            calls.append(number)
            raise OSError(number, os.strerror(number))

        return refuse

    store.containers.create(ID, store.image(tar(*BASE)))
    for number in (38, 1):
        monkeypatch.setattr(mounts, "filesystem", refusing(number))
        merged = store.containers.mount(ID)
        assert os.path.isfile(f"{merged}/etc/passwd")
        store.containers.unmount(ID)
    assert calls == [38, 1]


def test_a_prepared_layer_is_taken_and_goes_with_its_image(store: Store) -> None:
    chains = [store.image(tar(*BASE)), store.image(tar(("other", b"1")))]
    for _ in range(3):
        store.containers.prepare(chains[0])
    assert len(os.listdir(store.root.half_made)) == 2
    [first, second] = sorted(os.listdir(store.root.half_made))
    store.containers.create(ID, chains[0])
    assert len(os.listdir(store.root.half_made)) == 1
    assert os.path.basename(os.path.dirname(store.containers.overlay(ID).upper)) in (first[6:], second[6:])
    store.containers.prepare(chains[1])
    store.containers.create("d" * 64, chains[1])
    merged = store.containers.mount("d" * 64)
    assert "other" in os.listdir(merged)
    store.containers.remove(ID)
    store.layers.release(chains[0])
    assert os.listdir(store.root.half_made) == [], "nobody can use what was prepared on it"
    store.containers.prepare(chains[1])
    store.containers.close()
    assert os.listdir(store.root.half_made) == []
    with pytest.raises(NotFound):
        store.containers.prepare(chains[0])


def test_few_chains_keep_prepared_layers(store: Store) -> None:
    for number in range(7):
        store.containers.prepare(store.image(tar((f"f{number}", b""))))
    assert len(os.listdir(store.root.half_made)) == 4
    store.root._recover()
    assert os.listdir(store.root.half_made) == []


def test_removal_can_leave_the_disk_for_later(store: Store) -> None:
    chain = store.image(tar(*BASE))
    store.containers.create(ID, chain)
    merged = store.containers.mount(ID)
    store.containers.remove(ID, later=True)
    assert store.containers.list() == ()
    assert os.path.ismount(merged)
    assert store.layers.release(chain) != ()
    store.containers.sweep()
    assert not os.path.exists(merged)
    assert os.listdir(store.root.half_made) == []
    assert os.listdir(store.root.overlay.links) == []


def test_a_prepared_mount_is_attached_at_the_first_start_and_not_kept_for_ever(store: Store) -> None:
    chain = store.image(tar(*BASE))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(12):
        store.containers.prepare(chain)
        store.containers.create(f"{number:064x}", chain)
    # Each is a descriptor where the kernel makes an overlay that is attached nowhere; elsewhere the first start mounts.
    has_detached = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 7)
    assert len(os.listdir("/proc/self/fd")) == before + (8 if has_detached else 0)
    for number in (0, 11):  # one whose mount was given up, one that has it
        name = f"{number:064x}"
        merged = store.containers.mount(name)
        assert os.path.isfile(f"{merged}/etc/passwd")
        with open(f"{merged}/written", "w") as file:
            file.write("x")
        store.containers.unmount(name)
        with open(f"{store.containers.mount(name)}/written") as file:
            assert file.read() == "x"
        store.containers.unmount(name)
    store.containers.remove(f"{10:064x}")
    assert len(os.listdir("/proc/self/fd")) == before + (6 if has_detached else 0)
    store.containers.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_threads_create_prepare_remove_and_sweep(store: Store) -> None:
    chain = store.image(tar(*BASE))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(6):
                name = f"{number * 100 + turn:064x}"
                store.containers.create(name, chain)
                store.containers.prepare(chain)
                assert os.path.isfile(f"{store.containers.mount(name)}/etc/passwd")
                store.containers.unmount(name)
                store.containers.remove(name, later=bool(turn % 2))
                store.containers.sweep()
        except BaseException as err:  # noqa: BLE001  # told by the test below
            failures.append(err)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(os.listdir(store.root.half_made)) <= 2
    store.containers.close()
    assert os.listdir(store.root.half_made) == []
    assert store.layers.release(chain) != ()
    assert os.listdir(store.root.overlay.links) == []
