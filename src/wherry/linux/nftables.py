"""nftables through the system's libnftables: one atomic transaction per call, in nft's own language.

libnftables is loaded late (and ctypes with it), because most programs that import this floor never need it. The
library's context is not thread-safe; a `Nftables` has one, and a lock.
"""

from __future__ import annotations

import errno
import os
import struct
from _thread import allocate_lock

from wherry import trace
from wherry.linux.netlink import NETLINK_NETFILTER, Request, Socket, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, Self

LIBRARY: Final = "libnftables.so.1"

NFT_CTX_OUTPUT_HANDLE: Final = 1 << 3
NFT_CTX_OUTPUT_JSON: Final = 1 << 4

_NFNL_SUBSYS_NFTABLES: Final = 10
_NFT_MSG_GETGEN: Final = 16
_NFTA_GEN_ID: Final = 1

# libnftables reports failures as text only; these are the ones that callers tell apart.
_KNOWN: Final = (errno.ENOENT, errno.EEXIST, errno.EPERM, errno.EBUSY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOMEM)


class Nftables:
    """A context of libnftables for the caller's network namespace. Close it, or use it with `with`."""

    def __init__(self, library: Any, context: Any) -> None:
        """See `open`."""
        self._library = library
        self._context = context
        self._lock = allocate_lock()

    @classmethod
    def open(cls) -> Self:
        """Loads the library. Raises OSError ENOSYS when the machine has none (package libnftables1)."""
        import ctypes

        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise OSError(errno.ENOSYS, f"nftables: {LIBRARY} cannot be loaded: {error}") from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
        library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        for getter in (library.nft_ctx_get_output_buffer, library.nft_ctx_get_error_buffer):
            getter.restype = ctypes.c_char_p
            getter.argtypes = [ctypes.c_void_p]
        context = library.nft_ctx_new(0)
        if not context:
            raise OSError(errno.ENOMEM, "nftables: no context")
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        return cls(library, context)

    def close(self) -> None:
        """Frees the context. Idempotent."""
        with self._lock:
            if self._context:
                self._library.nft_ctx_free(self._context)
            self._context = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def apply(self, text: str) -> None:
        """Runs nft commands as one transaction: all or nothing. Raises OSError with nft's words and, where known, its errno."""
        self._run(text, 0)

    def list_json(self, command: str) -> list[dict[str, Any]]:
        """What `nft -j -a COMMAND` answers, a list of objects. Raises OSError (ENOENT: no such table, chain, set)."""
        from json import loads  # late: only programs with rules of their own to compare ask for lists

        output = self._run(command, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE)
        return list(loads(output)["nftables"]) if output else []

    def _run(self, text: str, output_flags: int) -> bytes:
        trace.step("nft", text)
        with self._lock:
            if not self._context:
                raise OSError(errno.EBADF, "nftables: the context is closed")
            self._library.nft_ctx_output_set_flags(self._context, output_flags)
            failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            problem: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            raise _failure(problem.decode(errors="replace"))
        return output


def apply(text: str) -> None:
    """One transaction with a context of its own, for a process that does it once."""
    with Nftables.open() as nft:
        nft.apply(text)


def generation(socket: Socket) -> int:
    """The number of the ruleset's generation: it changes with every change that anybody makes in this namespace.

    `socket` is of NETLINK_NETFILTER.
    """
    kind = _NFNL_SUBSYS_NFTABLES << 8 | _NFT_MSG_GETGEN
    answer = socket.get(Request(kind=kind, flags=0, body=bytes(4), subject="nftables generation"))
    return int(struct.unpack("!I", attributes(answer.body[4:])[_NFTA_GEN_ID])[0])


def open_netfilter() -> Socket:
    """A socket of NETLINK_NETFILTER."""
    return Socket.open(NETLINK_NETFILTER)


def _failure(problem: str) -> OSError:
    first = next((line for line in problem.splitlines() if "rror" in line), problem.strip() or "unknown failure")
    number = next((code for code in _KNOWN if os.strerror(code) in first), errno.EINVAL)
    return OSError(number, f"nftables: {first.removeprefix('Error: ')}")
