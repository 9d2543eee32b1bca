"""Reading logs: tails over rotated files, spans of time, following through rotation and truncation; and what the writer leaves."""

import errno
import gzip
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.shim.logfile import LogFile, LogFollower, ReadOptions
from wherry.shim.logrecord import RecordMaker
from wherry.shim.logwriter import LogWriter
from wherry.shim.protocol import LogOptions
from wherry.shim.stdcopy import STDERR, STDOUT, Demultiplexer

PLAIN = ReadOptions(multiplex=False)


def write(path: Path, lines: list[bytes], at_ns: int = 10**18) -> None:
    maker = RecordMaker("stdout")
    with path.open("ab") as file:
        for number, line in enumerate(lines):
            file.write(maker.feed(line, at_ns + number * 10**9))


def read(path: Path, options: ReadOptions = PLAIN) -> bytes:
    return b"".join(LogFile(str(path)).read(options))


def failing(message: str) -> None:
    raise AssertionError(message)


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"line %d\n" % number for number in range(first, first + count)]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == b""


@settings(max_examples=30)
@given(texts=st.lists(st.binary(max_size=30).map(lambda text: text.replace(b"\n", b"") + b"\n"), max_size=12))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    write(path, texts)
    expected = b"".join(texts)
    assert read(path).decode().replace("\ufffd", "") == expected.decode(errors="replace").replace("\ufffd", "")


def test_other_writers_records_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        '{"log":"\\ud83d\\ude00 \\u00e9\\t\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n'
        'garbage\n{"stream": "stderr", "log": "odd\\n", "time": "2024-01-01T00:00:00Z", "extra": 1}\n'
        '{"log":"a\\n","stream":"stdout","attrs":{"x":"}\\"y","a":"1"},"time":"2024-01-01T00:00:01.5Z"}\n'
    )
    assert read(path).decode() == "😀 é\t\nodd\na\n"
    assert read(path, ReadOptions(multiplex=False, details=True, timestamps=True, tail=1)) == b"2024-01-01T00:00:01.500000000Z a=1,x=%7D%22y a\n"


def test_an_unfinished_record_waits(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, numbered(2))
    with path.open("ab") as file:
        file.write(b'{"log":"hal')
    assert read(path) == b"line 0\nline 1\n"
    assert read(path, PLAIN.replace(tail=1)) == b"line 1\n"


@pytest.mark.parametrize("tail", [0, 1, 2, 5, 9, 10, 11, 30, 31, 100])
def test_a_tail_reaches_back_over_rotated_files(tmp_path: Path, tail: int) -> None:
    write(tmp_path / "log.2", numbered(10))
    write(tmp_path / "log.1", numbered(10, 10))
    (tmp_path / "log.3.gz").write_bytes(gzip.compress((tmp_path / "log.2").read_bytes()))
    (tmp_path / "log.2").rename(tmp_path / "kept")
    (tmp_path / "log.2.gz").write_bytes(gzip.compress((tmp_path / "kept").read_bytes()))
    (tmp_path / "log.3.gz").unlink()
    write(tmp_path / "log", numbered(10, 20))
    expected = numbered(30)
    assert read(tmp_path / "log", PLAIN.replace(tail=tail)) == b"".join(expected[-tail:] if tail else [])
    assert read(tmp_path / "log") == b"".join(expected)


def test_a_tail_crosses_the_blocks_it_is_read_in(tmp_path: Path) -> None:
    lines = [b"%d " % number + b"x" * (number % 977) + b"\n" for number in range(3000)]
    write(tmp_path / "log", lines)
    for tail in (1, 700, 2999):
        assert read(tmp_path / "log", PLAIN.replace(tail=tail)) == b"".join(lines[-tail:])


def test_a_span_of_time_has_both_its_ends(tmp_path: Path) -> None:
    write(tmp_path / "log", numbered(10))
    second = 10**9
    assert read(tmp_path / "log", PLAIN.replace(since_ns=10**18 + 3 * second, until_ns=10**18 + 5 * second)) == b"".join(numbered(3, 3))
    assert read(tmp_path / "log", PLAIN.replace(since_ns=10**18 + 8 * second - 1)) == b"".join(numbered(2, 8))


def test_streams_are_framed_one_by_one_and_can_be_left_out(tmp_path: Path) -> None:
    writer = LogWriter(LogOptions(path=str(tmp_path / "log")), failing)
    writer.write(STDOUT, b"a\nb\n")
    writer.write(STDERR, b"e<\n")
    writer.write(STDOUT, b"no end")
    writer.close()
    frames = Demultiplexer().feed(read(tmp_path / "log", ReadOptions()))
    assert frames == [(1, b"a\n"), (1, b"b\n"), (2, b"e<\n"), (1, b"no end")]
    assert read(tmp_path / "log", PLAIN.replace(stdout=False)) == b"e<\n"
    stamped = read(tmp_path / "log", PLAIN.replace(timestamps=True, stderr=False)).split(b"\n")
    assert [len(line.split(b" ", 1)[0]) for line in stamped[:2]] == [30, 30]


class Following:
    """A follower in a thread, and what it has read so far."""

    def __init__(self, path: Path, options: ReadOptions = PLAIN) -> None:
        self.follower = LogFollower(str(path), options)
        self.got = b""
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        for batch in self.follower:
            self.got += batch

    def until(self, text: bytes) -> None:
        deadline = time.monotonic() + 20
        while text not in self.got:
            assert time.monotonic() < deadline, self.got[-200:]
            time.sleep(0.005)

    def finish(self) -> bytes:
        self.follower.finish()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.follower.close()
        return self.got


@pytest.mark.parametrize("max_file", [1, 2, 3])
def test_following_goes_on_through_rotation(tmp_path: Path, max_file: int) -> None:
    writer = LogWriter(LogOptions(path=str(tmp_path / "log"), max_size_bytes=1000, max_file=max_file), failing)
    following = Following(tmp_path / "log")
    for number in range(60):
        writer.write(STDOUT, b"line %d\n" % number)
        following.until(b"line %d\n" % number)
    assert following.finish() == b"".join(numbered(60))
    writer.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"][:max_file]
    assert all(900 < (tmp_path / name).stat().st_size < 1100 for name in os.listdir(tmp_path) if name != "log")


def test_following_waits_for_a_file_and_reads_what_came_before_the_end(tmp_path: Path) -> None:
    following = Following(tmp_path / "log")
    write(tmp_path / "log", numbered(3))
    assert following.finish() == b"".join(numbered(3))


def test_a_cancelled_follower_ends(tmp_path: Path) -> None:
    write(tmp_path / "log", numbered(1))
    following = Following(tmp_path / "log")
    following.until(b"line 0")
    following.follower.cancel()
    following.thread.join(20)
    assert not following.thread.is_alive()
    following.follower.close()


def test_one_write_of_many_lines_is_rotated_where_docker_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wherry.shim.logwriter.time.time_ns", lambda: 10**18)  # zeros at a time's end are not written
    for name, step in (("whole", 1000), ("single", 1)):
        writer = LogWriter(LogOptions(path=str(tmp_path / name), max_size_bytes=700, max_file=3), failing)
        for at in range(0, 40, step):
            writer.write(STDOUT, b"".join(numbered(40)[at : at + step]))
        writer.close()
    for suffix in ("", ".1", ".2"):
        assert read_texts(tmp_path / f"whole{suffix}") == read_texts(tmp_path / f"single{suffix}")


def read_texts(path: Path) -> bytes:
    lone = path.parent / "lone"
    lone.write_bytes(path.read_bytes())
    return read(lone)


def test_rotated_files_are_packed_where_asked_for(tmp_path: Path) -> None:
    writer = LogWriter(LogOptions(path=str(tmp_path / "log"), max_size_bytes=500, max_file=3, compress=True), failing)
    for line in numbered(40):
        writer.write(STDOUT, line)
    writer.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1.gz", "log.2.gz"]
    assert b"".join(numbered(40)).endswith(read(tmp_path / "log"))
    assert read(tmp_path / "log").count(b"\n") > 10


def test_a_full_disk_stops_nobody_and_leaves_no_torn_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    writer = LogWriter(LogOptions(path=str(tmp_path / "log")), told.append)
    writer.write(STDOUT, b"before\n")
    real, budget = os.write, [100]

    def tight(fd: int, data: bytes) -> int:
        if not budget[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(budget[0], len(data))
        budget[0] -= taken
        return real(fd, data[:taken])

    monkeypatch.setattr("wherry.shim.logwriter.os.write", tight)
    writer.write(STDOUT, b"kept\n" + b"lost\n" * 5)
    writer.write(STDOUT, b"lost too\n")
    assert len(told) == 1
    assert "No space left on device" in told[0]
    budget[0] = 10**6
    writer.write(STDOUT, b"after\n")
    writer.close()
    assert read(tmp_path / "log") == b"before\nkept\nafter\n"
