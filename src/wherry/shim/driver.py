"""What a shim needs of an OCI runtime: one interface, two drivers.

    builtin.py    the runtime in this process: `wherry.runtime.container`
    external.py   a program with runc's command line: `wherry-runc`, runc, crun, …

The shim becomes the parent of every process that a driver starts, and reaps it. Errors: StartFailed with 127 (no such program),
126 (not executable) or 125, and what `wherry.errors` has for the rest; messages are the runtime's own.
"""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.runtime.slot import Slot
    from wherry.shim.protocol import ExecRequest, LaunchRequest


class Started(Record):
    """A process that a driver made. The descriptors belong to the caller."""

    pid: int
    console: int | None = None  # the master of its terminal
    rtnetlink: int | None = None  # a NETLINK_ROUTE socket in its network namespace


class Driver:
    """One container, driven. `stdio` is three descriptors, or None where the process is to have a terminal."""

    def create(self, stdio: tuple[int, int, int] | None) -> Started:
        """Makes the container; its init waits for `start`. Nothing is left when it fails."""
        raise NotImplementedError

    def wait_ready(self) -> None:
        """Waits until only `start` is missing: `create` may return while the init still mounts. Raises StartFailed."""

    def start(self) -> None:
        """Makes the init execute the container's program; returns when it has."""
        raise NotImplementedError

    def execute(self, request: ExecRequest, stdio: tuple[int, int, int] | None) -> Started:
        """Starts a further process; returns when its program was executed."""
        raise NotImplementedError

    def park(self) -> int:
        """After an exec was answered: prepares the next one. The pid of a child parked for that, 0 for none."""
        return 0

    def child_ended(self, pid: int) -> None:
        """A child that the shim does not know has ended and was reaped."""

    def kill_all(self, number: int) -> None:
        """Sends a signal to every process of the container."""
        raise NotImplementedError

    def pause(self) -> None:
        """Freezes every process of the container. Conflict when it does not run."""
        raise NotImplementedError

    def resume(self) -> None:
        """Thaws them. Conflict when they are not frozen."""
        raise NotImplementedError

    def update(self, resources: Mapping[str, Any]) -> None:
        """Changes limits (runtime-spec «linux.resources»); what is not given stays as it is."""
        raise NotImplementedError

    def delete(self) -> None:
        """Removes what the container left in the kernel and on disk; its init has been reaped, or was never started."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives back what the driver itself holds; an init that was not started ends."""


def make_driver(request: LaunchRequest, run_folder_fd: int, slot: Slot | None = None) -> Driver:
    """The driver for the runtime that the request names. A slot that is of no use to it is closed."""
    if request.runtime == "builtin":
        from wherry.shim.builtin import BuiltinDriver

        return BuiltinDriver(request, slot)
    if slot is not None:
        slot.close()
    from wherry.shim.external import ExternalDriver

    return ExternalDriver(request, run_folder_fd)


def process_of(request: ExecRequest) -> dict[str, Any]:
    """The runtime-spec's process of an exec, with its terminal and the size that a program finds there when it begins."""
    process = {**request.process, "terminal": request.terminal}
    if request.terminal and any(request.console_size):
        process["consoleSize"] = {"height": request.console_size[0], "width": request.console_size[1]}
    return process


def exit_code_for(message: str) -> int:
    """Docker's exit code for a runtime's message why a program cannot run: 127 not found, 126 not executable, else 125."""
    text = message.lower()
    if any(one in text for one in ("executable file not found", "no such file or directory", "executable file `")):
        return 127
    if any(
        one in text
        for one in ("permission denied", "is a directory", "exec format error", "not a directory", "operation not permitted")
    ):
        return 126
    return 125
