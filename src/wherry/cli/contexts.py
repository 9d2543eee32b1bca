"""Contexts on disk, in docker's layout: `contexts/meta/<sha256 of the name>/meta.json`, `contexts/tls/<sha256>/docker/*.pem`."""

from __future__ import annotations

import os

from wherry.cli.jsontext import dumps, loads
from wherry.cli.transport import Endpoint, TlsFiles
from wherry.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TLS_NAMES = ("ca.pem", "cert.pem", "key.pem")


def _digest(name: str) -> str:
    from hashlib import sha256

    return sha256(name.encode()).hexdigest()


def check_name(name: str) -> None:
    """Raises InvalidArgument for a name that cannot be a context's."""
    if not name:
        raise InvalidArgument("context name cannot be empty")
    if name == "default":
        raise InvalidArgument('"default" is a reserved context name')
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-"
    if any(one not in allowed for one in name) or not name[0].isalnum() or len(name) < 2:
        raise InvalidArgument(
            f'context name "{name}" is invalid, names are validated against regexp "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"'
        )


class ContextStore:
    """The contexts below one folder of configuration."""

    def __init__(self, folder: str) -> None:
        self.root = f"{folder}/contexts"

    def _meta(self, name: str) -> str:
        return f"{self.root}/meta/{_digest(name)}"

    def tls_folder(self, name: str) -> str:
        """Where the certificates of a context are."""
        return f"{self.root}/tls/{_digest(name)}"

    def meta_folder(self, name: str) -> str:
        """Where the description of a context is."""
        return self._meta(name)

    def get(self, name: str) -> dict[str, Any]:
        """The description. Raises NotFound."""
        path = f"{self._meta(name)}/meta.json"
        try:
            with open(path, "rb") as file:
                found: dict[str, Any] = loads(file.read())
        except FileNotFoundError:
            raise NotFound(f'context "{name}": context not found: open {path}: no such file or directory') from None
        return found

    def names(self) -> list[str]:
        """The names in order, without `default`."""
        found = []
        try:
            folders = os.listdir(f"{self.root}/meta")
        except FileNotFoundError:
            return []
        for folder in folders:
            with open(f"{self.root}/meta/{folder}/meta.json", "rb") as file:
                found.append(str(loads(file.read())["Name"]))
        return sorted(found)

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint that a context describes. Raises NotFound, InvalidArgument."""
        from wherry.cli.endpoint import parse_host

        docker = self.get(name).get("Endpoints", {}).get("docker")
        if not docker or not docker.get("Host"):
            raise InvalidArgument(f'context "{name}" has no docker endpoint')
        files = {one: f"{self.tls_folder(name)}/docker/{one}" for one in TLS_NAMES}
        held = {one: path for one, path in files.items() if os.path.exists(path)}
        skip = bool(docker.get("SkipTLSVerify"))
        tls = (
            TlsFiles(ca=held.get("ca.pem", ""), cert=held.get("cert.pem", ""), key=held.get("key.pem", ""), verify=not skip)
            if held or skip
            else None
        )
        return Endpoint(url=parse_host(docker["Host"], tls is not None), tls=tls)

    def save(self, name: str, meta: dict[str, Any], tls: dict[str, bytes] | None = None) -> None:
        """Writes a context; certificates stay as they are when `tls` is None, and go when it is empty."""
        folder = self._meta(name)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        temporary = f"{folder}/.meta.json.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(dumps(meta))
        os.replace(temporary, f"{folder}/meta.json")
        if tls is None:
            return
        place = f"{self.tls_folder(name)}/docker"
        for one in TLS_NAMES:
            if one in tls:
                os.makedirs(place, mode=0o700, exist_ok=True)
                with open(os.open(f"{place}/{one}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as key:
                    key.write(tls[one])
            elif os.path.exists(f"{place}/{one}"):
                os.unlink(f"{place}/{one}")

    def tls(self, name: str) -> dict[str, bytes]:
        """The certificates that are there, by file name."""
        found = {}
        for one in TLS_NAMES:
            path = f"{self.tls_folder(name)}/docker/{one}"
            if os.path.exists(path):
                with open(path, "rb") as file:
                    found[one] = file.read()
        return found

    def remove(self, name: str) -> None:
        """Removes a context with its certificates."""
        import shutil

        shutil.rmtree(self._meta(name))
        shutil.rmtree(self.tls_folder(name), ignore_errors=True)
