"""What goes in and out of containers: attach, exec, logs, terminals, cp, export, commit."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import threading

import pytest
from containers_by_api import Api, frames, read_until, until
from wherryd_box import Connection, wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]


@pytest.fixture(scope="module")
def api():
    with wherryd() as daemon:
        yield Api(daemon)


def test_attach_before_the_start_misses_nothing_and_carries_stdin(api) -> None:
    container = api.create("sh", "-c", "echo begin; cat; echo err >&2", OpenStdin=True, StdinOnce=True, AttachStdin=True)
    try:
        with api.hijacked(f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1") as (stream, early):
            api.start(container)
            stream.sendall(b"hello\n")
            stream.shutdown(1)
            data = early
            while piece := stream.recv(65536):
                data += piece
        found = frames(data)
        assert b"".join(piece for kind, piece in found if kind == 1) == b"begin\nhello\n"
        assert b"".join(piece for kind, piece in found if kind == 2) == b"err\n"
        assert api.wait(container) == 0
    finally:
        api.remove(container)


def test_a_large_stream_arrives_whole(api) -> None:
    size = 20 << 20
    container = api.create("cat", OpenStdin=True, StdinOnce=True, host={"LogConfig": {"Type": "none"}})
    try:
        with api.hijacked(f"/containers/{container}/attach?stream=1&stdin=1&stdout=1") as (stream, early):
            api.start(container)

            def send() -> None:
                stream.sendall(bytes(size))
                stream.shutdown(1)

            sender = threading.Thread(target=send)
            sender.start()
            data = bytearray(early)
            while piece := stream.recv(1 << 20):
                data += piece
            sender.join()
        assert sum(len(piece) for _, piece in frames(bytes(data))) == size
        assert "does not support reading" in api.refused("GET", f"/containers/{container}/logs?stdout=1", 501)
    finally:
        api.remove(container)


def test_a_terminal_is_resized_and_left_by_its_keys(api) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    with api.running("sh", "-c", script, Tty=True, OpenStdin=True) as container:
        with api.hijacked(f"/containers/{container}/attach?stream=1&logs=1&stdin=1&stdout=1&detachKeys=ctrl-a,x") as (stream, early):
            got = read_until(stream, b"ready", early)
            api.ask("POST", f"/containers/{container}/resize?h=33&w=77")
            read_until(stream, b"33 77", got)
            stream.sendall(b"\x01x")
            while stream.recv(65536):
                pass
        assert api.state(container)["Running"] is True
        assert api.ask("POST", f"/containers/{container}/attach?detachKeys=foo", status=400) == b"Invalid detach keys (foo) provided\r\n"


def test_exec(api) -> None:
    with api.running(Env=["A=1"], WorkingDir="/tmp") as container:
        assert api.exec(container, "sh", "-c", "echo out; echo err >&2; exit 7")[0] == 7
        assert api.exec(container, "sh", "-c", "echo $A $B; pwd; id -u", Env=["B=2"], User="1", WorkingDir="/etc") == (0, "1 2\n/etc\n1\n")
        code, text = api.exec(container, "sh", "-c", "test -t 1 && echo tty", Tty=True)
        assert (code, text.strip()) == (0, "tty")
        code, text = api.exec(container, "nosuch")
        assert code == 126  # as dockerd 20.10, whatever the reason
        assert text == ('OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": '
                        "executable file not found in $PATH: unknown\r\n")
        made = api.ask("POST", f"/containers/{container}/exec", {"Cmd": ["sh", "-c", "echo x >/tmp/bg; sleep 1000"]}, 201)["Id"]
        api.ask("POST", f"/exec/{made}/start", {"Detach": True})
        until(lambda: api.exec(container, "cat", "/tmp/bg") == (0, "x\n"))
        shown = api.ask("GET", f"/exec/{made}/json")
        assert (shown["Running"], shown["ExitCode"], shown["ContainerID"]) == (True, None, container)
        assert shown["ProcessConfig"]["arguments"] == ["-c", "echo x >/tmp/bg; sleep 1000"]
        assert api.inspect(container)["ExecIDs"] == [made]
        assert "already running" in api.refused("POST", f"/exec/{made}/start", 409, {"Detach": True})
        assert api.refused("POST", f"/containers/{container}/exec", 400, {}) == "No exec command specified"
        assert "matching entries in passwd" in api.exec(container, "true", User="nobody-here")[1]
    ended = api.ask("GET", f"/exec/{made}/json")  # those who were attached still ask for the exit code
    assert (ended["Running"], ended["ExitCode"]) == (False, 137)


def test_exec_with_a_client_that_sends(api) -> None:
    with api.running() as container:
        made = api.ask("POST", f"/containers/{container}/exec", {
            "Cmd": ["sh", "-c", "cat; exit 4"], "AttachStdin": True, "AttachStdout": True}, 201)["Id"]
        with api.hijacked(f"/exec/{made}/start", {}) as (stream, early):
            stream.sendall(b"one\ntwo\n")
            stream.shutdown(1)
            data = early
            while piece := stream.recv(65536):
                data += piece
        assert b"".join(piece for _, piece in frames(data)) == b"one\ntwo\n"
        until(lambda: api.ask("GET", f"/exec/{made}/json")["ExitCode"] == 4)


def test_logs_are_followed_to_the_end(api) -> None:
    with api.running("sh", "-c", "echo 1; sleep 0.3; echo 2; sleep 0.3; echo 3") as container:
        assert api.logs(container, "stdout=1&follow=1") == "1\n2\n3\n"
        assert api.logs(container, "stdout=1&tail=2") == "2\n3\n"
        assert api.logs(container, "stdout=1&since=4000000000") == ""
        assert "at least one stream" in api.refused("GET", f"/containers/{container}/logs", 400)


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid = len(data), 1000, 1001
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def stat_of(api: Api, container: str, path: str) -> dict[str, object]:
    import http.client
    import socket

    connection = http.client.HTTPConnection("x", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(api.daemon.path)
    connection.request("HEAD", f"/containers/{container}/archive?path={path}")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    return json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))


@pytest.mark.parametrize("runs", [True, False])
def test_copying_in_and_out(api, runs, tmp_path) -> None:
    (tmp_path / "secret").write_text("host")
    container = api.create("sleep", "1000", host={"Binds": ["cpvol:/vol"]})
    try:
        if runs:
            api.start(container)
        put = f"/containers/{container}/archive?path="
        assert api.daemon.request("PUT", put + "/tmp", tar_of(a=b"one", b=b"two"))[0] == 200
        assert api.daemon.request("PUT", put + "/vol", tar_of(v=b"in the volume"))[0] == 200
        stat = stat_of(api, container, "/tmp/a")
        assert (stat["name"], stat["size"], stat["mode"], stat["linkTarget"]) == ("a", 3, 0o644, "")
        assert stat_of(api, container, "/bin/sh")["linkTarget"] == "/bin/busybox"
        _, data = api.daemon.request("GET", put + "/tmp")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert sorted(tar.getnames()) == ["tmp", "tmp/a", "tmp/b"]
            assert (tar.getmember("tmp/a").uid, tar.getmember("tmp/a").gid) == (1000, 1001)
        _, data = api.daemon.request("GET", put + "/vol/v")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert tar.extractfile("v").read() == b"in the volume"
        _, data = api.daemon.request("GET", put + "/tmp/.")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert {name.removeprefix("./") for name in tar.getnames()} >= {"a", "b"}
        assert "Could not find the file /nosuch in container" in api.refused("GET", put + "/nosuch", 404)
        assert "not a directory" in api.refused("PUT", put + "/tmp/a", 400, tar_of(x=b""))
        message = api.daemon.request("PUT", put + "/&noOverwriteDirNonDir=1", tar_of(tmp=b"x"))
        assert (message[0], message[1]["message"]) == (400, 'cannot overwrite directory "/tmp" with non-directory "/"')
        # Links of the container lead nowhere outside of it.
        escape = io.BytesIO()
        with tarfile.open(fileobj=escape, mode="w") as tar:
            link = tarfile.TarInfo("way-out")
            link.type, link.linkname = tarfile.SYMTYPE, f"/proc/self/cwd/../../../../../../..{tmp_path}"
            tar.addfile(link)
        assert api.daemon.request("PUT", put + "/tmp", escape.getvalue())[0] == 200
        api.refused("GET", put + "/tmp/way-out/secret", 404)
        api.refused("PUT", put + "/tmp/way-out", 404, tar_of(x=b"y"))
        assert sorted(one.name for one in tmp_path.iterdir()) == ["secret"]
    finally:
        api.remove(container)
        api.ask("DELETE", "/volumes/cpvol", status=204)


def test_a_read_only_container_takes_nothing(api) -> None:
    with api.running(host={"ReadonlyRootfs": True, "Binds": ["/var/tmp:/ro:ro"]}) as container:
        assert "read-only" in api.refused("PUT", f"/containers/{container}/archive?path=/etc", 403, tar_of(x=b"y"))


def test_export_and_commit(api) -> None:
    container = api.create("sh", "-c", "echo new >/new; rm /etc/group", Env=["A=1"])
    try:
        api.start(container)
        api.wait(container)
        status, data = api.daemon.request("GET", f"/containers/{container}/export")
        assert status == 200
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert "new" in tar.getnames()
            assert "etc/group" not in tar.getnames()
        image = api.ask("POST", f"/commit?container={container}&repo=committed&tag=v1&author=me&comment=note&changes=CMD%20%5B%22cat%22%2C%22%2Fnew%22%5D",
                        status=201)["Id"]
        shown = api.ask("GET", "/images/committed:v1/json")
        assert (shown["Id"], shown["Author"], shown["Config"]["Cmd"]) == (image, "me", ["cat", "/new"])
        assert "A=1" in shown["Config"]["Env"]
        assert api.run(Image="committed:v1", Cmd=None) == (0, "new\n")
        assert api.run("ls", "/etc/group", Image="committed:v1")[0] == 1
        assert "is not a valid change command" in api.refused("POST", f"/commit?container={container}&changes=RUN%20x", 400)
    finally:
        api.remove(container)


def test_those_who_attached_or_wait_hear_of_a_removal(api) -> None:
    container = api.create("true")
    waiting = Connection(api.daemon.path)
    waiting.request("POST", f"/containers/{container}/wait?condition=next-exit")
    answer = waiting.getresponse()  # the head comes at once: from here on the waiter is heard
    with api.hijacked(f"/containers/{container}/attach?stream=1&stdout=1") as (stream, early):
        api.ask("DELETE", f"/containers/{container}", status=204)
        assert early + stream.recv(10) == b""
    assert json.loads(answer.read()) == {"StatusCode": 0}
    waiting.close()
