"""What a handler of the Docker API receives and gives back: requests, responses, streams, hijacks.

A handler is `async def handler(request: Request) -> Answer`. It never sees a socket, except after it has
answered with a `Hijack`. Errors are raised (`wherry.errors`), not returned; `status.py` has their HTTP status.
When the client goes away, the handler's task is cancelled.

    request:   method, path, version asked for, path parameters, query, headers, body (a stream with back-pressure)
    Response   a status and a body that is known
    Stream     a status, then chunks as they come; sent chunked
    Hijack     101 (or 200, for a client that asked for no upgrade), then the connection belongs to the handler

How bytes become these values is `connection.py`'s business, and which handler is called the router's.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, final
from urllib.parse import parse_qsl

import msgspec

from wherry.engine import gojson
from wherry.engine.filters import Filters
from wherry.engine.model import Model
from wherry.errors import InvalidArgument
from wherry.oci.gotext import quote

if TYPE_CHECKING:
    import io

Version = tuple[int, int]
M = TypeVar("M", bound=Model)

MAX_JSON_BYTES = 16 << 20
"""A JSON body is read whole; more than this is refused. The largest known (thousands of labels) are far below."""

JSON = "application/json"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"
MULTIPLEXED_SINCE: Version = (1, 42)

# What Go's httputils.BoolValue of Docker takes for no; everything else that is not empty means yes.
_FALSE = frozenset(("", "0", "no", "false", "none"))
_NUMBER = re.compile("[-+]?[0-9]+")


class Headers:
    """The headers of a message: names compared without case, in the order sent."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._items = tuple((name.lower(), value) for name, value in items)

    def get(self, name: str, default: str = "") -> str:
        """The first value under this name."""
        wanted = name.lower().encode("latin-1")
        for key, value in self._items:
            if key == wanted:
                return value.decode("latin-1")
        return default

    def tokens(self, name: str) -> frozenset[str]:
        """The words of a header that is a comma-separated list, in lower case: `Connection`, `Upgrade`."""
        wanted = name.lower().encode("latin-1")
        joined = b",".join(value for key, value in self._items if key == wanted)
        return frozenset(word.strip().lower() for word in joined.decode("latin-1").split(",") if word.strip())

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((key.decode("latin-1"), value.decode("latin-1")) for key, value in self._items)


class Query:
    """The parameters after `?`, read as dockerd reads them."""

    __slots__ = ("_pairs", "raw")

    def __init__(self, text: str = "") -> None:
        self.raw = text
        self._pairs = parse_qsl(text, keep_blank_values=True) if text else []

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self._pairs)

    def text(self, name: str, default: str = "") -> str:
        """The first value of a parameter."""
        for key, value in self._pairs:
            if key == name:
                return value
        return default

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a parameter that may be given several times."""
        return tuple(value for key, value in self._pairs if key == name)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean: empty, 0, no, false and none are false, anything else is true; `default` where it is not given."""
        return self.text(name).strip().lower() not in _FALSE if name in self else default

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number. Raises InvalidArgument for anything else; an empty value counts as not given."""
        value = self.text(name)
        if not value:
            return default
        if not _NUMBER.fullmatch(value):
            raise InvalidArgument(f"strconv.Atoi: parsing {quote(value)}: invalid syntax")
        return int(value)

    def filters(self, name: str = "filters") -> Filters:
        """The filters of lists, prunes and events. Raises InvalidArgument for JSON of another shape."""
        return Filters.parse(self.text(name))


class Body(Protocol):
    """A request's body, as it arrives. Reading it is what makes the client send more."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks as they come, each at most some 256 KiB."""
        ...

    async def read(self, limit: int = MAX_JSON_BYTES) -> bytes:
        """All of it. Raises InvalidArgument when it is longer than `limit` bytes."""
        ...

    def as_file(self) -> io.RawIOBase:
        """A readable file for code in a worker thread; reading blocks that thread until bytes arrive.

        Only while the handler runs. Reading raises ConnectionResetError when the client has gone, so that a
        half-sent archive never looks like a whole one. Closing it lets the rest of the body be thrown away.
        """
        ...


@final
class Request:
    """One request. `version` and `parameters` are filled in by the router."""

    __slots__ = ("body", "headers", "method", "parameters", "path", "query", "upgrade", "version")

    def __init__(self, method: str, path: str, query: Query, headers: Headers, body: Body) -> None:
        self.method = method
        self.path = path
        """The decoded path, without the version's prefix."""
        self.query = query
        self.headers = headers
        self.body = body
        self.version: Version = (0, 0)
        """The API version asked for, (1, 41) for `/v1.41/…`; the newest one without a prefix."""
        self.parameters: dict[str, str] = {}
        """What stands in the path for `{name}`, percent-decoded."""
        self.upgrade = headers.tokens("upgrade") if "upgrade" in headers.tokens("connection") else frozenset()

    async def json(self, kind: type[M]) -> M:
        """The body as a value, read as Go reads JSON (`engine/gojson.py`): unknown fields are ignored, null is zero.

        Raises InvalidArgument for another content type, no JSON, a wrong type, or something after the value.
        """
        value = await self.optional_json(kind)
        if value is None:
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        return value

    async def optional_json(self, kind: type[M]) -> M | None:
        """Like `json`, but an empty body (or none) is None."""
        raw = await self.body.read()
        media = self.headers.get("content-type").split(";")[0].strip().lower()
        if media != JSON and (raw or media):
            raise InvalidArgument(f"unsupported Content-Type header ({media}): must be 'application/json'")
        return gojson.decode(raw, kind) if raw else None


@final
class Response:
    """An answer whose body is known. 204 and 304 have none."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int = 200, body: bytes = b"", content_type: str = "",
                 headers: Iterable[tuple[str, str]] = ()) -> None:
        self.status = status
        self.body = body
        self.headers = ((("Content-Type", content_type),) if content_type else ()) + tuple(headers)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Response:
        """A body (`engine/model.py`) or plain data that may hold some; a newline follows it, as from dockerd.

        Long lists of plain data are encoded faster by the caller: `Response(200, msgspec.json.encode(…), JSON)`.
        """
        return cls(status, gojson.encode(value) + b"\n", JSON, headers)


@final
class Stream:
    """An answer that comes in chunks. The iterator is closed when the client goes away.

    An error raised by the iterator before its first chunk is answered as an ordinary error; later, the
    connection is broken off, so that a client can see that the answer is not whole.
    """

    __slots__ = ("chunks", "headers", "status")

    def __init__(self, chunks: AsyncIterator[bytes], content_type: str = JSON, status: int = 200,
                 headers: Iterable[tuple[str, str]] = ()) -> None:
        self.chunks = chunks
        self.status = status
        self.headers = (("Content-Type", content_type), *headers)


class Upgraded(msgspec.Struct, frozen=True):
    """What is left of a connection after HTTP.

    fd     a stream socket, non-blocking; the receiver closes it. For TLS and WebSocket it is one end of a socket
           pair, and wherryd goes on translating at the other end
    early  bytes that the client sent behind its request and that were already read: they come first
    """

    fd: int
    early: bytes = b""


@final
class Hijack:
    """The connection leaves HTTP: the head of the answer is written, then `take` is awaited with the socket.

    `take` owns `Upgraded.fd` from then on, also when it fails. The handler validates before it answers with a
    Hijack: afterwards no status can be sent. `websocket=True` (attach/ws only) asks for the WebSocket handshake
    instead of `Upgrade: tcp`; `text` makes the frames towards the client text instead of binary.
    """

    __slots__ = ("content_type", "take", "text", "websocket")

    def __init__(self, take: Callable[[Upgraded], Awaitable[None]], content_type: str = RAW_STREAM, *,
                 websocket: bool = False, text: bool = False) -> None:
        self.take = take
        self.content_type = content_type
        self.websocket = websocket
        self.text = text


Answer = Response | Stream | Hijack
Handler = Callable[[Request], Awaitable[Answer]]


def stream_content_type(request: Request, *, tty: bool) -> str:
    """The media type of attach, exec and logs: `multiplexed-stream` from 1.42 without a terminal, else `raw-stream`."""
    return MULTIPLEXED_STREAM if not tty and request.version >= MULTIPLEXED_SINCE else RAW_STREAM
