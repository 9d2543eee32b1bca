"""How gRPC is used by whoever speaks containerd's API: settings of its channels, and of the library. Imports nothing of it."""

from __future__ import annotations

import os

# containerd's own bound for messages: listings of many snapshots or images are long.
MESSAGE_BYTES = 16 << 20
# The authority is that of Go's clients on a Unix socket; a containerd that is restarted is found again soon.
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def quieten() -> None:
    """What gRPC reads when it is imported, and never again; who runs the program may have set it otherwise."""
    # Its handlers of fork(2) would only warn: whoever forks in such a process executes another program at once.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
