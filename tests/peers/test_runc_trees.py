"""The container's tree beside runc and crun: places that links lead to, a mount over the root, read-only folders in memory, /proc."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, call, configure, needs  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer]
RUNC = pytest.mark.parametrize("runtime", [WHERRY, "runc"], ids=["ours", "runc"])
CRUN = pytest.mark.parametrize("runtime", [WHERRY, "runc", "crun"], ids=["ours", "runc", "crun"])


def run(runtime: str, bundle: Path, mounts: list[dict[str, Any]], script: str) -> tuple[int, str]:
    """What a shell says in a container with further mounts."""
    configure(bundle, "sh", "-c", script)
    document = json.loads((bundle / "config.json").read_text())
    document["mounts"] += mounts
    document["mounts"].sort(key=lambda one: one["destination"] != "/")  # over the root comes first
    (bundle / "config.json").write_text(json.dumps(document))
    return call(runtime, bundle, "run", "tree")


@pytest.fixture(name="root")
def root_without(bundle: Path) -> Path:
    """The rootfs, without what a runtime before has made in it."""
    root = bundle / "rootfs"
    for name in ("made", "link", "below", "m"):
        place = root / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    return root


@CRUN
@pytest.mark.parametrize(("link", "kind"), [("/made/here", "file"), ("../made/here", "file"), ("/made/there", "folder")])
def test_a_dangling_link_is_followed_to_where_it_would_lead(bundle: Path, root: Path, runtime: str, link: str, kind: str) -> None:
    needs(*{runtime} - {WHERRY})
    if runtime == "crun" and kind == "folder":
        pytest.skip("crun follows them for files")
    (root / "below").mkdir()
    (root / "below/link").symlink_to(link)
    source = bundle / kind
    source.write_text("found") if kind == "file" else source.mkdir(exist_ok=True)
    mounts = [{"destination": "/below/link", "source": str(source), "type": "bind", "options": ["bind", "ro"]}]
    place = link.replace("..", "")
    assert run(runtime, bundle, mounts, f"grep -c ' {place} ' /proc/self/mountinfo") == (0, "1\n")


def test_links_that_lead_to_each_other_are_no_place(bundle: Path, root: Path) -> None:
    (root / "link").symlink_to("/made")
    (root / "made").symlink_to("/link")
    mounts = [{"destination": "/link", "source": str(bundle / "config.json"), "type": "bind", "options": ["bind"]}]
    code, text = run(WHERRY, bundle, mounts, "true")
    assert (code, "too many levels of symbolic links" in text) == (1, True)


@RUNC
@pytest.mark.parametrize("options", [["bind"], ["tmpcopyup"]])
def test_what_is_mounted_over_the_root_is_the_root(bundle: Path, root: Path, runtime: str, options: list[str]) -> None:
    needs(*{runtime} - {WHERRY})
    over = bundle / "over"
    if not over.exists():
        shutil.copytree(root, over, symlinks=True)
        (over / "only-here").touch()
    bind = options == ["bind"]
    mounts = [{"destination": "/", "source": str(over), "type": "bind" if bind else "tmpfs", "options": options}]
    script = "ls /only-here 2>/dev/null; grep -c ' / / \\|/over / ' /proc/self/mountinfo; ls /dev/null /proc/1/comm"
    expected = ("/only-here\n" if bind else "") + "1\n/dev/null\n/proc/1/comm\n"
    assert run(runtime, bundle, mounts, script) == (0, expected)


@RUNC
def test_a_read_only_folder_in_memory_holds_what_is_made_in_it(bundle: Path, root: Path, runtime: str) -> None:
    """Devices of a /dev that is read-only, a terminal too, and mounts below another."""
    needs(*{runtime} - {WHERRY})
    assert root.exists()
    tmpfs = {"destination": "/m", "source": "m", "type": "tmpfs", "options": ["ro"]}
    below = {"destination": "/m/below", "source": "below", "type": "tmpfs", "options": []}
    dev = {"destination": "/dev", "source": "dev", "type": "tmpfs", "options": ["ro", "nosuid", "mode=755"]}
    script = ("grep -o '^[a-z]* /\\(dev\\|m\\|m/below\\) tmpfs r.' /proc/mounts; ls /dev/null; touch /m/below/x; "
              "touch /m/x 2>&1; touch /dev/x 2>&1")
    (root / "bin/touch").unlink(missing_ok=True)
    (root / "bin/touch").symlink_to("busybox")
    code, text = run(runtime, bundle, [tmpfs, below], script.replace("/dev tmpfs", "/none"))
    assert (code, "m /m tmpfs ro\nbelow /m/below tmpfs rw\n" in text, text.count("Read-only file system")) == (0, True, 1)
    configure(bundle, "sh", "-c", script)
    document = json.loads((bundle / "config.json").read_text())
    document["mounts"] = [dev if one["destination"] == "/dev" else one for one in document["mounts"]]
    (bundle / "config.json").write_text(json.dumps(document))
    code, text = call(runtime, bundle, "run", "tree")
    assert ("dev /dev tmpfs ro\n" in text, "/dev/null\n" in text, "/dev/x: Read-only file system" in text) == (True, True, True)


@RUNC
@pytest.mark.parametrize("target", ["/nowhere", "/etc"])
def test_a_link_in_place_of_proc_is_named_as_such(bundle: Path, root: Path, runtime: str, target: str) -> None:
    needs(*{runtime} - {WHERRY})
    (root / "proc").rmdir()
    (root / "proc").symlink_to(target)
    try:
        code, text = run(runtime, bundle, [], "true")
    finally:
        (root / "proc").unlink()
        (root / "proc").mkdir()
    assert (code, "must be mounted on ordinary directory" in text) == (1, True)


@RUNC
@pytest.mark.parametrize("flag", ["--no-pivot", "--keep"])
def test_nobody_inside_mounts_a_procfs_without_masks(bundle: Path, root: Path, runtime: str, flag: str) -> None:
    """The kernel lets a new user namespace have a procfs when a bare one is in the mount namespace, be it hidden below the root."""
    needs(*{runtime} - {WHERRY})
    (root / "bin/unshare").unlink(missing_ok=True)
    (root / "bin/unshare").symlink_to("busybox")
    configure(bundle, "sh", "-c", "unshare -mrpf mount -t proc none /proc; echo $?")
    document = json.loads((bundle / "config.json").read_text())
    for kind in ("bounding", "permitted", "effective"):
        document["process"]["capabilities"][kind].append("CAP_SETFCAP")  # to map the root of the new user namespace
    (bundle / "config.json").write_text(json.dumps(document))
    code, text = call(runtime, bundle, "run", flag, "tree")
    call(runtime, bundle, "delete", "--force", "tree")
    assert code == 0
    assert text.splitlines()[-1] == "1"
    assert "permission denied" in text
