"""Operations whose whole answer is made in the API's room: `/auth` asks the registry room, `/build/prune` has nothing to free."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from wherry.api.docker.api import router
from wherry.api.docker.http import Headers, Query, Request, Response
from wherry.errors import InvalidArgument, Unauthorized

if TYPE_CHECKING:
    from wherry.registry.endpoint import Credentials


class Transfer:
    """A registry that knows one password."""

    async def check_login(self, credentials: Credentials) -> str:
        if credentials.password != "open sesame":
            raise Unauthorized("login attempt failed")
        return f"token of {credentials.username} at {credentials.server_address}"


class Engine:
    transfer = Transfer()

    def __getattr__(self, name: str) -> Any:
        return self


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, limit: int = 0) -> bytes:
        del limit
        return self._content


def ask(path: str, body: Any = None) -> Any:
    content = b"" if body is None else json.dumps(body).encode()
    headers = Headers([(b"content-type", b"application/json")])
    answer = asyncio.run(router(Engine())(Request("POST", path, Query(), headers, Body(content))))  # type: ignore[arg-type]
    assert isinstance(answer, Response)
    assert answer.status == 200
    return json.loads(answer.body)


def test_auth_asks_the_registry_and_hands_on_its_token() -> None:
    body = {"username": "ali", "password": "open sesame", "email": "", "serveraddress": "registry.example"}
    assert ask("/v1.41/auth", body) == {"Status": "Login Succeeded", "IdentityToken": "token of ali at registry.example"}


def test_auth_takes_user_and_password_in_one() -> None:
    body = {"auth": "YWxpOm9wZW4gc2VzYW1l", "serveraddress": "r"}
    assert ask("/auth", body)["IdentityToken"] == "token of ali at r"


def test_auth_with_a_wrong_password_or_no_body_is_refused() -> None:
    with pytest.raises(Unauthorized):
        ask("/auth", {"username": "ali", "password": "guess"})
    with pytest.raises(InvalidArgument):
        ask("/auth")
    with pytest.raises(InvalidArgument):
        ask("/auth", {"auth": "no base64"})


def test_the_classic_builder_has_no_cache_of_its_own_to_prune() -> None:
    assert ask("/v1.41/build/prune") == {"CachesDeleted": None, "SpaceReclaimed": 0}
