"""A token server for Debian's docker-registry (`auth: token`): who has the password gets a signed token for what is asked, others for nothing.

Source: the distribution project's «Token Authentication Specification» and «JSON Web Token Authentication».
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ISSUER, SERVICE = "here", "registry"
PASSWORDS = {"ann": "secret"}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """The keys, and what was asked: (user or "", scopes)."""

    def __init__(self, folder: Path) -> None:
        self.key, self.certificate = folder / "token.key", folder / "token.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=here", "-days", "2",
                        "-keyout", str(self.key), "-out", str(self.certificate)], check=True, capture_output=True)
        self.asked: list[tuple[str, list[str]]] = []
        self.url = ""

    def auth(self) -> str:
        """The registry's section `auth`."""
        return f"token: {{realm: {self.url}/token, service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {self.certificate}}}"

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token: everything for who has a password, pulling from `open/…` for everybody."""
        der = subprocess.run(["openssl", "x509", "-in", str(self.certificate), "-outform", "DER"], check=True, capture_output=True).stdout
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            allowed = actions.split(",") if user else ["pull"] if name.startswith("open/") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        body = {"iss": ISSUER, "sub": user, "aud": SERVICE, "exp": now + 300, "nbf": now - 10, "iat": now, "jti": str(now), "access": access}
        text = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(body).encode())}"
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text.encode(), check=True, capture_output=True)
        return f"{text}.{_encode(signed.stdout)}"


@contextlib.contextmanager
def token_server(folder: Path) -> Iterator[TokenServer]:
    """Serves on loopback for the length of the block."""
    one = TokenServer(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            kind, _, given = (self.headers.get("Authorization") or "").partition(" ")
            user, _, password = base64.b64decode(given).decode().partition(":") if kind == "Basic" else ("", "", "")
            scopes = [one for text in query.get("scope", []) for one in text.split(" ")]
            one.asked.append((user, scopes))
            if user and PASSWORDS.get(user) != password:
                self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
            else:
                self._answer(200, {"token": one.token(user, scopes), "expires_in": 300})

        def _answer(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
