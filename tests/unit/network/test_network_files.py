"""The texts of hosts, resolv.conf and hostname."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wherry.errors import InvalidArgument
from wherry.network import files
from wherry.network.files import ResolvConf

if TYPE_CHECKING:
    from pathlib import Path

HOST = ResolvConf(nameservers=("127.0.0.53", "192.0.2.1", "fd00::1"), search=("example.org",), options=("edns0",))


def test_hosts() -> None:
    text = files.hosts("web", "example.org", ("172.17.0.2", "10.0.0.2"), ("db:10.0.0.9", "h=host-gateway", "six=[fd00::1]"),
                       (("10.0.0.3", "link alias"),), host_gateway="172.17.0.1")
    lines = text.splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[6:] == ["10.0.0.9\tdb", "172.17.0.1\th", "fd00::1\tsix", "10.0.0.3\tlink alias",
                         "172.17.0.2\tweb.example.org web", "10.0.0.2\tweb.example.org web"]
    assert files.hosts("web", "", ("172.17.0.2",)).endswith("\n172.17.0.2\tweb\n")


@pytest.mark.parametrize("entry", ["nothing", ":10.0.0.1", "name:", "h:host-gateway"])
def test_extra_hosts_that_are_none(entry: str) -> None:
    with pytest.raises(InvalidArgument):
        files.hosts("web", "", (), (entry,))


def test_hostname() -> None:
    assert files.hostname("web") == "web\n"


def test_reading_resolv_conf() -> None:
    text = "# comment\nnameserver 192.0.2.1 # why\nnameserver\ndomain old\nsearch a b\noptions ndots:2\noptions rotate\nsortlist x\n"
    assert files.parse_resolv_conf(text) == ResolvConf(nameservers=("192.0.2.1",), search=("a", "b"), options=("ndots:2", "rotate"))


def test_default_bridge_gets_servers_it_can_reach() -> None:
    assert files.resolv_conf(HOST, embedded=False) == "nameserver 192.0.2.1\nsearch example.org\noptions edns0\n"
    assert files.resolv_conf(ResolvConf(nameservers=("127.0.0.1",)), embedded=False) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    both = ResolvConf(nameservers=("::1", "fd00::53", "192.0.2.1"))
    assert files.resolv_conf(both, embedded=False) == "nameserver 192.0.2.1\n"
    assert files.resolv_conf(both, embedded=False, has_ipv6=True) == "nameserver fd00::53\nnameserver 192.0.2.1\n"


def test_what_is_given_replaces_what_the_host_says() -> None:
    text = files.resolv_conf(HOST, embedded=False, dns=("127.0.0.1", "9.9.9.9"), search=(".",), options=("ndots:5",))
    assert text == "nameserver 127.0.0.1\nnameserver 9.9.9.9\noptions ndots:5\n"


def test_user_networks_get_the_embedded_server() -> None:
    assert files.resolv_conf(HOST, embedded=True) == "nameserver 127.0.0.11\nsearch example.org\noptions edns0 ndots:0\n"
    assert "ndots:0" not in files.resolv_conf(HOST, embedded=True, options=("ndots:3",))
    assert files.upstream_servers(HOST) == HOST.nameservers
    assert files.upstream_servers(HOST, ("9.9.9.9",)) == ("9.9.9.9",)
    assert files.upstream_servers(ResolvConf()) == files.PUBLIC_SERVERS


@pytest.mark.parametrize(("etc", "resolved", "text"), [
    ("nameserver 127.0.0.53\n", "nameserver 192.0.2.9\n", "nameserver 192.0.2.9\n"),
    ("nameserver 127.0.0.53\nnameserver 192.0.2.1\n", "nameserver 192.0.2.9\n", "nameserver 127.0.0.53\nnameserver 192.0.2.1\n"),
    ("nameserver 127.0.0.53\n", None, "nameserver 127.0.0.53\n"), (None, None, ""),
])
def test_the_file_behind_the_stub_of_resolved(tmp_path: Path, etc: str | None, resolved: str | None, text: str) -> None:
    for path, content in ((files.RESOLV_CONF, etc), (files.RESOLVED_CONF, resolved)):
        if content is not None:
            place = tmp_path / path.removeprefix("/")
            place.parent.mkdir(parents=True)
            place.write_text(content)
    assert files.read_host(str(tmp_path)) == text
