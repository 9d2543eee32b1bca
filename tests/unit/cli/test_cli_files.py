"""What is read from and written to disk: archives, .dockerignore, contexts, logins, endpoints."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from wherry.build.ignore import Ignore, read_patterns
from wherry.cli.archive.pack import END, Packer
from wherry.cli.archive.paths import CopyEnd, plan, split
from wherry.cli.archive.unpack import unpack
from wherry.cli.command import CommandFailed
from wherry.cli.configfile import ConfigFile
from wherry.cli.contexts import ContextStore, check_name
from wherry.cli.credentials import HUB, erase, login_for, proxy_variables, save
from wherry.cli.endpoint import parse_host, resolve
from wherry.cli.flags import parse
from wherry.cli.main import global_flags
from wherry.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from pathlib import Path


def archive(*members: tuple[str, str, str]) -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}[kind]
            info.linkname = text if kind in ("link", "hard") else ""
            info.size = len(text) if kind == "file" else 0
            info.mode = 0o755 if kind == "dir" else 0o644
            tar.addfile(info, io.BytesIO(text.encode()) if kind == "file" else None)
    return [out.getvalue()]


@pytest.mark.parametrize("members", [
    [("../out", "file", "x")], [("a/../../out", "file", "x")], [("trap", "link", ".."), ("trap/out", "file", "x")],
    [("a", "dir", ""), ("a/trap", "link", "/"), ("a/trap/tmp/out", "file", "x")], [("hard", "hard", "../secret")],
    [("up", "link", ".."), ("hard", "hard", "up/secret")]])
def test_nothing_leaves_the_folder(tmp_path: Path, members: list[tuple[str, str, str]]) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises((InvalidArgument, OSError)):
        unpack(iter(archive(*members)), str(folder))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "secret"]
    assert not (folder / "hard").exists()


def test_absolute_names_stay_inside_and_links_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "name").symlink_to("/etc/passwd")
    unpack(iter(archive(("/name", "file", "new"), ("d", "dir", ""), ("d/l", "link", "../name"))), str(tmp_path))
    assert not (tmp_path / "name").is_symlink()
    assert (tmp_path / "name").read_text() == "new"
    assert os.readlink(tmp_path / "d/l") == "../name"


def test_pack_and_unpack(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    target.mkdir()
    (source / "sub/big").write_bytes(os.urandom(700_001))
    os.link(source / "sub/big", source / "same")
    (source / "link").symlink_to("sub")
    pieces = [*Packer().tree(str(source), "made"), END]
    unpack(iter(pieces), str(target), ("made", "renamed"))
    assert (target / "renamed/sub/big").read_bytes() == (source / "sub/big").read_bytes()
    assert (target / "renamed/same").samefile(target / "renamed/sub/big")
    assert os.readlink(target / "renamed/link") == "sub"


@pytest.mark.parametrize(("patterns", "out", "kept"), [
    ("*.log", ["a.log"], ["sub/a.log"]), ("**/*.log", ["a.log", "sub/deep/a.log"], ["a.txt"]), ("sub", ["sub", "sub/a"], ["subs"]),
    ("*\n!kept", ["a", "b/c"], ["kept", "kept/x"]), ("data/*\n!data/kept", ["data/x"], ["data", "data/kept"]), ("a?c", ["abc"], ["ac", "a/c"]),
    ("[a-c].txt", ["b.txt"], ["d.txt"]), ("/root", ["root"], ["sub/root"]), ("a/**/z", ["a/z", "a/b/c/z"], ["b/z"]), ("**", ["a", "b/c"], []),
    ("# comment\n\n  spaced  ", ["spaced"], ["comment"]), ("x\\*", ["x*"], ["xy"])])
def test_dockerignore(patterns: str, out: list[str], kept: list[str]) -> None:
    ignore = Ignore(read_patterns(patterns))
    assert [path for path in out if not ignore.leaves_out(path)] == []
    assert [path for path in kept if ignore.leaves_out(path)] == []


def test_copy_plans() -> None:
    folder, file, made, nothing = (CopyEnd(path=path, exists=exists, is_folder=is_folder) for path, exists, is_folder in (
        ("/d", True, True), ("/f", True, False), ("/new", False, False), ("/new/", False, False)))
    assert plan(file, folder) == ("/d", None)
    assert plan(file, made) == ("/", ("f", "new"))
    assert plan(folder, made) == ("/", ("d", "new"))
    assert plan(CopyEnd(path="/d/.", exists=True, is_folder=True), made) == ("/", (".", "new"))
    for target, source in ((file, folder), (nothing, file)):
        with pytest.raises(CommandFailed):
            plan(source, target)
    assert split("/a/b/") == ("/a", "b")
    assert split("/") == ("/", "")


def test_contexts_are_dockers(tmp_path: Path) -> None:
    contexts = ContextStore(str(tmp_path))
    contexts.save("far", {"Name": "far", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://far:2376"}}}, {"ca.pem": b"x"})
    assert contexts.names() == ["far"]
    assert (tmp_path / "contexts/meta/fc4dd8c0ad6cb3ddb0a39bc0aa2e8b3c9da5fd4dc7ad5d2e8cf8d3fb9a0a5b3e").exists() is False
    endpoint = contexts.endpoint("far")
    assert endpoint.url == "tcp://far:2376"
    assert endpoint.tls is not None
    assert endpoint.tls.ca.endswith("/docker/ca.pem")
    contexts.remove("far")
    assert contexts.names() == []
    for name in ("", "default", "a", "a b", "-x"):
        with pytest.raises(InvalidArgument):
            check_name(name)


@pytest.mark.parametrize(("text", "url"), [
    ("unix:///x.sock", "unix:///x.sock"), ("/x.sock", "unix:///x.sock"), ("tcp://h", "tcp://h:2375"), ("tcp://h:1", "tcp://h:1"), ("h:1", "tcp://h:1"),
    ("tcp://:99", "tcp://localhost:99"), ("tcp://[::1]:9", "tcp://[::1]:9"), ("ssh://me@far", "ssh://me@far"), ("tcp://h:1/base", "tcp://h:1/base")])
def test_hosts(text: str, url: str) -> None:
    assert parse_host(text) == url


@pytest.mark.parametrize("text", ["npipe:////./pipe/x", "foo://a", "tcp://h:x", "fd://"])
def test_refused_hosts(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_host(text)


def test_which_daemon_is_meant(tmp_path: Path) -> None:
    config = ConfigFile(str(tmp_path))
    ContextStore(str(tmp_path)).save("far", {"Name": "far", "Endpoints": {"docker": {"Host": "tcp://far:1"}}}, {})

    def url(words: list[str], **environment: str) -> str:
        return resolve(parse(global_flags(str(tmp_path)), words)[0], config, environment).url

    assert url([]) == "unix:///run/wherry.sock"
    assert url([], DOCKER_HOST="unix:///a") == "unix:///a"
    assert url(["-H", "unix:///b"], DOCKER_HOST="unix:///a") == "unix:///b"
    assert url(["-c", "far"], DOCKER_HOST="unix:///a") == "tcp://far:1"
    assert url([], DOCKER_CONTEXT="far") == "tcp://far:1"
    assert url([], DOCKER_CONTEXT="far", DOCKER_HOST="unix:///a") == "unix:///a"
    config.values["currentContext"] = "far"
    assert url([]) == "tcp://far:1"
    (tmp_path / "ca.pem").write_text("x")
    endpoint = resolve(parse(global_flags(str(tmp_path)), ["--tlsverify", "-H", "tcp://h"])[0], config, {})
    assert endpoint.url == "tcp://h:2376"
    assert endpoint.tls is not None
    assert endpoint.tls.ca == f"{tmp_path}/ca.pem"


def test_logins_in_the_file_and_by_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ConfigFile(str(tmp_path))
    config.values["other"] = {"kept": 1}
    save(config, "reg:5000", {"username": "me", "password": "se:cret"})
    again = ConfigFile(str(tmp_path))
    assert again.values["other"] == {"kept": 1}
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    assert login_for(again, "reg:5000") == {"username": "me", "password": "se:cret", "serveraddress": "reg:5000"}
    assert login_for(again, "docker.io") == {}
    erase(again, "reg:5000")
    assert login_for(ConfigFile(str(tmp_path)), "reg:5000") == {}
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\nread line\ncase "$1:$line" in\nget:https*) echo \'{"Username":"u","Secret":"s"}\';;\n'
                      'get:gone) echo "credentials not found in native keychain"; exit 1;;\n*) echo broken; exit 1;;\nesac\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    again.values["credsStore"] = "test"
    assert login_for(again, "docker.io") == {"username": "u", "password": "s", "serveraddress": HUB}
    assert login_for(again, "gone") == {}
    with pytest.raises(Unavailable, match="out: `broken`"):
        login_for(again, "else")
    again.values["proxies"] = {"default": {"httpProxy": "p", "noProxy": "n"}}
    assert proxy_variables(again, "unix:///x") == {"HTTP_PROXY": "p", "http_proxy": "p", "NO_PROXY": "n", "no_proxy": "n"}


def test_a_broken_configuration_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{broken")
    said: list[str] = []
    assert ConfigFile(str(tmp_path), said.append).text("x") == ""
    assert said[0].startswith(f"WARNING: Error loading config file: {tmp_path}/config.json: ")
