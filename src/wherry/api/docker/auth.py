"""Credentials as clients send them: `X-Registry-Auth`, and the body of `POST /auth`."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from wherry.engine import gojson
from wherry.engine.model import Model
from wherry.errors import InvalidArgument
from wherry.registry.endpoint import Credentials

if TYPE_CHECKING:
    from wherry.api.docker.http import Request


class AuthConfig(Model, frozen=True):
    """The body; its fields are in lower case in JSON, which is read without regard to case."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    server_address: str = msgspec.field(default="", name="serveraddress")
    identity_token: str = msgspec.field(default="", name="identitytoken")
    registry_token: str = msgspec.field(default="", name="registrytoken")

    def credentials(self) -> Credentials:
        """As the registry room takes them; `auth` is `user:password` in base64."""
        username, password = self.username, self.password
        if self.auth and not username:
            try:
                username, _, password = base64.b64decode(self.auth).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise InvalidArgument("invalid X-Registry-Auth header: auth is not base64 of user:password") from error
        return Credentials(username=username, password=password, identity_token=self.identity_token,
                           registry_token=self.registry_token, server_address=self.server_address)


def credentials_of(request: Request) -> Credentials:
    """The request's `X-Registry-Auth`: JSON in URL-safe base64, with or without padding. None is nobody.

    Raises InvalidArgument for what is no such thing.
    """
    text = request.headers.get("x-registry-auth").strip()
    if not text:
        return Credentials()
    try:
        raw = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("invalid X-Registry-Auth header: must be a valid base64url-encoded string") from error
    if not raw.strip() or raw.strip() == b"null":
        return Credentials()
    try:
        return gojson.decode(raw, AuthConfig).credentials()
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid X-Registry-Auth header: {error.message}") from error
