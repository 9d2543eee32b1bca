"""Debian's docker-registry on loopback, open or with a password."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "$2b$05$KICUJ.aMRkbB4jjDNpGfoOfYvT3H41O8pE3V5vklqp1j.jCg0IUHi"  # bcrypt of "secret": docker-registry takes no other kind


def serve(folder: Path, address: str, htpasswd: str = "", auth: str = "", tls: str = "") -> subprocess.Popen[bytes]:
    """Starts one with its data below the folder, and waits until it answers; the caller ends it. `auth` and `tls` are its sections of these names."""
    http = f"addr: {address}" + (f", tls: {{{tls}}}" if tls else "")
    config = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/{address}}}}}\nhttp: {{{http}}}\nlog: {{level: error}}\n"
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        config += f"auth: {{htpasswd: {{realm: here, path: {folder}/htpasswd}}}}\n"
    if auth:
        config += f"auth: {{{auth}}}\n"
    (folder / f"{address}.yml").write_text(config)
    process = subprocess.Popen(["docker-registry", "serve", str(folder / f"{address}.yml")],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        try:
            urllib.request.urlopen(f"http://{address}/v2/").close()
            return process
        except urllib.error.HTTPError as answer:
            answer.close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("docker-registry did not start")
