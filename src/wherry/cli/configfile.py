"""`config.json`: read where it is needed, and rewritten whole with what we do not know left in place."""

from __future__ import annotations

import os

from wherry.cli.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ConfigFile:
    """The configuration folder and its file, which is read at first use.

    A file that is no JSON is a warning and counts as empty.
    """

    def __init__(self, folder: str, warn: Any = None) -> None:
        self.folder = folder
        self.path = f"{folder}/config.json"
        self._warn = warn
        self._values: dict[str, Any] | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The whole file."""
        if self._values is None:
            self._values = self._read()
        return self._values

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, "rb") as file:
                found = loads(file.read())
            if not isinstance(found, dict):
                raise ValueError("not a JSON object")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as wrong:
            if self._warn is not None:
                self._warn(f"WARNING: Error loading config file: {self.path}: {wrong}")
            return {}
        return found

    def text(self, name: str) -> str:
        """A text, empty when it is not there."""
        found = self.values.get(name)
        return found if isinstance(found, str) else ""

    def table(self, name: str) -> dict[str, Any]:
        """A nested object, empty when it is not there."""
        found = self.values.get(name)
        return found if isinstance(found, dict) else {}

    def save(self) -> None:
        """Replaces the file in one step, readable for the owner alone."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        target = os.path.realpath(self.path)
        temporary = f"{target}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(dumps(dict(sorted(self.values.items())), indent="\t"))
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise


def default_folder(environment: dict[str, str]) -> str:
    """DOCKER_CONFIG, or `.docker` in the home folder."""
    return environment.get("DOCKER_CONFIG") or os.path.join(environment.get("HOME") or os.path.expanduser("~"), ".docker")
