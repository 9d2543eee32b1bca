"""Malformed and hostile archives, sent where archives are taken: nothing outside of the container's or the layer's tree is touched."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from busybox_image import archive
from containers_by_api import Api
from wherryd_box import wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]

TAR = {"Content-Type": "application/x-tar"}


@pytest.fixture(scope="module")
def api():
    with wherryd() as daemon:
        yield Api(daemon)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def hostile(victim: Path) -> dict[str, bytes]:
    """Archives that try to write to, or to link to, a folder of the host."""
    up = "../" * 40 + str(victim)[1:]
    return {
        "absolute": tar_of(entry(f"{victim}/new", data=b"x")),
        "dots": tar_of(entry(f"{up}/new", data=b"x")),
        "symlink": tar_of(entry("way", tarfile.SYMTYPE, str(victim)), entry("way/new", data=b"x")),
        "dotted symlink": tar_of(entry("way", tarfile.SYMTYPE, up), entry("way/new", data=b"x")),
        "hard link": tar_of(entry("mine", tarfile.LNKTYPE, f"{victim}/secret"), entry("mine", data=b"changed")),
        "dotted hard link": tar_of(entry("mine", tarfile.LNKTYPE, f"{up}/secret")),
        "whiteout": tar_of(entry(f"{up}/.wh.secret")),
        "opaque": tar_of(entry(f"{up}/.wh..wh..opq")),
        "deep": tar_of(entry("/".join(["d"] * 10000) + "/x", data=b"x")),
    }


MALFORMED = {
    "truncated": tar_of(entry("a", data=b"x" * 5000))[:3000],
    "checksum": b"a" + b"\0" * 99 + b"0000644\0" + b"7" * 404,
    "no tar": b"this is no archive" * 100,
}


@pytest.fixture
def victim(tmp_path):
    (tmp_path / "secret").write_text("secret")
    yield tmp_path
    assert (tmp_path / "secret").read_text() == "secret"
    assert os.listdir(tmp_path) == ["secret"]
    assert os.stat(tmp_path / "secret").st_nlink == 1


@pytest.mark.parametrize("name", list(hostile(Path("/x"))))
def test_hostile(api, victim, name) -> None:
    """Whether it is taken (inside of the tree) or refused, the host's folder is as it was, and the daemon goes on."""
    data = hostile(victim)[name]
    container = api.create("true")
    for method, path, body in (
        ("PUT", f"/containers/{container}/archive?path=/", data), ("POST", "/images/create?fromSrc=-", data),
        ("POST", "/images/load", archive("hostile", (data,))), ("POST", "/images/load", data), ("POST", "/build", data),
    ):
        status, answer = api.daemon.request(method, path, body, TAR)
        assert status < 500 or answer["message"], (method, path, status, answer)
    api.remove(container)
    assert api.ask("GET", "/_ping", status=200) == b"OK"


@pytest.mark.parametrize("name", list(MALFORMED))
def test_malformed(api, name) -> None:
    """Refused, and no image and no layer is left of it."""
    layers = Path(api.daemon.data_root, "image/overlay2/layerdb/sha256")
    container = api.create("true")
    before = (api.ask("GET", "/images/json?all=1"), sorted(os.listdir(layers)))
    for method, path, body in (
        ("PUT", f"/containers/{container}/archive?path=/", MALFORMED[name]), ("POST", "/images/create?fromSrc=-", MALFORMED[name]),
        ("POST", "/images/load", archive("hostile", (MALFORMED[name],))), ("POST", "/images/load", MALFORMED[name]),
        ("POST", "/build", MALFORMED[name]),
    ):
        status, answer = api.daemon.request(method, path, body, TAR)
        assert status >= 400 or "error" in str(answer), (method, path, status, answer)
    api.remove(container)
    assert (api.ask("GET", "/images/json?all=1"), sorted(os.listdir(layers))) == before
