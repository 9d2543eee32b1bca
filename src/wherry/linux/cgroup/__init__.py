"""Control groups: one interface over cgroup v1 (also hybrid), v2 and systemd's units.

    group = manager("/wherry/<id>")             # or "system.slice:wherry:<id>" with driver="systemd"
    group.create(resources)                     # folders and limits; resources as in the runtime-spec, a dict
    group.join(pid)                             # or clone into group.folder_fd() (v2 only)
    …
    group.kill(); group.remove()

`resources` is always `linux.resources` of the runtime-spec's config, as parsed from JSON. What will be written where is a plan
(`plan_v1`, `plan_v2`: pure); `create` and `set` apply it. A manager made for a cgroup that exists works on it: nothing is kept
in memory.
Failures are `OSError` that name the file.
"""

from wherry.linux.cgroup.manager import Manager, detect, manager

__all__ = ["Manager", "detect", "manager"]
