"""`--platform` as the newer endpoints take it: a JSON object."""

from __future__ import annotations

TYPE_CHECKING = False


def platform_json(text: str) -> str | None:
    """`os/arch/variant` as `{"architecture":…,"os":…}`; None for nothing. Raises CommandFailed."""
    if not text:
        return None
    from wherry.cli.create.container import check_platform
    from wherry.cli.jsontext import dumps

    check_platform(text)
    names = ("os", "architecture", "variant")
    found = dict(zip(names, text.lower().split("/"), strict=False))
    return dumps({name: found[name] for name in ("architecture", "os", "variant") if name in found})
