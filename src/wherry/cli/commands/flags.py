"""Options that several commands share, described once."""

from __future__ import annotations

from wherry.cli.command import Flag
from wherry.cli.values import boolean, filter_pair

FORMAT_HELP = (
    "Print by a template of your own:\n'table':            columns with headers (default)\n"
    "'table TEMPLATE':   columns by this Go template\n"
    "'json':             one JSON object per line\n'TEMPLATE':         each item by this Go template"
)
FORMAT = Flag(name="format", kind="string", help=FORMAT_HELP)
INSPECT_FORMAT = Flag(
    name="format",
    short="f",
    kind="string",
    help="Print by a template of your own:\n'json':             as JSON\n'TEMPLATE':         by this Go template",
)
FILTER = Flag(name="filter", short="f", kind="filter", check=filter_pair, help="Show only what meets the condition")
PRUNE_FILTER = Flag(
    name="filter", kind="filter", check=filter_pair, help='Take only what meets the condition (as "until=<timestamp>")'
)
QUIET = Flag(name="quiet", short="q", help="Print identifiers only")
NO_TRUNC = Flag(name="no-trunc", help="Do not cut long values")
FORCE_PRUNE = Flag(name="force", short="f", help="Do not ask first")
DETACH_KEYS = Flag(name="detach-keys", kind="string", help="Keys that leave the container running and end this command")
SIG_PROXY = Flag(name="sig-proxy", default=True, help="Pass signals on to the process")
PLATFORM = Flag(name="platform", kind="string", help="Platform to choose where there are several (as os/arch)")


def untrusted(text: str) -> bool:
    """`--disable-content-trust`: signatures of images are not checked, so false is refused."""
    if not boolean(text):
        raise ValueError("signatures of images (content trust) are not supported by wherry")
    return True


CONTENT_TRUST = Flag(
    name="disable-content-trust", default=True, check=untrusted, help="Do not check signatures of images; wherry knows no others"
)
