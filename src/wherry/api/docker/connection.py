"""One client's connection: bytes to requests by h11, answers to bytes, one request at a time.

    data_received → h11 → Request → handler (a task) → Response | Stream | Hijack → transport.write

Pipelined requests wait in h11's buffer with the socket unread. What is bounded: the head of a request (HEAD_BYTES, then
431), the time a head may take (HEAD_SECONDS), the body in memory (`body.py`), what is written and not yet taken (the
transport's high-water mark). A connection's end cancels its handler; a half-closed one gets its answers first.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import select
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import h11

from wherry.api.docker.body import IncomingBody
from wherry.api.docker.http import Answer, Headers, Hijack, Query, Request, Response, Stream
from wherry.api.docker.status import error_response
from wherry.errors import WherryError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from wherry.api.docker.upgrade import Transport

HEAD_BYTES = 1 << 20
"""As Go's default; a client with many registries sends some 100 KB of X-Registry-Config."""
HEAD_SECONDS = 60.0
LINGER_SECONDS = 5.0
REST_BYTES = 256 << 10
"""So much of a body that no handler read is read and thrown away, to keep the connection."""
HALF_CLOSED_SECONDS = 10.0
WATCH_SECONDS = 0.5
HTTP2_PREFACE = b"PRI * HTTP/2.0"

log = logging.getLogger("wherry.api")


class Owner(Protocol):
    """Whom a connection serves: the server."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Sent with every answer."""
        ...

    def handle(self, request: Request) -> Awaitable[Answer]:
        """The router."""
        ...

    def at_once(self, method: str, path: str) -> Response | None:
        """An answer that needs neither the request's head and body nor any waiting, if there is one."""
        ...

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        ...

    def closed(self, connection: Connection) -> None:
        """The connection is over, or has left HTTP."""
        ...

    def begun(self) -> None:
        """A request has arrived."""
        ...

    def ended(self) -> None:
        """A request was answered, or given up."""
        ...


class Connection(asyncio.Protocol):
    """A connection until it closes or leaves HTTP."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._transport: Transport
        self._loop = asyncio.get_running_loop()
        self._body: IncomingBody | None = None
        self._task: asyncio.Task[None] | None = None
        self._instant: tuple[str, Response] | None = None  # (method, answer) of a request that needs no task
        self._head_timer: asyncio.TimerHandle | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_fresh = True
        self._is_reading = True
        self._is_half_closed = False
        self._half_closed_until = 0.0
        self._watch_timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._is_lingering = False
        self._has_left = False

    # -- asyncio's calls

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        self._transport = transport
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._is_lingering:
            return
        if self._is_fresh:
            self._is_fresh = False
            if data.startswith(HTTP2_PREFACE):
                self._refuse(505, "HTTP/2 with prior knowledge is not supported: use HTTP/1.1")
                return
        try:
            self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            self._broken(error)
            return
        self._advance()

    def eof_received(self) -> bool:
        """The client will send no more: it is half-closed, or gone. False closes the connection."""
        self._is_half_closed = True
        if self._task is None or self._is_lingering:
            return False
        if self._body is not None:
            self._body.fail()
        self._http.receive_data(b"")
        self._half_closed_until = self._loop.time() + HALF_CLOSED_SECONDS
        self._watch()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over: whoever works for it is told."""
        del error
        self._stop_head_timer()
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        self._is_closing = True
        if self._has_left:
            return
        self._may_write.set()
        if self._body is not None:
            self._body.fail()
        if self._task is not None:
            self._task.cancel()
        self._owner.closed(self)

    def pause_writing(self) -> None:
        """The client does not read: writers wait."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._may_write.set()

    # -- the server's calls

    def shut(self) -> None:
        """Closes the connection: at once when idle, else after the present answer."""
        self._is_closing = True
        if self._task is None:
            self._transport.close()

    def cancel(self) -> None:
        """Ends the connection and the present request, without an answer."""
        self._transport.abort()

    # -- reading

    def _advance(self) -> None:
        """Takes from h11 what has arrived: at most one request's head, and its body so far."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._broken(error)
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                if self._body is not None:
                    self._body.feed(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                if self._body is not None:
                    self._body.end()
                elif self._instant is not None:
                    self._answer_at_once(*self._instant)
            else:
                if event is h11.PAUSED:
                    self._set_reading(False)
                elif event is h11.NEED_DATA and self._task is None and self._http.trailing_data[0]:
                    self._start_head_timer()
                return

    def _begin(self, event: h11.Request) -> None:
        self._stop_head_timer()
        if self._may_write.is_set() and not self._http.they_are_waiting_for_100_continue:
            method = event.method.decode("ascii")
            instant = self._owner.at_once(method, event.target.decode("latin-1"))
            if instant is not None:
                self._instant = (method, instant)
                return
        self._body = IncomingBody(want=self._continue, pause=self._pause, resume=self._resume)
        path, _, query = event.target.decode("latin-1").partition("?")
        if path.startswith("http://"):  # the absolute form, RFC 9112 section 3.2.2
            path = "/" + path[7:].partition("/")[2]
        request = Request(event.method.decode("ascii"), unquote(path), Query(query), Headers(event.headers), self._body)
        self._owner.begun()
        self._task = self._loop.create_task(self._serve(request))

    def _answer_at_once(self, method: str, answer: Response) -> None:
        """Answers without a task, which takes a fifth off the time of a `_ping`."""
        self._instant = None
        self._owner.begun()
        self._send_response(method, answer)
        self._owner.ended()
        if self._is_closing or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._is_closing = True
            self._transport.close()
        else:
            self._http.start_next_cycle()

    def _broken(self, error: h11.RemoteProtocolError) -> None:
        """What came is no HTTP. When somebody is being answered, that answer is finished first."""
        if self._task is None:
            self._refuse(error.error_status_hint, str(error))
            return
        self._is_closing = True
        self._set_reading(False)
        if self._body is not None:
            self._body.fail()

    def _continue(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            self._transport.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")

    def _pause(self) -> None:
        self._set_reading(False)

    def _resume(self) -> None:
        self._set_reading(True)

    def _set_reading(self, wanted: bool) -> None:
        if wanted != self._is_reading and not self._is_half_closed and not self._transport.is_closing():
            self._is_reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # -- answering

    async def _serve(self, request: Request) -> None:
        """Answers one request. No exception passes beyond this."""
        try:
            answer = await self._answer(request)
            if isinstance(answer, Hijack):
                refusal = await self._hijack(request, answer)
                if refusal is None:
                    return
                answer = refusal
            if isinstance(answer, Response) and self._body is not None and not self._body.is_complete:
                await self._absorb(self._body, request)  # a Stream may still read it
            if isinstance(answer, Response):
                self._send_response(request.method, answer)
            else:
                await self._send_stream(request, answer)
            if not self._may_write.is_set():
                await self._drain()
            self._next()
        except (ConnectionError, h11.LocalProtocolError) as error:
            log.debug("%s %s was given up: %s", request.method, request.path, error)
            self._give_up()
        except asyncio.CancelledError:
            self._give_up()
        except Exception:
            log.exception("the answer to %s %s broke off", request.method, request.path)
            self._give_up()
        finally:
            self._owner.ended()

    async def _answer(self, request: Request) -> Answer:
        """The handler's answer, or its error as one."""
        log.debug("Calling %s %s", request.method, request.path)
        try:
            return await self._owner.handle(request)
        except WherryError as error:
            response = error_response(error)
            if response.status >= 500:
                log.error("Handler for %s %s returned error: %s", request.method, request.path, error.message)
            return response
        except Exception as error:
            if self._is_half_closed or self._transport.is_closing():
                raise ConnectionResetError("the client went away") from error
            log.exception("Handler for %s %s failed", request.method, request.path)
            return error_response(error)

    def _send_response(self, method: str, answer: Response) -> None:
        headers = [*self._owner.headers, *answer.headers]
        if answer.status not in (204, 304) and not any(name.lower() == "content-length" for name, _ in answer.headers):
            headers.append(("Content-Length", str(len(answer.body))))
        data = self._head(answer.status, headers)
        if answer.body and method != "HEAD" and answer.status not in (204, 304):
            data += self._http.send(h11.Data(data=answer.body)) or b""
        self._transport.write(data + (self._http.send(h11.EndOfMessage()) or b""))

    async def _send_stream(self, request: Request, answer: Stream) -> None:
        chunks = answer.chunks
        if self._watch_timer is None:
            self._watch_timer = self._loop.call_later(WATCH_SECONDS, self._watch)
        try:
            try:
                chunk = await anext(chunks, b"")
            except ConnectionError:
                raise
            except (WherryError, OSError) as error:  # OSError: a full disk, before the first word of the answer
                if isinstance(error, OSError):
                    log.exception("Handler for %s %s failed", request.method, request.path)
                if self._body is not None and not self._body.is_complete:
                    await self._absorb(self._body, request)
                self._send_response(request.method, error_response(error))
                return
            self._transport.write(self._head(answer.status, [*self._owner.headers, *answer.headers]))
            if request.method != "HEAD":
                await self._send_chunk(chunk)
                async for chunk in chunks:
                    await self._send_chunk(chunk)
            self._transport.write(self._http.send(h11.EndOfMessage()) or b"")
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async def _send_chunk(self, chunk: bytes) -> None:
        if not chunk:
            return
        for piece in self._http.send_with_data_passthrough(h11.Data(data=chunk)) or ():
            self._transport.write(piece)
        if not self._may_write.is_set():
            await self._drain()

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        if self._is_closing or (self._body is not None and not self._body.is_complete):
            headers.append(("Connection", "close"))
        return self._http.send(_response_head(status, tuple(headers))) or b""

    async def _drain(self) -> None:
        await self._may_write.wait()
        if self._transport.is_closing():
            raise ConnectionResetError("the client went away")

    async def _absorb(self, body: IncomingBody, request: Request) -> None:
        """Waits for the rest of a short body that the handler did not want, and throws it away."""
        body.discard()
        length = request.headers.get("content-length")
        waiting = self._http.they_are_waiting_for_100_continue
        if not waiting and not self._is_half_closed and len(length) < 12 and 0 < int(length or "0") <= REST_BYTES:
            await body.wait_complete(LINGER_SECONDS)

    def _next(self) -> None:
        """Makes ready for the next request, or closes."""
        if self._body is not None and not self._body.is_complete:
            self._linger()
            return
        if self._is_closing or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._transport.close()
            return
        self._http.start_next_cycle()
        self._body = self._task = None
        self._set_reading(True)
        self._advance()
        if self._is_half_closed and self._task is None:
            self._transport.close()

    def _give_up(self) -> None:
        if not self._has_left:
            self._transport.abort()

    def _linger(self) -> None:
        """Says no more, and throws away for a while what the client still sends.

        Closing a socket with unread bytes makes the kernel reset the connection, which takes the answer from the client.
        """
        self._is_lingering = self._is_closing = True
        if self._is_half_closed or self._transport.is_closing():
            self._transport.close()
            return
        self._set_reading(True)
        self._transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    def _refuse(self, status: int, message: str) -> None:
        """Answers what is no request at all, and says no more."""
        self._stop_head_timer()
        response = Response.json({"message": message}, status)
        fields = (*self._owner.headers, *response.headers, ("Content-Length", str(len(response.body))),
                  ("Connection", "close"))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        line = f"HTTP/1.1 {status} {reason(status).decode()}\r\n"
        self._transport.write(f"{line}{head}\r\n".encode("latin-1") + response.body)
        self._linger()

    # -- leaving HTTP

    async def _hijack(self, request: Request, answer: Hijack) -> Response | None:
        """Writes the head that ends HTTP here and gives the socket away; or the answer to a handshake that is none."""
        from wherry.api.docker.upgrade import hand_over

        async for _ in request.body:  # so that what has arrived behind it is known to be behind it
            pass
        self._set_reading(False)
        early = bytes(self._http.trailing_data[0])
        self._transport.set_write_buffer_limits(0)  # so that `_may_write` means: all is written
        try:
            accepted = await hand_over(self._transport, self._owner.headers, request, answer, early, self._drain)
        except WherryError as error:
            return error_response(error)
        self._has_left = True
        self._owner.closed(self)
        await answer.take(accepted)
        return None

    # -- time

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self._refuse, 408, "the request's head took too long")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch(self) -> None:
        """Cancels the handler of a client that is gone altogether; looks again while there is a handler.

        A Unix socket tells a closed peer (POLLHUP) from a half-closed one, also while nothing is read because a body's reader
        is slow. TCP tells them apart only when something is written, so a silent handler has some seconds there.
        """
        self._watch_timer = None
        if self._task is None or self._has_left or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        poll = select.poll()
        poll.register(sock.fileno(), 0)
        is_late = self._is_half_closed and self._loop.time() > self._half_closed_until
        if poll.poll(0) or (sock.family != socket.AF_UNIX and is_late):
            self._task.cancel()
        else:
            self._watch_timer = self._loop.call_later(WATCH_SECONDS, self._watch)


@functools.lru_cache(256)
def _response_head(status: int, headers: tuple[tuple[str, str], ...]) -> h11.Response:
    """A head, checked by h11. Most answers have one of a few heads, and checking takes longer than all the rest of them."""
    return h11.Response(status_code=status, headers=list(headers), reason=reason(status))


def reason(status: int) -> bytes:
    """`OK` for 200."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"
