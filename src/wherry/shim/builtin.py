"""Drives the runtime that is part of this process: no program, no file, no extra fork."""

from __future__ import annotations

import os

from wherry.errors import Unavailable
from wherry.linux import cgroup
from wherry.oci.runtime import Process
from wherry.runtime import container
from wherry.shim.driver import Driver, Started, process_of
from wherry.shim.parked import Parked, park
from wherry.shim.protocol import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.runtime.slot import Slot
    from wherry.shim.protocol import ExecRequest, LaunchRequest


class BuiltinDriver(Driver):
    """A container made by `wherry.runtime`."""

    def __init__(self, request: LaunchRequest, slot: Slot | None = None) -> None:
        self._id = request.id
        self._root = request.runtime_root or f"{request.run_folder}/runtime"
        self._request = container.CreateRequest(
            id=request.id,
            bundle=os.path.abspath(request.bundle),
            root=self._root,
            console=request.terminal,
            cgroup_driver="systemd" if request.systemd_cgroup else "cgroupfs",
            no_pivot=request.no_pivot,
            no_new_keyring=request.no_new_keyring,
            seccomp_cache=request.seccomp_cache,
        )
        self._slot = slot
        if slot is not None:
            slot.ask(self._request)  # it is planned while the shim makes itself
        self._init: container.Init | None = None
        self._container: container.Container | None = None
        self._parked: Parked | None = None

    def create(self, stdio: tuple[int, int, int] | None) -> Started:
        """Makes the container in this process."""
        request = self._request.replace(stdio=stdio)
        try:
            init = (self._slot.take(request) if self._slot is not None else None) or container.create(request)
        except container.StartFailed as error:
            raise _translated(error) from error
        self._init = init
        started = Started(pid=init.pid, console=init.console, rtnetlink=init.rtnetlink)
        init.console = init.rtnetlink = None
        return started

    def wait_ready(self) -> None:
        """Hears the init out."""
        assert self._init is not None
        try:
            self._init.wait_ready()
        except container.StartFailed as error:
            raise _translated(error) from error

    def start(self) -> None:
        """Lets the init execute the program."""
        assert self._init is not None
        try:
            self._init.start()
        except container.StartFailed as error:
            raise _translated(error) from error
        self._init.close()

    def execute(self, request: ExecRequest, stdio: tuple[int, int, int] | None) -> Started:
        """Starts a further process, from the parked child where there is one."""
        try:
            started = self._execute(request, stdio)
        except container.StartFailed as error:
            raise _translated(error) from error
        os.close(started.pidfd)
        return Started(pid=started.pid, console=started.console)

    def _execute(self, request: ExecRequest, stdio: tuple[int, int, int] | None) -> container.Process:
        loaded = self._load()
        given = process_of(request)
        if self._parked is not None:
            try:
                return self._parked.execute(given, loaded.saved.pid, stdio)
            except Unavailable:
                # It was killed, maybe with everything else in the cgroup: the long way, and another is parked.
                self._parked.forget()
                self._parked = None
        process = Process.from_json(given)
        return container.execute(loaded, container.ExecRequest(process=process, stdio=stdio, console=stdio is None))

    def park(self) -> int:
        """Parks a child in the cgroups, where moving a process into them takes long: wherever it cannot be cloned into them."""
        if self._parked is not None:
            return 0
        saved = self._load().saved
        if saved.listener is not None:
            return 0  # each process's filter is handed to an agent, by whoever makes the process
        group = cgroup.manager(saved.cgroup_path, saved.cgroup_driver)
        folder = group.folder_fd()
        if folder is not None:
            os.close(folder)
            return 0
        self._parked = park(self._root, self._id, group, saved.pid)
        return self._parked.pid

    def child_ended(self, pid: int) -> None:
        """The parked child may be what has ended."""
        if self._parked is not None and self._parked.pid == pid:
            self._parked.forget()
            self._parked = None

    def kill_all(self, number: int) -> None:
        """Signals every process of the container."""
        container.kill(self._load(), number, everyone=True)

    def pause(self) -> None:
        """Freezes the cgroup."""
        container.pause(self._load())

    def resume(self) -> None:
        """Thaws the cgroup."""
        container.resume(self._load())

    def update(self, resources: Mapping[str, Any]) -> None:
        """Writes the limits into the cgroup."""
        container.update(self._load(), resources)

    def delete(self) -> None:
        """Removes cgroups and state."""
        if self._parked is not None:
            self._parked.close()
            self._parked = None
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
