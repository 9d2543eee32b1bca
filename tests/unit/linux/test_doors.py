"""The doors to the kernel that need no privilege: descriptors over sockets, files replaced, paths in a root, terminals, processes."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from wherry import trace
from wherry.linux import capability, file, path, process, pty, syscall, unixsocket

if TYPE_CHECKING:
    from pathlib import Path


def test_descriptors_travel_beside_a_message() -> None:
    a, b = unixsocket.pair()
    with closing(a), closing(b):
        reader, writer = os.pipe()
        unixsocket.send(a, b"word", (writer,))
        os.close(writer)
        data, fds = unixsocket.receive(b)
        assert data == b"word"
        assert not os.get_inheritable(fds[0])
        os.write(fds[0], b"x")
        assert os.read(reader, 1) == b"x"
        for fd in (reader, *fds):
            os.close(fd)
        a.close()
        assert unixsocket.receive(b) == (b"", [])


def test_sockets_have_paths_of_any_length(tmp_path: Path) -> None:
    place = tmp_path / ("d" * 120)
    place.mkdir()
    listener = unixsocket.listen(str(place / "s"))
    with closing(listener), closing(unixsocket.connect(str(place / "s"))):
        assert (place / "s").is_socket()


@pytest.mark.parametrize("replace", [file.replace, file.replace_durably])
def test_a_file_is_replaced_whole(tmp_path: Path, replace: object) -> None:
    target = tmp_path / "f"
    for content in (b"a" * 100_000, b""):
        replace(str(target), content, 0o640)  # type: ignore[operator]
        assert target.read_bytes() == content
    assert target.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


def test_a_failed_replacement_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(OSError, match="f"):
        file.replace(str(tmp_path / "f"), b"x")
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


def test_drafts_of_killed_processes_are_swept(tmp_path: Path) -> None:
    file.replace(str(tmp_path / "f"), b"x")
    for name in ("f.4711.tmp", "g.12.tmp", "tmp", "f.tmp.json"):
        (tmp_path / name).write_bytes(b"draft")
    file.sweep(str(tmp_path))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["f", "f.tmp.json", "tmp"]
    file.sweep(str(tmp_path / "missing"))


def test_links_of_a_root_stay_inside_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "absolute").symlink_to("/real")
    (root / "up").symlink_to("../../../../real")
    (root / "dangling").symlink_to("/nowhere")
    root_fd = os.open(root, os.O_PATH)
    try:
        for name in ("absolute/x/y", "/up/x/y", "../real/x/y"):
            os.close(path.make_folders(root_fd, name))
        assert (root / "real/x/y").is_dir()
        os.close(path.make_file(root_fd, "/absolute/file"))
        assert (root / "real/file").is_file()
        with pytest.raises(OSError, match="dangling"):
            path.make_folders(root_fd, "/dangling/x")
        assert sorted(one.name for one in tmp_path.iterdir()) == ["root"]
    finally:
        os.close(root_fd)


def test_terminals_have_sizes() -> None:
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    slave, number = pty.open_slave(master)
    try:
        pty.resize(master, 30, 90)
        assert pty.size(slave) == (30, 90)
        assert os.ttyname(slave) == f"/dev/pts/{number}"
    finally:
        os.close(master)
        os.close(slave)


def test_a_process_is_known_by_pid_and_start_time() -> None:
    started = process.start_time(os.getpid())
    assert process.is_alive(os.getpid(), started)
    assert not process.is_alive(os.getpid(), started + 1)
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    pidfd = process.pidfd_open(pid)
    assert process.reap(pidfd) == 3
    os.close(pidfd)
    with pytest.raises(ProcessLookupError):
        process.start_time(pid)


def test_the_title_is_what_others_read() -> None:
    pid = os.fork()
    if pid == 0:
        process.set_title("wherry-x")
        with open("/proc/self/cmdline", "rb") as text:
            ok = text.read().rstrip(b"\0") == b"wherry-x"
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_capabilities_have_names() -> None:
    bits, unknown = capability.mask(("CAP_CHOWN", "CAP_BPF", "CAP_ODD"))
    assert unknown == ("CAP_ODD",)
    assert capability.names(bits) == ("CAP_CHOWN", "CAP_BPF")
    assert capability.get()[0] & ~capability.get()[1] == 0


def test_a_failed_call_says_what_was_tried_and_traces_it() -> None:
    seen: list[tuple[str, str]] = []
    trace.watch(lambda _moment, operation, subject: seen.append((operation, subject)))
    try:
        with pytest.raises(OSError, match="setns fd=-1") as caught:
            syscall.call("setns", "fd=-1", -1, 0)
    finally:
        trace.watch(None)
    assert caught.value.errno == 9
    assert seen == [("setns", "fd=-1")]
