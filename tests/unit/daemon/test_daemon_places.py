"""Who holds a place, PID files, and the shape of the log; nothing here needs root."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from wherry.daemon import dropin, pidfile
from wherry.daemon.logs import Json, Text
from wherry.daemon.notify import notify
from wherry.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path

LOCKER = ("import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX); print(flush=True);"
          "sys.stdin.read()")


def test_who_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    assert dropin.listener_of(path) is None
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert dropin.listener_of(path) is None  # nobody listens yet
        sock.listen()
        assert dropin.listener_of(path) == os.getpid()
    assert dropin.listener_of(path) is None


def test_who_has_a_file_locked(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    assert dropin.lock_holder(str(path)) is None
    path.write_bytes(b"")
    assert dropin.lock_holder(str(path)) is None
    with subprocess.Popen([sys.executable, "-c", LOCKER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert dropin.lock_holder(str(path)) == holder.pid
        holder.communicate()
    assert dropin.lock_holder(str(path)) is None


def test_a_pid_file_is_written_over_a_dead_one_only(tmp_path: Path) -> None:
    path = tmp_path / "run" / "pid"
    pidfile.write(str(path))
    assert path.read_text() == str(os.getpid())
    pidfile.write(str(path))
    path.write_text("1")
    with pytest.raises(Conflict, match="process with PID 1 is still running"):
        pidfile.write(str(path))
    pidfile.remove(str(path))
    assert path.read_text() == "1"  # it is another's
    path.write_text("4194304")  # above the kernel's largest
    pidfile.write(str(path))
    pidfile.remove(str(path))
    assert not path.exists()
    pidfile.remove(str(path))


def test_the_log_s_lines() -> None:
    record = logging.LogRecord("wherry", logging.WARNING, "", 0, 'a "quoted"\nline %d', (7,), None)
    record.created = 1.5
    assert Text().format(record) == r'time="1970-01-01T00:00:01.5Z" level=warning msg="a \"quoted\"\nline 7"'
    assert json.loads(Json().format(record)) == {"level": "warning", "msg": 'a "quoted"\nline 7', "time": "1970-01-01T00:00:01.5Z"}


def test_a_trace_is_one_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("wherry", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    text = Text().format(record)
    assert "\n" not in text
    assert 'level=error msg="failed" error="Traceback' in text


def test_without_a_service_manager_nobody_is_told(tmp_path: Path) -> None:
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
