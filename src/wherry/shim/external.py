"""Drives an OCI runtime that is a program: runc's command line, as every runtime has it.

    create --bundle B --pid-file P [--console-socket S] [--no-pivot] ID       its stdio is the container's
    start ID      exec --process F --detach --pid-file P [--console-socket S] ID      kill [--all] ID N      delete [--force] ID

Errors are read from the file given as `--log` (JSON lines, the last of level error), as containerd does it, since stderr is the
container's. The init and exec'd processes become children of the shim because it is a subreaper (prctl(2)).
Sources: runc's manual pages `runc-create(8)`, `runc-exec(8)`, `docs/terminals.md`.
"""

from __future__ import annotations

import os

from wherry.errors import Internal, NotFound
from wherry.linux import unixsocket
from wherry.oci.jsontext import dumps, loads
from wherry.shim.driver import Driver, Started, exit_code_for, process_of
from wherry.shim.protocol import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping
    from typing import Any

    from wherry.shim.protocol import ExecRequest, LaunchRequest

_LOG = "runtime.log"
_CONSOLE = "console.sock"


class ExternalDriver(Driver):
    """A container made by a program."""

    def __init__(self, request: LaunchRequest, run_folder_fd: int) -> None:
        self._request = request
        self._folder = run_folder_fd
        # The run folder by a name that is short enough for sun_path, and that the program can open as well.
        self._short = f"/proc/{os.getpid()}/fd/{run_folder_fd}"
        root = request.runtime_root or f"{request.run_folder}/runtime"
        self._head = (
            request.runtime,
            *request.runtime_args,
            "--root",
            root,
            "--log",
            f"{request.run_folder}/{_LOG}",
            "--log-format",
            "json",
            *(("--systemd-cgroup",) if request.systemd_cgroup else ()),
        )

    def create(self, stdio: tuple[int, int, int] | None) -> Started:
        """Runs `create`."""
        extra = (
            *(("--no-pivot",) if self._request.no_pivot else ()),
            *(("--no-new-keyring",) if self._request.no_new_keyring else ()),
        )
        command = ("create", "--bundle", self._request.bundle, *extra)
        try:
            return self._start_process(command, (self._request.id,), stdio, "init.pid")
        except StartFailed:
            # Some runtimes leave a half-made container behind when create fails.
            self._run(("delete", "--force", self._request.id), check=False)
            raise

    def start(self) -> None:
        """Runs `start`."""
        self._run(("start", self._request.id))

    def execute(self, request: ExecRequest, stdio: tuple[int, int, int] | None) -> Started:
        """Runs `exec` with the process in a file."""
        name = f"exec-{os.getpid()}.json"
        self._write(name, process_of(request))
        try:
            return self._start_process(
                ("exec", "--process", f"{self._request.run_folder}/{name}", "--detach"), (self._request.id,), stdio, "exec.pid"
            )
        finally:
            os.unlink(name, dir_fd=self._folder)

    def kill_all(self, number: int) -> None:
        """Runs `kill --all`."""
        try:
            self._run(("kill", "--all", self._request.id, str(number)))
        except StartFailed as error:
            raise NotFound(error.message) from error

    def pause(self) -> None:
        """Runs `pause`."""
        self._run(("pause", self._request.id))

    def resume(self) -> None:
        """Runs `resume`."""
        self._run(("resume", self._request.id))

    def update(self, resources: Mapping[str, Any]) -> None:
        """Runs `update` with the limits in a file."""
        name = f"update-{os.getpid()}.json"
        self._write(name, resources)
        try:
            self._run(("update", "--resources", f"{self._request.run_folder}/{name}", self._request.id))
        finally:
            os.unlink(name, dir_fd=self._folder)

    def delete(self) -> None:
        """Runs `delete`, with force when it refuses."""
        if self._run(("delete", self._request.id), check=False):
            self._run(("delete", "--force", self._request.id))

    # Below: one program run at a time

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
        with open(fd, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(dumps(document))

    def _start_process(
        self, command: tuple[str, ...], tail: tuple[str, ...], stdio: tuple[int, int, int] | None, pid_file: str
    ) -> Started:
        listener = None
        if stdio is None:
            listener = unixsocket.listen(f"{self._short}/{_CONSOLE}", unixsocket.SOCK_STREAM)
            command += ("--console-socket", f"{self._short}/{_CONSOLE}")
        try:
            self._run((*command, "--pid-file", f"{self._request.run_folder}/{pid_file}", *tail), stdio)
            console = None if listener is None else _receive_console(listener)
        finally:
            if listener is not None:
                listener.close()
                os.unlink(_CONSOLE, dir_fd=self._folder)
        fd = os.open(pid_file, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        with open(fd, encoding="utf-8") as file:
            pid = int(file.read())
        os.unlink(pid_file, dir_fd=self._folder)
        return Started(pid=pid, console=console)

    def _run(self, command: tuple[str, ...], stdio: tuple[int, int, int] | None = None, check: bool = True) -> int:
        """Runs the program to its end; its exit status. Raises StartFailed with its own last error message."""
        argv = [*self._head, *command]
        try:
            os.unlink(_LOG, dir_fd=self._folder)
        except FileNotFoundError:
            pass
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            ends = stdio or (null, null, writing)
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(ends)]
            try:
                pid = os.posix_spawnp(
                    argv[0], argv, _environment(), file_actions=actions, setsigdef=[1, 2, 13, 15, 17, 25], setsigmask=[]
                )
            except OSError as error:
                raise StartFailed(f'failed to start runtime: exec: "{argv[0]}": {error.strerror}', exit_code=125) from error
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.set_blocking(reading, False)  # what it started may keep the other end open
            try:
                said = os.read(reading, 4096)
            except BlockingIOError:
                said = b""
        finally:
            for fd in (null, reading, writing):
                os.close(fd)
        if status and check:
            message = self._last_error()
            if not message:
                why = said.decode(errors="replace").strip() or f"exit status {status}"
                message = f"{os.path.basename(argv[0])} did not terminate successfully: {why}"
            raise StartFailed(message, exit_code=exit_code_for(message))
        return status

    def _last_error(self) -> str:
        try:
            fd = os.open(_LOG, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        except FileNotFoundError:
            return ""
        with open(fd, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        for line in reversed(lines):
            try:
                record = loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("level") == "error":
                return str(record.get("msg", ""))
        return ""


def _receive_console(listener: _socket.socket) -> int:
    """The master that the runtime has sent: it waits in the socket since before the program ended."""
    listener.settimeout(10)
    fd, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (`accept` is the wrapping class's)
    import _socket

    connection = _socket.socket(fileno=fd)
    try:
        _, fds = unixsocket.receive(connection)
    finally:
        connection.close()
    if len(fds) != 1:
        raise Internal(f"the runtime sent {len(fds)} descriptors for the terminal instead of one")
    return fds[0]


def _environment() -> dict[str, str]:
    """The zygote's environment without what is meant for the interpreter alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MALLOC_"))}
