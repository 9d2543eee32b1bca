"""wherryd's side of the control socket of `wherry-proxy`: finds the running one, or starts it."""

from __future__ import annotations


class ProxyClient:
    """The way to one proxy process, found by its socket `<run_folder>/proxy.sock`. Thread-safe."""

    def __init__(self, run_folder: str, program: tuple[str, ...] = ()) -> None:
        """`program`: how the proxy is started (default: this installation's `wherry-proxy`)."""
        raise NotImplementedError
