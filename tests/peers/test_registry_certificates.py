"""Registries with certificates of their own: certs.d, client certificates, --insecure-registry; by each client, in dockerd's words."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import docker as sdk
import pytest
from certificates import Authority
from clients import CLIENTS, WHERRY
from docker_registry import SECRET, serve
from real_dockerd import dockerd
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_dockerd import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              *(pytest.mark.skipif(shutil.which(one) is None, reason=f"needs {one}") for one in ("docker-registry", "openssl", "dockerd"))]
HERE = "10.99.0.1"  # no loopback address: those may always be insecure
OWN, MUTUAL, OTHER, EXPIRED, PLAIN, INSECURE = (f"{HERE}:{port}" for port in range(5441, 5447))
TRUST = Path("/etc/docker/certs.d")
each_client = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    """The registries run, and /etc/docker is this test's own."""
    with tempfile.TemporaryDirectory(prefix="wherry-registry-", dir="/var/tmp") as name, contextlib.ExitStack() as running:
        folder = Path(name)
        subprocess.run(["ip", "address", "add", f"{HERE}/32", "dev", "lo"], check=True)
        TRUST.parent.mkdir(exist_ok=True)  # as dockerd does at its start
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", TRUST.parent], check=True)
        ours = Authority(folder, "ours")
        users = f"ann:{SECRET}\n"
        for address, certified, days, more in (
                (OWN, HERE, 1, ""), (MUTUAL, HERE, 1, f", clientcas: [{ours.certificate}]"), (OTHER, "10.99.0.2", 1, ""), (EXPIRED, HERE, 0, ""),
                (PLAIN, "", 1, ""), (INSECURE, HERE, 1, "")):
            certificate, key = ours.sign(f"server-{address}", certified, days) if certified else ("", "")
            process = serve(folder, address, users if address == OWN else "", tls=f"certificate: {certificate}, key: {key}{more}" if certified else "")
            running.callback(process.wait, 10)
            running.callback(process.terminate)
        yield ours
        subprocess.run(["umount", TRUST.parent], check=True)
        subprocess.run(["ip", "address", "delete", f"{HERE}/32", "dev", "lo"], check=True)


@pytest.fixture(scope="module")
def daemons(authority: Authority) -> Iterator[tuple[Dockerd, Wherryd]]:
    flags = ("--bridge=none", "--iptables=false", "--insecure-registry", INSECURE)
    with dockerd(*flags) as real, wherryd(*flags) as ours:
        yield real, ours


@pytest.fixture(autouse=True)
def trust(authority: Authority) -> Iterator[None]:
    """Each test begins without anything in certs.d."""
    shutil.rmtree(TRUST, ignore_errors=True)
    yield
    shutil.rmtree(TRUST, ignore_errors=True)


def place(address: str, **files: Path) -> None:
    """Puts files into a registry's folder, in place of what was there: `ca_crt=…` is `ca.crt`."""
    shutil.rmtree(TRUST / address, ignore_errors=True)
    (TRUST / address).mkdir(parents=True)
    for name, source in files.items():
        shutil.copy(source, TRUST / address / name.replace("_", "."))


@each_client
def test_an_authority_of_one_s_own(daemons: tuple[Dockerd, Wherryd], authority: Authority, client: str, tmp_path: Path) -> None:
    """Not trusted, trusted, and not trusted any more, without a restart; login, push, pull by the same folder."""
    _, daemon = daemons
    config = ("--config", str(tmp_path))
    login = (*config, "login", "-u", "ann", "--password-stdin", OWN)
    unknown = f'Get "https://{OWN}/v2/": x509: certificate signed by unknown authority'
    assert unknown in daemon.docker(*login, client=client, data=b"secret", fails=True)
    place(OWN, ca_crt=authority.certificate)
    assert "401" in daemon.docker(*login, client=client, data=b"wrong", fails=True)
    assert "Login Succeeded" in daemon.docker(*login, client=client, data=b"secret")
    daemon.docker("tag", "busybox", f"{OWN}/app:1", client=client)
    assert "1: digest: sha256:" in daemon.docker(*config, "push", f"{OWN}/app:1", client=client)
    assert "no basic auth credentials" in daemon.docker("--config", str(tmp_path / "none"), "push", f"{OWN}/app:1", client=client, fails=True)
    daemon.docker("rmi", f"{OWN}/app:1", client=client)
    daemon.docker(*config, "pull", f"{OWN}/app:1", client=client)
    place(OWN)
    assert unknown in daemon.docker(*config, "push", f"{OWN}/app:1", client=client, fails=True)
    assert unknown in daemon.docker(*config, "pull", f"{OWN}/app:1", client=client, fails=True)
    daemon.docker("rmi", f"{OWN}/app:1", client=client)


@each_client
def test_a_registry_that_asks_for_a_certificate(daemons: tuple[Dockerd, Wherryd], authority: Authority, client: str) -> None:
    _, daemon = daemons
    daemon.docker("tag", "busybox", f"{MUTUAL}/app:1", client=client)
    push = ("push", f"{MUTUAL}/app:1")
    place(MUTUAL, ca_crt=authority.certificate)
    assert "remote error: tls: bad certificate" in daemon.docker(*push, client=client, fails=True)
    certificate, key = authority.sign("client")
    place(MUTUAL, ca_crt=authority.certificate, client_cert=certificate, client_key=key)
    assert "1: digest: sha256:" in daemon.docker(*push, client=client)
    daemon.docker("rmi", f"{MUTUAL}/app:1", client=client)
    daemon.docker("pull", f"{MUTUAL}/app:1", client=client)
    daemon.docker("rmi", f"{MUTUAL}/app:1", client=client)


def test_the_sdk(daemons: tuple[Dockerd, Wherryd], authority: Authority) -> None:
    _, daemon = daemons
    with contextlib.closing(sdk.DockerClient(daemon.socket)) as client:
        place(OWN, ca_crt=authority.certificate)
        assert client.login("ann", "secret", registry=OWN, dockercfg_path="/nowhere")["Status"] == "Login Succeeded"
        client.images.get("busybox").tag(f"{OWN}/sdk", "1")
        said = client.images.push(f"{OWN}/sdk", "1", auth_config={"username": "ann", "password": "secret"})
        assert '"Digest":"sha256:' in said.replace(" ", "")
        client.images.remove(f"{OWN}/sdk:1")
        client.images.pull(f"{OWN}/sdk", "1", auth_config={"username": "ann", "password": "secret"})
        client.images.remove(f"{OWN}/sdk:1")
        with pytest.raises(sdk.errors.APIError, match="certificate signed by unknown authority"):
            client.images.pull(f"{EXPIRED}/app", "1")


def answers(daemons: tuple[Dockerd, Wherryd], *words: str) -> tuple[str, str]:
    """What dockerd 20.10 and wherryd answer to the same command, which fails."""
    return tuple(subprocess.run(["/usr/bin/docker", "-H", side.socket, *words], capture_output=True, text=True).stderr.strip() for side in daemons)


def test_what_is_refused_is_refused_in_dockerd_s_words(daemons: tuple[Dockerd, Wherryd], authority: Authority) -> None:
    certificate, key = authority.sign("half")
    _, foreign = authority.sign("foreign")
    nonsense = authority.folder / "nonsense"
    nonsense.write_text("nonsense")
    ca = {"ca_crt": authority.certificate}
    for address, files, said in (
        (OWN, {}, "x509: certificate signed by unknown authority"), (OWN, {"ca_crt": nonsense}, "x509: certificate signed by unknown authority"),
        (MUTUAL, ca, "remote error: tls: bad certificate"), (PLAIN, {}, "http: server gave HTTP response to HTTPS client"),
        (MUTUAL, {**ca, "x_cert": certificate}, "missing key x.key for client certificate x.cert"),
        (MUTUAL, {**ca, "x_key": key}, "Missing client certificate x.cert for key x.key"),
        (MUTUAL, {**ca, "x_cert": nonsense, "x_key": key}, "tls: failed to find any PEM data in certificate input"),
        (MUTUAL, {**ca, "x_cert": certificate, "x_key": foreign}, "tls: private key does not match public key"),
    ):
        place(address, **files)
        theirs, ours = answers(daemons, "pull", f"{address}/app:1")
        assert said in theirs
        assert ours == theirs
    # Here dockerd also says which names the certificate has, and which time it is.
    for address, said in ((OTHER, "x509: certificate is "), (EXPIRED, "x509: certificate has expired or is not yet valid")):
        place(address, **ca)
        for one in answers(daemons, "pull", f"{address}/app:1"):
            assert said in one


def test_a_registry_that_may_be_insecure(daemons: tuple[Dockerd, Wherryd]) -> None:
    """Its certificate is not looked at, nor what lies in certs.d for it."""
    (TRUST / INSECURE).mkdir(parents=True)
    (TRUST / INSECURE / "x.cert").write_text("nonsense")
    for side in daemons:
        for words in (("tag", "busybox", f"{INSECURE}/app:1"), ("push", f"{INSECURE}/app:1"), ("rmi", f"{INSECURE}/app:1"), ("pull", f"{INSECURE}/app:1")):
            subprocess.run([WHERRY, "-H", side.socket, *words], check=True, capture_output=True)
