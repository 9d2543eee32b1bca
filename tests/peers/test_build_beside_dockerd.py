"""The same Dockerfiles through dockerd 20.10 and wherryd: what the build says, and what the image is."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from busybox_image import archive
from dockerd_on_root import dockerd
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.root, pytest.mark.peer,
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")]

BASES = (archive("busybox:latest"), archive("triggers:1", OnBuild=["RUN echo triggered > /tmp/t", "ENV ON=build"], Labels={"base": "yes"},
                                            Entrypoint=["/bin/echo"], User="daemon", WorkingDir="/tmp"))


HISTORY = "{{json .CreatedBy}} {{.Comment}} {{if eq .Size \"0B\"}}empty{{end}}"


class Case(NamedTuple):
    """A Dockerfile, the files beside it, and the flags of the build; `fails` where it must."""

    dockerfile: str
    files: Mapping[str, Any] = {}  # never written to
    flags: tuple[str, ...] = ()
    fails: bool = False
    ours: str = ""  # what our failure says, where dockerd's words are the program's insides


def tar(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.mode = 3, 1_600_000_000, 7, 0o640
            archive.addfile(info, io.BytesIO(b"tar"))
    return out.getvalue()


TREE = {"a.txt": "a\n", "b.txt": "b\n", "sub/c.txt": "c\n", "sub/deep/d": "d\n", "run.sh": "#!/bin/sh\necho run\n", "x.tar.gz": tar("in/tar"),
        "link": Path("a.txt"), "sub/out": Path("/etc/passwd"), "not.tar.gz": "no tar\n"}

CASES = {
    "settings": Case("""# a comment
FROM busybox
MAINTAINER someone <some@one>
ENV A=1 B="two words" C=$A
ENV OLD style of setting
LABEL one=1 "two words"='single $A' three="$B"
EXPOSE 80 443/tcp 53/udp 8000-8002
VOLUME /data /notjson]
VOLUME ["/v1", "/v2 x"]
WORKDIR /w
WORKDIR rel/$A
USER daemon:staff
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --retries=4 CMD test -e /x
SHELL ["/bin/sh", "-ec"]
CMD echo "hi $A" && true
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["exec", "\\"form\\""]
ONBUILD RUN echo later
ONBUILD COPY . /x
"""),
    "run": Case("""FROM busybox
RUN echo one > /one; echo said
RUN echo wrong >&2
RUN ["/bin/sh", "-c", "echo exec > /two"]
WORKDIR /work
USER nobody
RUN id -un; pwd; touch /tmp/mine
USER root
RUN echo continued \\
    # a comment inside
    && mkdir -m 700 /secret && ln -s one /link && ln /one /hard
ENV V=x
RUN echo $V ${V}y "$HOME"
SHELL ["/bin/sh", "-euc"]
RUN echo shell
"""),
    "arguments": Case("""ARG BASE=wrong
ARG GLOBAL=global
FROM $BASE AS first
ARG GLOBAL
ARG LOCAL=local
ARG GIVEN
ARG EMPTY
ENV E=${GLOBAL}-${LOCAL:-x}-${EMPTY:-fallback}-${GIVEN:+plus}
RUN echo $GLOBAL $LOCAL $GIVEN $EMPTY $HTTP_PROXY > /args; cat /args
FROM first
RUN echo "[$LOCAL]"
ARG E=argument
RUN echo $E
LABEL l=$E
""", flags=("--build-arg", "BASE=busybox", "--build-arg", "GIVEN=given", "--build-arg", "HTTP_PROXY=http://p", "--build-arg", "UNUSED=1")),
    "stages": Case("""FROM busybox AS base
RUN mkdir /out && echo made > /out/file && ln -s file /out/l && chown 1:1 /out/file
FROM scratch AS Bare
COPY --from=base /out /made/
COPY --from=0 /out/file /one
COPY --from=busybox /etc/passwd /etc/
FROM base
COPY --from=bare /made /copied
RUN ls /copied
"""),
    "target": Case("FROM busybox AS one\nENV A=1\nFROM one AS two\nENV B=2\nFROM nothing AS three\n", flags=("--target", "two")),
    "copy": Case("""FROM busybox
COPY a.txt /a
COPY a.txt b.txt /several/
COPY *.txt /wild/
COPY sub /folder
COPY sub/ /folder2/
COPY [ "a.txt", "/with space" ]
COPY link /linked
WORKDIR /here
COPY run.sh .
COPY run.sh ./renamed
COPY --chown=daemon:staff sub /owned
COPY --chown=5 a.txt /five
COPY --chown=1:2 a.txt /new/parent/file
COPY . /all/
RUN mkdir -p /into/folder && ln -s into /tolink
COPY a.txt /tolink
COPY a.txt /tolink/
COPY a.txt /into/folder
""", TREE),
    "add": Case("""FROM busybox
ADD x.tar.gz /unpacked
ADD x.tar.gz /unpacked2/
ADD not.tar.gz /plain/
ADD not.tar.gz /plainfile
ADD a.txt sub /mixed/
ADD --chown=3:4 x.tar.gz /ownedtar/
""", TREE),
    "ignore": Case("FROM busybox\nCOPY . /all\n", {**TREE, ".dockerignore": "*.txt\n!b.txt\nsub/deep\nDockerfile\n# no\n"}),
    "triggers": Case("FROM triggers:1\nRUN echo mine\nCMD [\"x\"]\n"),
    "entrypoint resets": Case("FROM triggers:1\nENTRYPOINT [\"/bin/other\"]\n"),
    "labels and tags": Case("FROM busybox\nLABEL a=1\n", flags=("--label", "z=1", "--label", "b=two words", "-t", "second:tag")),
    "quiet": Case("FROM busybox\nRUN echo said\n", flags=("-q",)),
    "other file": Case("not a Dockerfile", {"other/Dock": "FROM busybox\nENV X=1\n"}, ("-f", "{context}/other/Dock")),
    "limits": Case("""FROM busybox
RUN ulimit -n; df -k /dev/shm | tail -1 | awk '{print $2}'; grep extra /etc/hosts; cat /sys/fs/cgroup/memory/memory.limit_in_bytes
""", flags=("--ulimit", "nofile=123:456", "--shm-size", "8m", "--add-host", "extra:1.2.3.4", "--memory", "64m", "--network", "none")),
    "volume is discarded": Case("""FROM busybox
RUN mkdir /v && echo before > /v/before
VOLUME /v
RUN echo after > /v/after
RUN ls /v
COPY a.txt /v/copied
RUN ls /v
""", TREE),
    "directives": Case("# escape=`\n# syntax=ignored\nFROM busybox\nRUN echo a `\n  b\nENV P=C:\\x\\y\nCOPY a.txt `\n /there\n", TREE),
    "variables": Case("""FROM busybox
ENV foo=/bar file=a.txt
WORKDIR ${foo}
COPY $file \\$foo
COPY ${file} ${foo}/${none:-dflt}
EXPOSE ${port:-81}
USER ${user:-nobody}
VOLUME $foo/vol
STOPSIGNAL ${sig:-9}
LABEL a="$foo" b='$foo' c=\\$foo d=${foo}
""", TREE),
    "scratch": Case("FROM scratch\nCOPY a.txt /\nENV A=1\nCMD [\"/a.txt\"]\n", TREE),
    "scratch setting": Case("FROM scratch\nENV A=1\nLABEL a=b\n"),
    "only from": Case("FROM busybox\n"),
    "healthcheck none": Case("FROM busybox\nHEALTHCHECK NONE\nHEALTHCHECK CMD [\"a\", \"b\"]\n"),
    # What fails
    "link out": Case("FROM busybox\nCOPY sub/out /outlink\n", TREE, fails=True),
    "no file": Case("FROM busybox\nCOPY missing /x\n", fails=True),
    "no wild": Case("FROM busybox\nCOPY missing* /x\n", fails=True),
    "outside": Case("FROM busybox\nCOPY ../etc /x\n", fails=True),
    "several into file": Case("FROM busybox\nCOPY a.txt b.txt /x\n", TREE, fails=True),
    "failing step": Case("FROM busybox\nRUN echo out; exit 7\n", fails=True),
    "failing exec": Case("FROM busybox\nRUN [\"/bin/false\"]\n", fails=True),
    "no such program": Case("FROM busybox\nRUN [\"/nothing\"]\n", fails=True, ours='exec: "/nothing": stat /nothing: no such file or directory'),
    "unknown instruction": Case("FROM busybox\n\nFOO bar\n", fails=True),
    "no from": Case("RUN x\n", fails=True),
    "empty": Case("", fails=True),
    "only comments": Case("# nothing\n", fails=True),
    "bad flag": Case("FROM busybox\nCOPY --what=x a b\n", fails=True),
    "env without value": Case("FROM busybox\nENV a\n", fails=True),
    "label without =": Case("FROM busybox\nLABEL a=1 b\n", fails=True),
    "copy alone": Case("FROM busybox\nCOPY a.txt\n", fails=True),
    "bad stage name": Case("FROM busybox AS 1x\n", fails=True),
    "from three": Case("FROM busybox AS\n", fails=True),
    "bad from stage": Case("FROM busybox\nCOPY --from=5 a b\n", fails=True),
    "bad target": Case("FROM busybox AS a\n", flags=("--target", "b"), fails=True),
    "bad signal": Case("FROM busybox\nSTOPSIGNAL nope\n", fails=True),
    "bad port": Case("FROM busybox\nEXPOSE x\n", fails=True),
    "bad chown": Case("FROM busybox\nCOPY --chown=nouser a.txt /x\n", TREE, fails=True),
    "chain onbuild": Case("FROM busybox\nONBUILD ONBUILD RUN x\n", fails=True),
    "onbuild from": Case("FROM busybox\nONBUILD FROM x\n", fails=True),
    "shell not json": Case("FROM busybox\nSHELL /bin/sh\n", fails=True),
    "healthcheck bad": Case("FROM busybox\nHEALTHCHECK FOO\n", fails=True),
    "copy over folder": Case("FROM busybox\nRUN mkdir -p /d/a.txt\nCOPY a.txt /d\n", TREE),
    "folder over file": Case("FROM busybox\nCOPY sub /etc/passwd\n", TREE, fails=True, ours="cannot copy to non-directory: /etc/passwd"),
    "unset braces": Case("FROM busybox\nENV a=${b\n", fails=True, ours="failed to process \"${b\": syntax error: missing '}'"),
    "run mount": Case("FROM busybox\nRUN --mount=type=cache,target=/x true\n", fails=True, ours="the --mount option requires BuildKit"),
    "bad user": Case("FROM busybox\nUSER nouser\nRUN true\n", fails=True),
    "scratch run": Case("FROM scratch\nRUN true\n", fails=True, ours="RUN needs an image"),
    "bad tag": Case("FROM busybox\n", flags=("-t", "BAD"), fails=True),
    "bad arg name": Case("FROM busybox\nARG =x\n", fails=True),
    "no dockerfile": Case("x", flags=("-f", "{context}/None"), fails=True),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The sockets of a dockerd and a wherryd that both have the base images."""
    with tempfile.TemporaryDirectory(prefix="wherry-peer-", dir="/var/tmp") as root, dockerd(root) as theirs, wherryd() as ours:
        for image in BASES:
            theirs("load", data=image)
            ours.load(image)
        yield {"dockerd": theirs.socket, "wherryd": ours.socket}


def docker(socket: str, *words: str, data: bytes | None = None) -> tuple[int, str, str]:
    done = subprocess.run(["/usr/bin/docker", "-H", socket, *words], input=data, capture_output=True, env={"DOCKER_BUILDKIT": "0", "PATH": "/bin"})
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def without_lines(text: str) -> str:
    """An error without the line of the Dockerfile, which dockerd names in few of them and wherryd in all."""
    text = re.sub(r"dockerfile parse error( line \d+)?: |failed to parse Dockerfile: ", "", text)
    return re.sub(r" \(Dockerfile line \d+\)", "", text).replace("Unknown flag", "unknown flag")


def without_containers(text: str) -> str:
    """The text of a build without the containers of steps other than RUN: dockerd makes one for each, wherryd none."""
    kept, runs = [], True
    for line in text.split("\n"):
        if line.startswith("Step "):
            runs = " : RUN" in line
        if runs or not line.startswith((" ---> Running in", "Removing intermediate container")):
            kept.append(line)
    return "\n".join(kept)


def normalised(text: str) -> str:
    """Ids by the order of their coming, and digests of sources by a word: they are each builder's own."""
    seen: dict[str, str] = {}

    def by_order(found: re.Match[str]) -> str:
        return seen.setdefault(found[0], f"<{len(seen)}>")

    text = re.sub(r"(--chown=\S+?) ?(file|dir|multi):", r"\1 \2:", text)  # dockerd leaves no space there
    text = re.sub(r"(file|dir|multi):[0-9a-f]{64}", r"\1:<content>", text)
    return re.sub(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b", by_order, text)


def written(folder: Path, case: Case) -> Path:
    for name, content in {"Dockerfile": case.dockerfile, **case.files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def image(socket: str, name: str) -> dict[str, Any]:
    """What an image is: its configuration, its history, and the tree of a container of it."""
    _, text, _ = docker(socket, "inspect", name)
    found = json.loads(text)[0]
    found["Config"].pop("Image")
    _, history, _ = docker(socket, "history", "--no-trunc", "--format", HISTORY, name)
    code, _, wrong = docker(socket, "create", "--name", "look", name, "x")
    assert code == 0, wrong
    done = subprocess.run(["/usr/bin/docker", "-H", socket, "export", "look"], capture_output=True, check=True)
    docker(socket, "rm", "-v", "look")
    tree = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as exported:
        for entry in exported:
            if entry.name.split("/")[0] in ("bin", "dev", "proc", "sys", ".dockerenv") or entry.name in (
                    "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"):
                continue
            file = exported.extractfile(entry) if entry.isreg() else None
            tree[entry.name] = (entry.type, oct(entry.mode & 0o7777), entry.uid, entry.gid, entry.linkname,
                                hashlib.sha256(file.read()).hexdigest() if file else "")
    return {"Config": found["Config"], "Author": found["Author"], "Layers": len(found["RootFS"].get("Layers", ())), "Comment": found["Comment"],
            "ContainerConfig": json.loads(normalised(json.dumps({**found["ContainerConfig"], "Image": "", "Hostname": ""}))),
            "history": normalised(history), "tree": tree}


def differing(ours: Any, theirs: Any) -> Any:
    """What two values differ in, field by field where they are objects."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {key: (ours.get(key), theirs.get(key)) for key in {**ours, **theirs} if (ours.get(key) or None) != (theirs.get(key) or None)}
    return {} if (ours or None) == (theirs or None) else (ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_builds_say_and_make_the_same(both: dict[str, str], tmp_path: Path, name: str) -> None:
    case = CASES[name]
    context = written(tmp_path / "context", case)
    said, images = {}, {}
    for daemon, socket in both.items():
        flags = [flag.replace("{context}", str(context)) for flag in case.flags]
        code, out, wrong = docker(socket, "build", "-t", "built:1", *flags, str(context))
        assert (code != 0) == case.fails, out + wrong
        said[daemon] = code, normalised(without_containers(out)), without_lines(wrong)
        if not case.fails:
            images[daemon] = image(socket, "built:1")
            code, out, wrong = docker(socket, "build", "-t", "built:1", *flags, str(context))
            assert code == 0
            said[daemon] += (normalised(out), wrong)
        elif daemon == "wherryd" and not case.flags and "ockerfile" not in wrong:
            raise AssertionError(f"the line is not named: {wrong}")
    if case.ours:
        assert case.ours in said["wherryd"][2]
        return
    for ours, theirs in zip(said["wherryd"], said["dockerd"], strict=True):
        assert ours == theirs
    if images:
        for field, value in images["dockerd"].items():
            different = differing(images["wherryd"][field], value)
            assert not different, f"{field}: {different}"
