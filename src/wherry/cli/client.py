"""The Engine API for the commands: versioned paths, JSON bodies, the daemon's errors, streams, connections taken over.

The version is not asked for beforehand where that can be avoided: the first request goes out under the newest version
we know; a daemon that is older refuses it before doing anything and says in `Api-Version` what it speaks, and the request is
repeated.
"""

from __future__ import annotations

from wherry import __version__
from wherry.cli.http import Connection, ProtocolError
from wherry.cli.jsontext import dumps, loads
from wherry.cli.transport import connect
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from wherry.cli.http import Response, Socket
    from wherry.cli.transport import Endpoint

NEWEST = "1.50"
OLDEST = "1.24"
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


class ApiError(WherryError):
    """The daemon refused; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.status = status
        self.detail = message


class ConnectionFailed(WherryError):
    """No daemon answers."""


def escape(text: str, also: str = "") -> str:
    """Percent-encodes for a path or a query."""
    if all(one in SAFE or one in also for one in text):
        return text
    return "".join(
        chr(byte) if chr(byte) in SAFE or chr(byte) in also else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def encode_query(query: Mapping[str, Any]) -> str:
    """A query in the order of its names; lists repeat the name, None is left out, booleans are 1 and 0."""
    parts = []
    for name in sorted(query):
        value = query[name]
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                text = ("1" if one else "0") if isinstance(one, bool) else str(one)
                parts.append(f"{name}={escape(text)}")
    return "&".join(parts)


def filters_json(pairs: list[tuple[str, str]]) -> str | None:
    """The `filters` parameter: `{"name":{"value":true}}`; None without filters."""
    if not pairs:
        return None
    grouped: dict[str, dict[str, bool]] = {}
    for name, value in pairs:
        grouped.setdefault(name, {})[value] = True
    return dumps({name: dict(sorted(grouped[name].items())) for name in sorted(grouped)}, html=True)


class Client:
    """One daemon. Idle connections are kept and used again."""

    def __init__(
        self, endpoint: Endpoint, *, version: str = "", headers: Mapping[str, str] | None = None, start: Any = None
    ) -> None:
        self.endpoint = endpoint
        self.version = version
        self.pinned = bool(version)
        self._negotiated = bool(version)
        self._start = start
        self._headers = {"User-Agent": f"wherry/{__version__} (linux)", **(headers or {})}
        self._idle: list[Connection] = []
        self.server_header: dict[str, str] = {}

    def _connection(self) -> Connection:
        while self._idle:
            one = self._idle.pop()
            if not one.busy and not one.closed:
                return one
        try:
            try:
                socket = connect(self.endpoint)
            except (FileNotFoundError, ConnectionRefusedError):
                if self._start is None or not self._start():
                    raise
                socket = connect(self.endpoint)
        except OSError as wrong:
            raise ConnectionFailed(self._cannot_connect(wrong)) from None
        return Connection(socket, self.endpoint.host_header)

    def _cannot_connect(self, wrong: OSError) -> str:
        if isinstance(wrong, PermissionError):
            return (
                f"permission denied while trying to connect to the Docker daemon socket at {self.endpoint.url}: "
                f"connect: {(wrong.strerror or str(wrong)).lower()}"
            )
        if isinstance(wrong, FileNotFoundError | ConnectionRefusedError | TimeoutError) or self.endpoint.kind == "unix":
            return f"Cannot connect to the Docker daemon at {self.endpoint.url}. Is the docker daemon running?"
        return f"error during connect: {self.endpoint.url}: {wrong.strerror or wrong}"

    def negotiate(self) -> str:
        """The version to speak, asked for once."""
        if not self._negotiated:
            answer = self._send("HEAD", "/_ping", {}, None)
            if answer.status == 404 or answer.status == 405:
                answer.read()
                answer = self._send("GET", "/_ping", {}, None)
            answer.read()
            self._keep(answer)
            self._learn(answer)
        return self.version

    def _learn(self, answer: Response) -> None:
        offered = answer.headers.get("api-version") or OLDEST
        self.server_header = answer.headers
        self.version = offered if version_key(offered) < version_key(NEWEST) else NEWEST
        self._negotiated = True

    def at_least(self, version: str) -> bool:
        """Whether the version spoken with the daemon is this one or newer."""
        return version_key(self.negotiate()) >= version_key(version)

    def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None) -> Response:
        connection = self._connection()
        try:
            return connection.request(method, self.endpoint.base_path + target, {**self._headers, **headers}, body)
        except (BrokenPipeError, ConnectionResetError, ProtocolError) as wrong:
            connection.close()
            raise ConnectionFailed(f"error during connect: {method} {self.endpoint.url}{target}: {wrong}") from None

    def _keep(self, answer: Response) -> None:
        connection = answer.connection
        if answer.ended and not connection.busy and not connection.closed and connection not in self._idle:
            self._idle.append(connection)

    def done(self, answer: Response) -> None:
        """Takes back the connection of an answer that was read to its end."""
        self._keep(answer)

    def raw(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Sends a request and returns its answer, whatever its status. The caller reads the body."""
        text = encode_query(query or {})
        replayable = body is None or isinstance(body, bytes)
        if not self._negotiated and not replayable:
            self.negotiate()
        target = f"/v{self.version or NEWEST}{path}{'?' + text if text else ''}"
        answer = self._send(method, target, headers or {}, body)
        if not self._negotiated:
            offered = answer.headers.get("api-version", "")
            if answer.status == 400 and offered and version_key(offered) < version_key(NEWEST):
                answer.read()
                self._keep(answer)
                self._learn(answer)
                return self.raw(method, path, query, body, headers)
            self._learn(answer) if offered else None
        return answer

    def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """As `raw`, for answers that are not errors. Raises ApiError."""
        answer = self.raw(method, path, query, body, headers)
        if answer.status >= 400:
            raise self._error(answer)
        return answer

    def _error(self, answer: Response) -> ApiError:
        data = answer.read()
        self._keep(answer)
        message = ""
        if data and answer.headers.get("content-type", "").startswith("application/json"):
            try:
                message = str(loads(data).get("message", ""))
            except (ValueError, AttributeError):
                message = ""
        if not message and data:
            message = data.decode("utf-8", "replace").strip()
        if not message:
            message = (
                f"request returned {answer.reason} for API route and version {self.endpoint.url}, "
                "check if the server supports the requested API version"
            )
        return ApiError(answer.status, message.strip())

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Sends JSON (or nothing) and returns the JSON answer, None for an empty one. Raises ApiError."""
        body = None if json is None else (dumps(json, html=True) + "\n").encode("utf-8", "surrogateescape")
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        answer = self.stream(method, path, query, body, sent)
        data = answer.read()
        self._keep(answer)
        return loads(data) if data.strip() else None

    def get(self, path: str, **query: Any) -> Any:
        """GET as JSON."""
        return self.call("GET", path, query)

    def post(self, path: str, json: Any = None, **query: Any) -> Any:
        """POST as JSON."""
        return self.call("POST", path, query, json)

    def delete(self, path: str, **query: Any) -> Any:
        """DELETE."""
        return self.call("DELETE", path, query)

    def hijack(self, path: str, query: Mapping[str, Any] | None = None, json: Any = None) -> tuple[Socket, bytes, str]:
        """POSTs with an upgrade to a plain stream: the socket, the bytes that came at once, and the media type.

        Raises ApiError.
        """
        body = None if json is None else (dumps(json, html=True) + "\n").encode("utf-8", "surrogateescape")
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json" if body else "text/plain"}
        answer = self.raw("POST", path, query, body, headers)
        if answer.status not in (101, 200):
            raise self._error(answer)
        socket, early = answer.connection.take_over()
        return socket, early, answer.headers.get("content-type", "")


def version_key(version: str) -> tuple[int, ...]:
    """A version as numbers, to compare."""
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))
