"""Tokens for registries that ask for them: fetched from the realm a challenge names, kept until shortly before they end.

Source: distribution project, «Token Authentication Specification» and «OAuth2 Token Authentication».
"""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse

from wherry import errors
from wherry.registry import errors as wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.registry.challenge import Challenge
    from wherry.registry.endpoint import Credentials, Endpoint
    from wherry.registry.transport import Transport

CLIENT_ID = "docker"
REFUSED = "unauthorized: incorrect username or password"
# What a token is worth whose answer does not say (the specification's least).
LEAST_LIFE_S = 60.0
# A token is not used in its last seconds: it must be valid when the request arrives.
MARGIN_S = 10.0
ANSWER_BYTES = 1 << 20


def basic(credentials: Credentials) -> str:
    """The value of an Authorization header for a name and a password (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


class Tokens:
    """The tokens of one pull, push or login; safe to share between its threads."""

    def __init__(self, transport: Transport, credentials: Credentials, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self.identity_token = ""
        self._kept: dict[tuple[str, str, str], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def get(self, endpoint: Endpoint, challenge: Challenge, scope: str) -> str:
        """A token for `scope` (`repository:NAME:pull,push`, or several with spaces between).

        Raises Unauthorized, Forbidden or Unavailable as the realm answers.
        """
        if self._credentials.registry_token:
            return self._credentials.registry_token
        realm, service = challenge.get("realm"), challenge.get("service")
        if not realm.startswith(("http://", "https://")):
            raise errors.Unauthorized(f"invalid realm {realm!r} in the registry's challenge")
        key = (realm, service, scope or challenge.get("scope"))
        with self._lock:  # one thread asks, the others wait for its answer
            token, ends = self._kept.get(key, ("", 0.0))
            if token and self._clock() < ends:
                return token
            token, life_s = self._fetch(endpoint, *key)
            self._kept[key] = (token, self._clock() + max(life_s, LEAST_LIFE_S) - MARGIN_S)
            return token

    def _fetch(self, endpoint: Endpoint, realm: str, service: str, scope: str) -> tuple[str, float]:
        who = self._credentials
        if who.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": who.identity_token, "client_id": CLIENT_ID,
                    "service": service, "scope": scope}
            answer = self._transport.send(endpoint, "POST", realm, body=urllib.parse.urlencode(form).encode(),
                                          headers={"Content-Type": "application/x-www-form-urlencoded"})
        else:
            query = [("service", service)] if service else []
            query += [("scope", one) for one in scope.split()]
            headers = {}
            if who.username:
                query += [("account", who.username), ("client_id", CLIENT_ID), ("offline_token", "true")]
                headers["Authorization"] = basic(who)
            separator = "&" if "?" in realm else "?"
            answer = self._transport.send(endpoint, "GET", realm + separator + urllib.parse.urlencode(query), headers=headers)
        try:
            body = answer.read(ANSWER_BYTES)
        finally:
            answer.drain_conn()
            answer.release_conn()
        if answer.status == 401:
            raise errors.Unauthorized(REFUSED)
        if answer.status != 200:
            raise wording.from_response(answer.status, body)
        try:
            fields = json.loads(body)
            token = fields.get("token") or fields["access_token"]
            self.identity_token = str(fields.get("refresh_token") or "")
            return str(token), float(fields.get("expires_in") or LEAST_LIFE_S)
        except (ValueError, LookupError, TypeError, AttributeError) as failure:
            raise errors.Unavailable(f"authorization server {realm} did not include a token in its response") from failure
