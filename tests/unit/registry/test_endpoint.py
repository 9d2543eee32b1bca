"""Which addresses are tried for a registry's name."""

from __future__ import annotations

import pytest

from wherry.registry.endpoint import RegistryConfig, endpoints, is_insecure, split_port


@pytest.mark.parametrize(("domain", "expected"), [
    ("localhost:5000", ("localhost", "5000")), ("[::1]:5000", ("[::1]", "5000")), ("quay.io", ("quay.io", "")),
])
def test_split_port(domain: str, expected: tuple[str, str]) -> None:
    assert split_port(domain) == expected


@pytest.mark.parametrize(("domain", "insecure", "expected"), [
    ("localhost:5000", (), True), ("127.3.2.1:5000", (), True), ("[::1]:5000", (), True), ("quay.io", (), False),
    ("registry.lan:5000", ("registry.lan:5000",), True), ("registry.lan:5000", ("registry.lan",), True),
    ("10.1.2.3:5000", ("10.0.0.0/8",), True), ("11.1.2.3:5000", ("10.0.0.0/8",), False), ("evil.lan", ("10.0.0.0/8",), False),
])
def test_is_insecure(domain: str, insecure: tuple[str, ...], expected: bool) -> None:
    assert is_insecure(domain, RegistryConfig(insecure=insecure)) is expected


def test_docker_io_has_mirrors_first_for_pull_only() -> None:
    config = RegistryConfig(mirrors=("https://mirror.lan/", "http://localhost:5001"))
    assert [(one.url, one.mirror, one.verify) for one in endpoints("docker.io", config)] == [
        ("https://mirror.lan", True, True), ("http://localhost:5001", True, False), ("https://registry-1.docker.io", False, True)]
    assert [one.url for one in endpoints("docker.io", config, for_push=True)] == ["https://registry-1.docker.io"]


def test_insecure_falls_back_to_http_and_others_do_not() -> None:
    assert [one.url for one in endpoints("localhost:5000", RegistryConfig())] == ["https://localhost:5000", "http://localhost:5000"]
    assert [(one.url, one.verify) for one in endpoints("quay.io", RegistryConfig())] == [("https://quay.io", True)]
