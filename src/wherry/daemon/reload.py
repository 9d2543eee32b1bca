"""What SIGHUP changes: which settings can be taken over while running, as a pure comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from wherry.daemon.settings import Settings

# dockerd's reloadable settings, as far as they exist here.
OF_DAEMON = ("debug", "log_level")
OF_ENGINE = ("labels", "live_restore", "shutdown_timeout_s", "insecure_registries", "registry_mirrors",
             "max_concurrent_downloads", "max_concurrent_uploads")


def reloaded(present: Settings, fresh: Settings) -> tuple[Settings, list[str], list[str]]:
    """The settings to go on with, the names of what changed, and the names of what would need a new start."""
    daemon = {name: getattr(fresh, name) for name in OF_DAEMON if getattr(fresh, name) != getattr(present, name)}
    engine = {name: getattr(fresh.engine, name) for name in OF_ENGINE
              if getattr(fresh.engine, name) != getattr(present.engine, name)}
    waiting = [name for name in present.__struct_fields__
               if name not in OF_DAEMON and name != "engine" and getattr(fresh, name) != getattr(present, name)]
    waiting += [name for name in present.engine.__struct_fields__
                if name not in OF_ENGINE and getattr(fresh.engine, name) != getattr(present.engine, name)]
    settings = replace(present, **daemon, engine=replace(present.engine, **engine))
    return settings, [*daemon, *engine], waiting
