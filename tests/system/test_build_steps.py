"""Builds on a real store, with a house that runs commands by chroot: steps, cache, layers, errors. The engine's own RUN is tested with it."""

from __future__ import annotations

import io
import json
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import busybox_image
import pytest

from wherry.build.errors import DockerfileError, StepFailed
from wherry.build.host import BuildOptions, RunRequest
from wherry.build.solve import Build, BuildStores
from wherry.build.tree import Tree
from wherry.errors import Cancelled, NotFound
from wherry.oci.reference import parse_reference
from wherry.store.images import ImageStore
from wherry.store.imagetar import ImageArchive
from wherry.store.layers import LayerStore
from wherry.store.mounts import ContainerLayers
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wherry.store.images import Image

pytestmark = pytest.mark.root
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"


class House:
    """Runs commands in the mounted tree by chroot."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.requests: dict[str, RunRequest] = {}
        self.asked: list[str] = []

    def image(self, name: str, platform: object, *, pull: bool) -> Image:
        self.asked.append(name)
        return self._world.images.get(self._world.references.lookup(parse_reference(name)))

    def create(self, request: RunRequest) -> str:
        container = secrets.token_hex(32)
        self._world.mounts.create(container, self._world.images.get(request.image_id).config.chain_id)
        self.requests[container] = request
        return container

    def run(self, container_id: str, output: Callable[[int, bytes], None]) -> int:
        config = self.requests[container_id].config
        root = self._world.mounts.mount(container_id)
        try:
            environment = dict(one.split("=", 1) for one in config["Env"])
            done = subprocess.run([CHROOT, root, *config["Cmd"]], env=environment, capture_output=True)
        finally:
            self._world.mounts.unmount(container_id)
        output(1, done.stdout)
        output(2, done.stderr)
        return done.returncode

    def release(self, container_id: str) -> None:
        self.requests.pop(container_id)
        self._world.mounts.remove(container_id)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = DataRoot.open(str(folder / "root"))
        self.layers = LayerStore(self.root)
        self.images = ImageStore(self.root, self.layers)
        self.references = ReferenceStore(self.root)
        self.mounts = ContainerLayers(self.root, self.layers)
        ImageArchive(self.layers, self.images, self.references).load(io.BytesIO(busybox_image.archive("base:1", Cmd=["old"])))
        self.house = House(self)
        self.said = ""

    def build(self, text: str, files: dict[str, str | bytes] | None = None, **options: Any) -> str:
        context = Path(tempfile.mkdtemp(dir=self.folder))
        for name, content in {"Dockerfile": text, **(files or {})}.items():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            (context / name).write_bytes(content.encode() if isinstance(content, str) else content)
        self.said = ""

        def say(text: str) -> None:
            self.said += text

        build = Build(BuildStores(images=self.images, layers=self.layers, mounts=self.mounts), self.house, BuildOptions(**options), say,
                      lambda: False)
        with Tree(str(context)) as tree:
            return build.run(tree)

    def files(self, image_id: str) -> dict[str, tarfile.TarInfo]:
        """What the topmost layer of an image has."""
        with self.layers.open_tar(self.images.get(image_id).config.chain_id) as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
            return {one.name: one for one in tar.getmembers()}

    def config(self, image_id: str) -> dict[str, Any]:
        return dict(self.images.get(image_id).config.config or {})


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="wherry-build-"))
    world = World(folder)
    yield world
    assert world.mounts.list() == ()
    assert world.house.requests == {}
    world.root.close()
    shutil.rmtree(folder)


def test_everyday_build_and_cache(world: World) -> None:
    text = """FROM base:1
ARG who=world
ENV GREETING="hello $who"
RUN echo "$GREETING" > /greeting
COPY --chown=daemon:staff --chmod=640 a.txt sub/ /data/
WORKDIR /data
EXPOSE 80
CMD ["cat", "/greeting"]
"""
    files = {"a.txt": "a", "sub/inner": "i"}
    image = world.build(text, files)
    lines = world.said.splitlines()
    assert lines[0] == "Step 1/8 : FROM base:1"
    assert lines[-1] == f"Successfully built {image[7:19]}"
    assert " ---> Running in " in world.said
    assert "Removing intermediate container" in world.said
    config = world.config(image)
    assert (config["Cmd"], config["WorkingDir"], config["ExposedPorts"]) == (["cat", "/greeting"], "/data", {"80/tcp": {}})
    assert "GREETING=hello world" in config["Env"]
    history = [one.created_by for one in world.images.get(image).config.history]
    assert history[-1] == '/bin/sh -c #(nop)  CMD ["cat" "/greeting"]'
    assert any(one.startswith("|1 who=world /bin/sh -c echo") for one in history)
    again = world.build(text, files)
    assert again == image
    assert world.said.count(" ---> Using cache") == 7
    changed = world.build(text, {**files, "a.txt": "other"})
    assert changed != image
    assert world.said.count(" ---> Using cache") == 3
    assert world.build(text, files, no_cache=True) != image
    assert " ---> Using cache" not in world.said


def test_owner_and_mode_of_what_is_copied(world: World) -> None:
    image = world.build("FROM base:1\nCOPY --chown=daemon:staff --chmod=640 a.txt /x/a.txt\n", {"a.txt": "a"})
    info = world.files(image)["x/a.txt"]
    assert (info.uid, info.gid, info.mode) == (1, 50, 0o640)
    plain = world.files(world.build("FROM base:1\nCOPY a.txt /x/a.txt\n", {"a.txt": "a"}))["x/a.txt"]
    assert (plain.uid, plain.gid) == (0, 0)


def test_stages_and_copy_between_them(world: World) -> None:
    text = """FROM base:1 AS build
RUN mkdir /out && echo made > /out/result
FROM scratch
COPY --from=build /out/result /result
COPY --from=base:1 /etc/passwd /passwd
COPY --from=0 /out /again
"""
    image = world.build(text)
    assert set(world.files(image)) >= {"again/result"}
    assert len(world.images.get(image).config.diff_ids) == 3
    world.build(text, target="build")
    assert "Step 2/2" in world.said
    with pytest.raises(NotFound, match="failed to reach build target nope in Dockerfile"):
        world.build(text, target="nope")


def test_add_unpacks_local_archives_only(world: World) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        busybox_image._add(tar, "packed/file", b"x")
    image = world.build("FROM base:1\nADD a.tar.gz plain.gz /dst/\n", {"a.tar.gz": out.getvalue(), "plain.gz": b"\x1f\x8b\x08 no"})
    assert {"dst/packed/file", "dst/plain.gz"} <= set(world.files(image))
    copied = world.build("FROM base:1\nCOPY a.tar.gz /dst/\n", {"a.tar.gz": out.getvalue()})
    assert "dst/a.tar.gz" in world.files(copied)


def test_heredocs(world: World) -> None:
    image = world.build("""FROM base:1
ENV v=value
RUN <<EOF
echo one > /one
echo two > /two
EOF
RUN cat <<EOF > /three
text $v
EOF
COPY <<EOF <<"RAW" /docs/
v is $v
EOF
v is $v
RAW
""")
    assert {"docs/EOF", "docs/RAW"} <= set(world.files(image))
    second = world.build("""FROM base:1
RUN <<EOF
[ -n "$PATH" ] && echo yes > /yes
EOF
""")
    assert "yes" in world.files(second)


def test_onbuild_fires_in_the_child_only(world: World) -> None:
    parent = world.build("FROM base:1\nONBUILD COPY f /from-trigger\nONBUILD ENV fired=yes\n")
    world.references.tag(parse_reference("parent:1"), parent)
    child = world.build("FROM parent:1\n", {"f": "x"})
    assert "# Executing 2 build triggers" in world.said
    assert "fired=yes" in world.config(child)["Env"]
    assert not world.config(child).get("OnBuild")


def test_global_argument_in_from_and_overrides(world: World) -> None:
    image = world.build("ARG tag=0\nFROM base:${tag}\nARG tag\nENV got=$tag\n", arguments={"tag": "1", "other": "x"})
    assert "got=1" in world.config(image)["Env"]
    assert "[Warning] One or more build-args [other] were not consumed" in world.said


def test_labels_of_the_request(world: World) -> None:
    image = world.build("FROM base:1\nLABEL a=1 b=1\n", labels={"b": "2"})
    assert world.config(image)["Labels"] == {"a": "1", "b": "2"}


def test_failing_command_says_code_and_line(world: World) -> None:
    with pytest.raises(StepFailed) as caught:
        world.build("FROM base:1\n\nRUN echo before; exit 7\n")
    assert str(caught.value) == "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7 (Dockerfile line 3)"
    assert caught.value.code == 7
    assert "before\n" in world.said
    for container in list(world.house.requests):  # kept, as Docker keeps it, unless --force-rm
        world.house.release(container)
    with pytest.raises(StepFailed):
        world.build("FROM base:1\n\nRUN exit 7\n", force_remove=True)
    assert world.house.requests == {}


@pytest.mark.parametrize(("text", "message"), [
    ("FROM base:1\nCOPY nosuch /x\n", "COPY failed: file not found in build context or excluded by .dockerignore: stat nosuch: file does not exist"),
    ("FROM base:1\nCOPY --from=9 a /x\n", "invalid from flag value 9: index out of bounds"),
    ("FROM base:1\nCOPY --chown=ghost Dockerfile /x\n", "can't find uid for user ghost"),
    ("FROM base:1\nEXPOSE 99999\n", "Invalid containerPort: 99999"),
    ("FROM base:1\nENV a=${b\n", "missing '}'"),
    ("FROM scratch\nRUN x\n", "RUN needs an image"),
])
def test_failing_steps_name_the_line(world: World, text: str, message: str) -> None:
    with pytest.raises(StepFailed, match=r"\(Dockerfile line 2\)$") as caught:
        world.build(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "error", "message"), [
    ("RUN x\n", DockerfileError, "no build stage in current context"),
    ("", Exception, "the Dockerfile (Dockerfile) cannot be empty"),
    ("FROM scratch\n", DockerfileError, "No image was generated"),
    ("FROM base:1\nNOSUCH x\n", DockerfileError, "dockerfile parse error line 2: unknown instruction: NOSUCH"),
])
def test_bad_dockerfiles_change_nothing(world: World, text: str, error: type[Exception], message: str) -> None:
    before = world.images.list()
    with pytest.raises(error) as caught:
        world.build(text)
    assert message in str(caught.value)
    assert world.images.list() == before


def test_missing_dockerfile(world: World) -> None:
    with pytest.raises(NotFound, match="Cannot locate specified Dockerfile: other"):
        world.build("FROM base:1\n", dockerfile="other")


def test_cancelled(world: World) -> None:
    build = Build(BuildStores(images=world.images, layers=world.layers, mounts=world.mounts), world.house, BuildOptions(), lambda _: None,
                  lambda: True)
    context = world.folder / "cancelled"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM base:1\n")
    with Tree(str(context)) as tree, pytest.raises(Cancelled):
        build.run(tree)


def test_whiteouts_reach_the_layer(world: World) -> None:
    image = world.build("FROM base:1\nRUN rm /etc/group\n")
    assert "etc/.wh.group" in world.files(image)


def test_config_is_what_docker_reads(world: World) -> None:
    raw = json.loads(world.images.get(world.build("FROM base:1\nLABEL x=1\n")).raw)
    assert raw["container_config"]["Cmd"] == ["/bin/sh", "-c", "#(nop) ", "LABEL x=1"]
    assert raw["rootfs"]["type"] == "layers"
    assert raw["history"][-1]["empty_layer"] is True
