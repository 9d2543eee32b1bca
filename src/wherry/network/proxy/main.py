"""The program `wherry-proxy`: with docker-proxy's flags one port, with `--control PATH` all ports and DNS of a wherryd."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = """\
wherry-proxy: serves published ports that NAT cannot serve, and the DNS of networks

Usage:
  wherry-proxy -proto tcp|udp -host-ip IP -host-port PORT -container-ip IP -container-port PORT [-use-listen-fd]
      One port, as docker-proxy: tells its parent through descriptor 3 that it listens (0) or why not (1);
      with -use-listen-fd the socket is descriptor 4.
  wherry-proxy --control PATH
      All ports and DNS of one wherryd, which speaks to it over the Unix socket PATH.
  wherry-proxy --version
"""


def main(argv: Sequence[str]) -> int:
    """Runs the program; its exit status."""
    if not argv or argv[0] in ("-h", "-help", "--help"):
        sys.stdout.write(USAGE)
        return 0 if argv else 2
    if argv[0] in ("-v", "-version", "--version"):
        from wherry import __version__

        sys.stdout.write(f"wherry-proxy version {__version__}\n")
        return 0
    if argv[0] == "--control" and len(argv) == 2:
        from wherry.network.proxy.server import serve as serve_all

        return serve_all(argv[1])
    from wherry.network.proxy.single import UsageError, parse
    from wherry.network.proxy.single import serve as serve_one

    try:
        options = parse(argv)
    except UsageError as error:
        sys.stderr.write(f"{error}\n{USAGE}")
        return 2
    return serve_one(options)
