"""Which shim a container's runtime means, and how it is started.

io.containerd.runc.v1, runc.v2, wherry.v2    wherry's own shim, a fork of the zygote: containerd's default runtime is answered by
                                             what stands in for it here
io.containerd.<name>.v<n>, /a/path           a program containerd-shim-<name>-v<n>, as containerd starts it

In wherry's own shim runc's options mean what they mean to runc: a BinaryName names another OCI runtime. `runc` itself, which
dockerd names always, stands for the default one; `/usr/sbin/runc` for that program.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

from wherry.errors import WherryError
from wherry.linux import unixsocket
from wherry.oci.digest import sha256_hex
from wherry.oci.jsontext import loads
from wherry.shim.containerd import messages
from wherry.shim.containerd.bootstrap import answers, group_of
from wherry.shim.containerd.protobuf import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.shim.client import Zygote
    from wherry.tasks.bundle import Bundle

log = logging.getLogger(__name__)

OWN = ("io.containerd.runc.v1", "io.containerd.runc.v2", "io.containerd.wherry.v2")
_DEFAULT_BINARY = "runc"
_PATIENCE_S = 10.0  # for a program that starts a shim
_NAME_DIGITS = 24  # of a socket's name: a path has 107 bytes at most, unix(7)


class Runtimes:
    """Starts shims. `folder` is for sockets and state, `address` containerd's own, `ttrpc_address` that for events."""

    def __init__(self, folder: str, zygote: Zygote, address: str, ttrpc_address: str) -> None:
        self._folder, self._zygote = folder, zygote
        self._address, self._ttrpc_address = address, ttrpc_address

    def is_own(self, runtime: str) -> bool:
        """Whether it is wherry's own shim."""
        return runtime in OWN

    def options(self, runtime: str, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The options as the shim is to get them: those of our own runtime say where its state is. Raises InvalidArgument."""
        if not self.is_own(runtime) or (given and given["type_url"] != messages.Options.name):
            return given
        options = decode(messages.Options, given["value"] if given else b"")
        if options["binary_name"] in ("", _DEFAULT_BINARY):
            options = {**options, "binary_name": "", "root": options["root"] or f"{self._folder}/runtime"}
        return {"type_url": messages.Options.name, "value": encode(messages.Options, options)}

    async def start(self, bundle: Bundle, runtime: str, options: Mapping[str, Any] | None) -> str:
        """Starts the shim of a bundle, or finds that of its pod; where it listens. Raises WherryError, OSError."""
        if self.is_own(runtime):
            return await self._start_own(bundle)
        return await self._start_program(bundle, _program(runtime), options)

    async def _start_own(self, bundle: Bundle) -> str:
        group = group_of(bundle.path) or bundle.id
        folder = f"{self._folder}/s"
        path = f"{folder}/{sha256_hex(f'{bundle.namespace}/{group}'.encode())[:_NAME_DIGITS]}"
        bundle.address = path
        if answers(path):
            return path
        os.makedirs(folder, mode=0o711, exist_ok=True)
        listener = unixsocket.listen(path, unixsocket.SOCK_STREAM)
        try:
            await self._zygote.launch_tasks(
                (bundle.id, bundle.namespace, path, self._address, self._ttrpc_address, "", ""), listener.fileno())
        finally:
            listener.close()
        return path

    def forget(self, bundle: Bundle) -> None:
        """The shim of a bundle has died: its socket goes, if it was one of ours."""
        if bundle.address.startswith(f"{self._folder}/s/"):
            answers(bundle.address)  # which removes that of one that is gone

    async def _start_program(self, bundle: Bundle, program: str, options: Mapping[str, Any] | None) -> str:
        drain_log(bundle)
        process = await asyncio.create_subprocess_exec(
            program, "-namespace", bundle.namespace, "-address", self._address, "-publish-binary", program, "-id", bundle.id,
            "start", cwd=bundle.path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "TTRPC_ADDRESS": self._ttrpc_address, "GRPC_ADDRESS": self._address, "NAMESPACE": bundle.namespace,
                 "MAX_SHIM_VERSION": "2"})
        said, _ = await asyncio.wait_for(process.communicate(encode(messages.Any, options) if options else b""), _PATIENCE_S)
        text = said.decode(errors="replace").strip()
        if process.returncode:
            raise WherryError(f"{text}: exit status {process.returncode}: unknown")
        bundle.address = path = _address_in(text).removeprefix("unix://")
        return path


def drain_log(bundle: Bundle) -> None:
    """Reads what a shim that is a program says on the fifo in its bundle; it waits for a reader."""
    path = f"{bundle.path}/log"
    if not os.path.exists(path):
        os.mkfifo(path, 0o700)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    loop = asyncio.get_running_loop()

    def readable() -> None:
        try:
            said = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        if not said:
            loop.remove_reader(fd)
            os.close(fd)
            return
        for line in said.decode(errors="replace").splitlines():
            log.debug("shim of %s/%s: %s", bundle.namespace, bundle.id, line)

    loop.add_reader(fd, readable)


def _program(runtime: str) -> str:
    """The shim's program for a runtime's name, or its path. Raises WherryError."""
    if runtime.startswith("/"):
        name = runtime
    else:
        parts = runtime.split(".")
        if len(parts) < 2 or not all(parts):
            raise WherryError(f"failed to resolve runtime path: invalid runtime name {runtime}, correct runtime name should be "
                              "either format like `io.containerd.runc.v1` or a full path to the binary: unknown")
        name = f"containerd-shim-{parts[-2]}-{parts[-1]}"
    found = shutil.which(name)
    if found is None:
        raise WherryError(f'failed to resolve runtime path: runtime "{runtime}" binary not installed "{name}": '
                          "file does not exist: unknown")
    return found


def _address_in(text: str) -> str:
    """What a shim's `start` prints: its address, or (version 3) an object with it."""
    if not text.startswith("{"):
        return text
    try:
        return str(loads(text)["address"])
    except (ValueError, KeyError) as error:
        raise WherryError(f"a shim says where it listens in a way that is not understood: {text}: unknown") from error
