"""Credentials as clients send them: `X-Registry-Auth`, and the body of `POST /auth`."""

from __future__ import annotations

import base64
import binascii
import logging
from typing import TYPE_CHECKING

import msgspec

from wherry.engine import gojson
from wherry.engine.model import Model
from wherry.errors import InvalidArgument
from wherry.registry.endpoint import Credentials

if TYPE_CHECKING:
    from wherry.api.docker.http import Request

log = logging.getLogger("wherry.api")


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
    """The request's `X-Registry-Auth`: JSON in URL-safe base64, with or without padding.

    What is no such thing counts as nobody's, as for dockerd, since old clients send all kinds of nothing here.
    """
    text = request.headers.get("x-registry-auth").strip()
    if not text:
        return Credentials()
    try:
        raw = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))
        return gojson.decode(raw, AuthConfig).credentials()
    except (binascii.Error, InvalidArgument) as error:
        log.warning("the header X-Registry-Auth cannot be read, ignoring it: %s", error)
        return Credentials()
