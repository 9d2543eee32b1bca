"""containerd's interface: one `.proto` file a package, and the messages that are made of them when wherry is installed.

`wherry.proto.services` has the services of the gRPC API, this folder what they and the events speak of. Both sides use them: the
server (`api/containerd`) and ctr. They need the libraries of the extra `containerd`; `require` says so when they are missing.
"""

from __future__ import annotations

from wherry.errors import Unsupported


def require() -> None:
    """Imports what this API needs. Raises Unsupported, naming the extra, where it is not installed."""
    try:
        import google.protobuf  # noqa: F401
        import grpc  # noqa: F401
    except ImportError as error:
        raise Unsupported(f"containerd's API needs libraries that are not installed ({error})",
                          hint="pip install 'wherry[containerd]'") from error
