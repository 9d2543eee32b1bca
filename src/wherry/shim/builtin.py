"""Drives the runtime that is part of this process: no program, no file, no extra fork."""

from __future__ import annotations

from wherry.oci.runtime import Process
from wherry.runtime import container
from wherry.shim.driver import Driver, Started
from wherry.shim.protocol import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.shim.protocol import ExecRequest, LaunchRequest


class BuiltinDriver(Driver):
    """A container made by `wherry.runtime`."""

    def __init__(self, request: LaunchRequest) -> None:
        self._id = request.id
        self._root = request.runtime_root or f"{request.run_folder}/runtime"
        self._bundle = request.bundle
        self._no_pivot = request.no_pivot
        self._cgroup_driver = "systemd" if request.systemd_cgroup else "cgroupfs"
        self._seccomp_cache = request.seccomp_cache
        self._init: container.Init | None = None
        self._container: container.Container | None = None

    def create(self, stdio: tuple[int, int, int] | None) -> Started:
        """Makes the container in this process."""
        try:
            init = container.create(
                container.CreateRequest(
                    id=self._id,
                    bundle=self._bundle,
                    root=self._root,
                    stdio=stdio,
                    console=stdio is None,
                    cgroup_driver=self._cgroup_driver,
                    no_pivot=self._no_pivot,
                    seccomp_cache=self._seccomp_cache,
                )
            )
        except container.StartFailed as error:
            raise _translated(error) from error
        self._init = init
        started = Started(pid=init.pid, console=init.console, rtnetlink=init.rtnetlink)
        init.console = init.rtnetlink = None
        return started

    def start(self) -> None:
        """Lets the init execute the program."""
        assert self._init is not None
        try:
            self._init.start()
        except container.StartFailed as error:
            raise _translated(error) from error
        self._init.close()

    def execute(self, request: ExecRequest, stdio: tuple[int, int, int] | None) -> Started:
        """Starts a further process."""
        process = Process.from_json({**request.process, "terminal": request.terminal})
        try:
            started = container.execute(self._load(), container.ExecRequest(process=process, stdio=stdio, console=stdio is None))
        except container.StartFailed as error:
            raise _translated(error) from error
        import os

        os.close(started.pidfd)
        return Started(pid=started.pid, console=started.console)

    def kill_all(self, number: int) -> None:
        """Signals every process of the container."""
        container.kill(self._load(), number, everyone=True)

    def delete(self) -> None:
        """Removes cgroups and state."""
        container.delete(self._load(), force=True)

    def close(self) -> None:
        """Gives the init's descriptors back."""
        if self._init is not None:
            self._init.close()

    def _load(self) -> container.Container:
        if self._container is None:
            self._container = container.load(self._root, self._id)
        return self._container


def _translated(error: container.StartFailed) -> StartFailed:
    """The runtime counts «anything else» as 1, as runc does; here it is Docker's 125."""
    return StartFailed(error.message, exit_code=error.exit_code if error.exit_code in (126, 127) else 125, hint=error.hint)
