"""containerd's interface: one `.proto` file a package, and the messages that are made of them when wherry is installed.

`wherry.proto.services` has the services of the gRPC API, this folder what they and the events speak of. Both sides use them: the
server (`api/containerd`) and ctr. They need the libraries of the extra `containerd`; `require` says so when they are missing.
"""

from __future__ import annotations

from importlib.util import find_spec

from wherry.errors import Unsupported

_NEEDED = ("grpc", "grpc_health", "google.protobuf", "google.rpc", "wherry.proto.types_pb2")


def require() -> None:
    """Raises Unsupported, naming the extra, where what this API needs is not installed; imports nothing."""
    if missing := [name for name in _NEEDED if not _is_there(name)]:
        raise Unsupported(f"containerd's API needs libraries that are not installed: {', '.join(missing)}",
                          hint="pip install 'wherry[containerd]'")


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:  # not even what it is a part of
        return False
