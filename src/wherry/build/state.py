"""A stage while it is built: the image so far, its configuration, and what its variables mean.

The configuration is Docker's ContainerConfig as JSON values, because that is what an image carries and what two builds
compare to find out that they mean the same.
"""

from __future__ import annotations

import copy

from wherry.oci.image import History, ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.oci.image import Platform
    from wherry.store.images import Image

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
# Build arguments that need no ARG, reach RUN and are no part of the cache's key.
PROXY_ARGUMENTS = frozenset(name for base in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
                            for name in (base, base.lower()))
_COMPARED = ("AttachStdin", "AttachStdout", "AttachStderr", "User", "OpenStdin", "Tty", "Cmd", "Env", "Labels", "ExposedPorts",
             "Entrypoint", "Volumes")
_EMPTY: Mapping[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": [], "Cmd": None, "Image": "", "Volumes": None,
    "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
}


class Arguments:
    """Build arguments: what was given, what the Dockerfile declares, and which of it was used."""

    def __init__(self, given: Mapping[str, str | None], builtin: Mapping[str, str]) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        self._builtin = builtin
        self._global: dict[str, str] = {}
        self._declared: dict[str, str] = {}
        self._consumed: set[str] = set()

    def new_stage(self) -> None:
        """Forgets what the stage before declared."""
        self._declared = {}

    def declare_global(self, name: str, default: str | None) -> None:
        """An ARG before the first FROM: seen by FROM, and by stages that declare it again."""
        self._consumed.add(name)
        value = self._given.get(name, default if default is not None else self._builtin.get(name))
        if value is not None:
            self._global[name] = value

    def declare(self, name: str, default: str | None) -> None:
        """An ARG inside of a stage."""
        self._consumed.add(name)
        inherited = self._global.get(name, self._builtin.get(name))
        value = self._given.get(name, default if default is not None else inherited)
        if value is not None:
            self._declared[name] = value

    def for_from(self) -> Mapping[str, str]:
        """The variables that FROM sees."""
        return {**self._builtin, **self._global}

    def declared(self) -> Mapping[str, str]:
        """The variables of the stage, by name."""
        return dict(sorted(self._declared.items()))

    def proxies(self) -> Mapping[str, str]:
        """The proxies given that the stage does not declare."""
        return {name: value for name, value in sorted(self._given.items())
                if name in PROXY_ARGUMENTS and name not in self._declared}

    def unused(self) -> tuple[str, ...]:
        """Names that were given and that nothing declared, sorted."""
        return tuple(sorted(set(self._given) - self._consumed - PROXY_ARGUMENTS - set(self._builtin)))


class Stage:
    """The image so far. `image_id` is "" until the first layer or setting of a stage from scratch."""

    def __init__(self, name: str, platform: Platform) -> None:
        self.name = name
        self.platform = platform
        self.image_id = ""
        self.config: dict[str, Any] = copy.deepcopy(dict(_EMPTY))
        self.diff_ids: tuple[str, ...] = ()
        self.history: tuple[History, ...] = ()
        self.author = ""
        self.command_set = False

    def begin_from(self, image: Image) -> tuple[str, ...]:
        """Takes over an image; its ONBUILD triggers, which are not inherited any further."""
        self.image_id = image.id
        self.platform = image.config.platform
        self.config.update(copy.deepcopy(dict(image.config.config or {})))
        self.diff_ids, self.history = image.config.diff_ids, image.config.history
        self.author = image.config.author
        triggers = tuple(self.config.get("OnBuild") or ())
        self.config["OnBuild"] = None
        self.config["Image"] = image.id
        return triggers

    def set_default_path(self) -> None:
        """As Docker: an image without PATH gets one, so that RUN finds its programs."""
        if "PATH" not in self.environment():
            self.set_environment("PATH", DEFAULT_PATH)

    @property
    def shell(self) -> tuple[str, ...]:
        """What runs a shell form."""
        return tuple(self.config.get("Shell") or DEFAULT_SHELL)

    @property
    def working_dir(self) -> str:
        """Where relative paths begin."""
        return self.config.get("WorkingDir") or "/"

    def environment(self) -> dict[str, str]:
        """The ENV variables by name."""
        return dict(entry.partition("=")[::2] for entry in self.config.get("Env") or ())

    def set_environment(self, name: str, value: str) -> None:
        """Sets one in its place, or at the end."""
        self.config["Env"] = [*(self.config.get("Env") or ())]
        for position, entry in enumerate(self.config["Env"]):
            if entry.partition("=")[0] == name:
                self.config["Env"][position] = f"{name}={value}"
                return
        self.config["Env"].append(f"{name}={value}")

    def image_config(self, created: str, command: tuple[str, ...], diff_id: str) -> ImageConfig:
        """The configuration of the image that one more step makes. `diff_id` is "" for a step without a layer."""
        config = copy.deepcopy(self.config)
        entry = History(created=created, created_by=" ".join(command), author=self.author, empty_layer=not diff_id)
        return ImageConfig(
            architecture=self.platform.architecture, variant=self.platform.variant, os=self.platform.os, created=created,
            author=self.author, config=config, diff_ids=(*self.diff_ids, diff_id) if diff_id else self.diff_ids,
            history=(*self.history, entry), unknown={"container_config": {**config, "Cmd": list(command)}})

    def advance(self, image_id: str, config: ImageConfig) -> None:
        """The step was committed, or found in the cache, as this image."""
        self.image_id = image_id
        self.config["Image"] = image_id
        self.diff_ids, self.history = config.diff_ids, config.history


def same_step(config: ImageConfig, wanted: Mapping[str, Any]) -> bool:
    """Whether an image was made by the step whose container configuration is `wanted` (Docker's own comparison)."""
    made = config.unknown.get("container_config")
    if not isinstance(made, dict):
        return False
    return all((made.get(field) or None) == (wanted.get(field) or None) for field in _COMPARED)
