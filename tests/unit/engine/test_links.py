"""What links are made of: their notation, and the variables that they add."""

from __future__ import annotations

import pytest

from wherry.engine.links import Link, endpoint_links, links_of, parse, variables
from wherry.engine.model import HostConfig
from wherry.errors import InvalidArgument


@pytest.mark.parametrize(("text", "link"), [
    ("db", Link("db", "db")), ("db:store", Link("db", "store")), ("db:", Link("db", "db")), ("/db:/web/store", Link("db", "store")), ("/db", Link("db", "db")),
])
def test_notation(text: str, link: Link) -> None:
    assert parse(text) == link


@pytest.mark.parametrize(("text", "message"), [("", "empty string"), ("a:b:c", "bad format for links: a:b:c")])
def test_what_is_no_link(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse(text)


def test_they_are_of_the_default_bridge() -> None:
    asked = ("db:store", "other:store", "db:second")
    assert links_of(HostConfig(links=asked)) == (Link("db", "store"), Link("db", "second"))
    assert links_of(HostConfig(links=asked, network_mode="bridge")) == links_of(HostConfig(links=asked))
    assert links_of(HostConfig(links=asked, network_mode="mine")) == ()
    assert endpoint_links(asked) == (("store", "db"), ("store", "other"), ("second", "db"))


def test_variables_without_ports() -> None:
    assert variables("db", "/web/db", "10.0.0.2", (), ("HOME=/", "PATH=/bin", "NO", "A=b=c")) == ("DB_NAME=/web/db", "DB_ENV_A=b=c")


def test_ranges_of_ports() -> None:
    found = variables("my-db", "/web/db", "10.0.0.2", ("83/tcp", "9/udp", "81/tcp", "82/udp", "82/tcp", "99"), ())
    assert found[0] == "MY_DB_PORT=udp://10.0.0.2:9"
    assert [text for text in found if "_START" in text or "_END" in text] == [
        "MY_DB_PORT_81_TCP_START=tcp://10.0.0.2:81", "MY_DB_PORT_81_TCP_PORT_START=81", "MY_DB_PORT_81_TCP_END=tcp://10.0.0.2:83",
        "MY_DB_PORT_81_TCP_PORT_END=83"]
    assert "MY_DB_PORT_99_TCP=tcp://10.0.0.2:99" in found
    assert "MY_DB_PORT_82_UDP_PROTO=udp" in found
