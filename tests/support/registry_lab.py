"""Three of Debian's docker-registry on loopback with images in them: open to all, with a password, and with a token server."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import tarfile
import urllib.request
from typing import TYPE_CHECKING

import busybox_image
from docker_registry import SECRET, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from token_server import TokenServer

OPEN, CLOSED, TOKENS = "127.0.0.1:5057", "127.0.0.1:5058", "127.0.0.1:5059"
LAYER_BYTES = 1_500_000


def _layer(name: str) -> bytes:
    """A layer of a file that no compression makes smaller."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        busybox_image._add(tar, name, b"".join(hashlib.sha256(f"{name}{number}".encode()).digest() for number in range(LAYER_BYTES // 32)))
    return out.getvalue()


@contextlib.contextmanager
def registries(folder: Path, tokens: TokenServer) -> Iterator[None]:
    """Runs them for the length of the block. The folder has the image as `app.tar` then, and each registry's data under its address."""
    running = [serve(folder, OPEN), serve(folder, CLOSED, f"ann:{SECRET}\n"), serve(folder, TOKENS, auth=tokens.auth())]
    try:
        _fill(folder)
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait(10)


def _fill(folder: Path) -> None:
    (folder / "app.tar").write_bytes(busybox_image.archive("app:1", (_layer("a"), _layer("b"))))
    creds = ("--dest-creds", "ann:secret")
    for target, options in ((f"{OPEN}/app:1", ()), (f"{OPEN}/app:oci", ("--format", "oci")), (f"{OPEN}/every:1", ()), (f"{OPEN}/every:2", ()),
                            (f"{CLOSED}/private:1", creds), (f"{TOKENS}/open/app:1", creds), (f"{TOKENS}/ours/app:1", creds)):
        copy(f"docker-archive:{folder}/app.tar", f"docker://{target}", "--dest-tls-verify=false", *options)
    # skopeo would not compress again what the registry has already.
    (folder / "other.tar").write_bytes(busybox_image.archive("app:1", (_layer("z"),)))
    copy(f"docker-archive:{folder}/other.tar", f"docker://{OPEN}/other:zstd", "--dest-tls-verify=false", "--format", "oci",
         "--dest-compress-format", "zstd")


def copy(source: str, target: str, *options: str) -> None:
    """`skopeo copy`."""
    subprocess.run(["skopeo", "copy", "-q", *options, source, target], check=True)


def put_manifest(name: str, tag: str, document: dict[str, object], media_type: str) -> None:
    """Puts a manifest of our own into the open registry."""
    request = urllib.request.Request(f"http://{OPEN}/v2/{name}/manifests/{tag}", json.dumps(document).encode(), {"Content-Type": media_type},
                                     method="PUT")
    urllib.request.urlopen(request).close()


def raw_manifest(reference: str) -> bytes:
    return subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}"], check=True, capture_output=True).stdout
