"""Registries by a hosts folder: containerd's hosts.toml, or certificates as docker has them."""

from __future__ import annotations

import pytest

from wherry.ctr.flags import parse
from wherry.ctr.resolver import REGISTRY_FLAGS, access
from wherry.errors import Unsupported
from wherry.transfer import hosts as registries


def hosts(folder, text: str | None, name: str = "r.example:5000"):
    """The hosts to ask for a registry whose folder has such a hosts.toml."""
    place = folder / name
    place.mkdir()
    if text is not None:
        (place / "hosts.toml").write_text(text)
    options, _ = parse(REGISTRY_FLAGS, ("--hosts-dir", str(folder)), {})
    return [host.endpoint for host in registries.hosts(access(options), name)]


def test_hosts_in_order_the_registry_itself_last(tmp_path):
    found = hosts(tmp_path, 'server = "https://own.example"\n[host."http://mirror.example/v2"]\nskip_verify = true\n')
    assert [(one.url, one.verify) for one in found] == [("http://mirror.example", False), ("https://own.example", True)]


@pytest.mark.parametrize(("client", "identities"), [
    ('"a.pem"', (("a.pem", "a.pem"),)),
    ('["a.pem", "b.pem"]', (("a.pem", "a.pem"), ("b.pem", "b.pem"))),
    ('[["a.cert", "a.key"], ["b.pem", ""]]', (("a.cert", "a.key"), ("b.pem", "b.pem"))),
])
def test_a_client_certificate_in_each_of_its_forms(tmp_path, client, identities):
    first = hosts(tmp_path, f'[host."https://mirror.example"]\nca = "ca.crt"\nclient = {client}\n')[0]
    place = tmp_path / "r.example:5000"
    assert first.authorities == (f"{place}/ca.crt",)
    assert first.identities == tuple((f"{place}/{certificate}", f"{place}/{key}") for certificate, key in identities)


@pytest.mark.parametrize("setting", ["override_path = true", '[host."https://m.example".header]\nx = "y"'])
def test_what_is_not_done_is_refused_by_name(tmp_path, setting):
    with pytest.raises(Unsupported, match=r"(override_path|header) of https://m.example in .*/hosts.toml is not supported"):
        hosts(tmp_path, f'[host."https://m.example"]\n{setting}\n')


def test_dockers_certificates(tmp_path):
    place = tmp_path / "r.example_5000_"
    place.mkdir()
    for name in ("ca.crt", "client.cert", "client.key", "note.txt"):
        (place / name).touch()
    options, _ = parse(REGISTRY_FLAGS, ("--hosts-dir", str(tmp_path)), {})
    own, = registries.hosts(access(options), "r.example:5000")
    assert own.endpoint.authorities == (f"{place}/ca.crt",)
    assert own.endpoint.identities == ((f"{place}/client.cert", f"{place}/client.key"),)
