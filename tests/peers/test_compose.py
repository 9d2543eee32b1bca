"""docker-compose (1.29, Python) on wherryd: a project of two services, built, healthy, linked, scaled, run, stopped and taken down."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wherryd_box import Wherryd

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")]

PROJECT = """
version: "2.4"
services:
  db:
    image: busybox
    command: sh -c 'mkdir -p /data && echo stored > /data/x; exec busybox httpd -f -p 80 -h /data'
    volumes: [data:/data]
    healthcheck: {test: ["CMD", "busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/x"], interval: 1s, retries: 30}
    networks: {back: {aliases: [store]}}
    sysctls: {net.core.somaxconn: 100}
    ulimits: {nofile: {soft: 100, hard: 200}}
    restart: unless-stopped
  web:
    build: {context: ., args: {WORD: given}}
    depends_on: {db: {condition: service_healthy}}
    ports: ["18081:80"]
    links: ["db:database"]
    environment: {PLAIN: "yes"}
    env_file: [words.env]
    networks: [back, front]
    tmpfs: [/run]
    cap_add: [NET_ADMIN]
    logging: {driver: json-file, options: {max-size: 10k}}
    extra_hosts: ["there:192.0.2.1"]
    mem_limit: 64m
    cpus: 0.5
    stop_signal: SIGKILL
    labels: [colour=blue]
volumes: {data: {}}
networks: {back: {ipam: {config: [{subnet: 172.30.0.0/24}]}}, front: {driver: bridge}}
"""
DOCKERFILE = """
FROM busybox
ARG WORD
RUN echo built-$WORD > /index.html
CMD ["busybox", "httpd", "-f", "-p", "80", "-h", "/"]
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with wherryd() as one:
        yield one


def test_a_project(daemon: Wherryd, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(PROJECT)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "words.env").write_text("FROM_FILE=1\n")

    def compose(*words: str) -> str:
        done = subprocess.run(["docker-compose", "-p", "project", *words], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, env={**os.environ, "DOCKER_HOST": daemon.socket})
        assert done.returncode == 0, done.stdout
        return done.stdout

    def names() -> set[str]:
        return {one["Names"][0] for one in daemon.get("/containers/json")[1]}

    up = compose("up", "-d")
    assert "Successfully tagged project_web:latest" in up
    assert names() == {"/project_db_1", "/project_web_1"}
    assert "Up (healthy)" in compose("ps")
    for name in ("db", "store", "database", "project_db_1"):
        assert compose("exec", "-T", "web", "busybox", "wget", "-q", "-O", "-", f"http://{name}/x") == "stored\n"
    with urllib.request.urlopen("http://127.0.0.1:18081/index.html", timeout=30) as page:
        assert page.read() == b"built-given\n"
    assert {"PLAIN=yes", "FROM_FILE=1"} <= set(compose("run", "--rm", "-T", "web", "env").splitlines())
    before = {one["Id"] for one in daemon.get("/containers/json")[1]}
    assert compose("up", "-d").count("is up-to-date") == 2
    assert {one["Id"] for one in daemon.get("/containers/json")[1]} == before  # nothing differs from what was asked for
    compose("up", "-d", "--scale", "db=2")
    assert names() == {"/project_db_1", "/project_db_2", "/project_web_1"}
    assert compose("port", "web", "80") == "0.0.0.0:18081\n"
    assert compose("top").count("busybox httpd") == 3
    compose("pause")
    compose("unpause")
    compose("restart", "-t", "0")
    compose("stop", "-t", "0")
    assert names() == set()
    compose("start")
    assert names() == {"/project_db_1", "/project_db_2", "/project_web_1"}
    compose("down", "-v", "--rmi", "local", "-t", "0")
    assert daemon.get("/containers/json?all=1")[1] == []
    assert {one["Name"] for one in daemon.get("/networks")[1]} == {"bridge", "host", "none"}
    assert not daemon.get("/volumes")[1]["Volumes"]
    assert [one["RepoTags"] for one in daemon.get("/images/json")[1]] == [["busybox:latest"]]
