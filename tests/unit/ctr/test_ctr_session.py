"""A process at this terminal: what is typed goes into its fifo, whole, and the loop sleeps while the fifo is full."""

from __future__ import annotations

import fcntl
import os
import select

from wherry.console.streams import Streams
from wherry.ctr.session import Session
from wherry.ctr.stdio import Stdio

PIPE_BYTES = 1 << 18


def test_a_full_fifo_leaves_the_loop_asleep_though_the_input_has_ended(tmp_path):
    typed = os.urandom(PIPE_BYTES)
    read, write = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.write(write, typed)
    os.close(write)
    stdio = Stdio.fifos("p", terminal=True, folder=str(tmp_path))
    session = Session(None, Streams(stdin=read), "c", stdio)  # nothing is asked of the daemon
    process = os.open(stdio.stdin, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    poll = select.poll()
    poll.register(read, select.POLLIN)

    def fill() -> None:
        for _ in range(64):
            for fd, _ in (ready := poll.poll(0)):
                session._input(poll, fd)
            if not ready:
                return
        raise AssertionError("the loop is busy with an input that it cannot pass on")

    try:
        fill()
        taken = b""
        while len(taken) < len(typed):
            taken += os.read(process, len(typed))
            fill()
        assert taken == typed
        assert session._is_over
    finally:
        session.close()
        stdio.remove()
        os.close(process)
        os.close(read)
    assert not os.listdir(tmp_path)
