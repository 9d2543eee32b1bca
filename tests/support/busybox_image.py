"""Test images made from Debian's busybox-static: a root tree, and a docker-archive of it that any engine loads."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from functools import cache
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\ndaemon:x:1:\nstaff:x:50:daemon\nnogroup:x:65534:\n"


@cache
def rootfs_tar() -> bytes:
    """The tar of a busybox root: bin with every applet, etc, root, tmp, dev, proc, sys, usr."""
    applets = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder, mode in (("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o755), ("root", 0o700),
                             ("sys", 0o755), ("tmp", 0o1777), ("usr", 0o755), ("var", 0o755)):
            _add(tar, folder, kind=tarfile.DIRTYPE, mode=mode)
        _add(tar, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in applets:
            if applet != "busybox":
                _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox", mode=0o777)
        _add(tar, "etc/passwd", PASSWD.encode())
        _add(tar, "etc/group", GROUP.encode())
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size, info.mtime = kind, mode, link, len(data), 1_700_000_000
    tar.addfile(info, io.BytesIO(data))


def archive(reference: str = "busybox:latest", layers: tuple[bytes, ...] = (), **config: object) -> bytes:
    """A docker-archive (`docker load`) of the busybox root with further layers on top; `config` has fields like Cmd and Env."""
    tars = (rootfs_tar(), *layers)
    image = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **config},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(one).hexdigest() for one in tars]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": f"layer {number}"} for number in range(len(tars))],
    }).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        name = hashlib.sha256(image).hexdigest() + ".json"
        _add(tar, name, image)
        for number, one in enumerate(tars):
            _add(tar, f"{number}/layer.tar", one)
        _add(tar, "manifest.json", json.dumps([{
            "Config": name, "RepoTags": [reference], "Layers": [f"{number}/layer.tar" for number in range(len(tars))]}]).encode())
    return out.getvalue()


def unpacked(folder: Path) -> Path:
    """The busybox root as a folder, for bundles."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xC", str(folder)], input=rootfs_tar(), check=True)
    return folder
