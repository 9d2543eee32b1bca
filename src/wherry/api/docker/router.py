"""Which handler answers a request: by method and path, with or without the version's prefix.

    Route("GET", "/containers/{id}/json", handler)
    Route("GET", "/images/{name:path}/json", handler)     a parameter that may contain slashes
    Route("PUT", "/volumes/{name}", handler, since=(1, 42))

Patterns are tried in the order in which the resources list them, as in dockerd; a route with no parameter is found
by a single look-up. A route for GET answers HEAD only where it is listed for HEAD too. A known path with another
method is `page not found`, as from dockerd.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from wherry.api.docker.http import Response
from wherry.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.api.docker.http import Answer, Handler, Request, Version

OLDEST: Version = (1, 24)
NEWEST: Version = (1, 50)

_VERSION = re.compile(r"/v([0-9.]+)(?=/)")
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class Route:
    """One operation of the API. Raises ValueError for a pattern that does not start with a slash."""

    __slots__ = ("at_once", "handler", "method", "pattern", "since")

    def __init__(self, method: str, pattern: str, handler: Handler, *, since: Version = OLDEST,
                 at_once: Response | None = None) -> None:
        """`at_once` is the answer, whatever the request says, where there is such a thing."""
        if not pattern.startswith("/"):
            raise ValueError(f"the route {pattern!r} does not start with a slash")
        self.method = method
        self.pattern = pattern
        self.handler = handler
        self.since = since
        self.at_once = at_once

    def __repr__(self) -> str:
        return f"Route({self.method} {self.pattern})"


class Router:
    """All routes of the API, ready to be asked."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        # With every version's prefix, so that it is found by one look-up.
        self._at_once: dict[tuple[str, str], Response] = {}
        for route in self.routes:
            if "{" in route.pattern:
                self._patterns.append((_compile(route.pattern), route))
            else:
                self._fixed.setdefault((route.method, route.pattern), route)
                if route.at_once is not None:
                    for prefix in ("", *(f"/v{spell((1, minor))}" for minor in range(OLDEST[1], NEWEST[1] + 1))):
                        self._at_once[route.method, prefix + route.pattern] = route.at_once

    async def __call__(self, request: Request) -> Answer:
        """Fills in the request's version and parameters and calls the handler.

        A path that is not clean is sent on to the clean one.
        """
        if "//" in request.path or "/." in request.path:
            clean = cleaned(request.path)
            if clean != request.path:
                query = f"?{request.query.raw}" if request.query.raw else ""
                return Response(301, headers=(("Location", quote(clean) + query),))
        return await self.find(request).handler(request)

    def at_once(self, method: str, path: str) -> Response | None:
        """The answer of a route that has one ready; `path` is as it was sent, with the version's prefix."""
        return self._at_once.get((method, path))

    def find(self, request: Request) -> Route:
        """The route of a request, whose `path`, `version` and `parameters` are set by this.

        Raises NotFound `page not found`, and InvalidArgument for a version that is not spoken.
        """
        text, request.path = split_version(request.path)
        route = self._match(request)
        # A path that is nowhere is not found in any version: dockerd looks for the route first.
        request.version = check_version(text) if text else NEWEST
        if route.since > request.version:
            raise NotFound("page not found")
        return route

    def _match(self, request: Request) -> Route:
        route = self._fixed.get((request.method, request.path))
        if route is not None:
            return route
        for pattern, route in self._patterns:
            if route.method == request.method and (match := pattern.fullmatch(request.path)):
                request.parameters = match.groupdict()
                return route
        raise NotFound("page not found")


def split_version(path: str) -> tuple[str, str]:
    """`/v1.41/info` → (`1.41`, `/info`); `/info` → (``, `/info`)."""
    match = _VERSION.match(path)
    return (match[1], path[match.end():]) if match else ("", path)


def cleaned(path: str) -> str:
    """The path without empty pieces, `.` and `..`, as Go's path.Clean; a slash at its end stays."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def check_version(text: str) -> Version:
    """`1.41` → (1, 41). Raises InvalidArgument in dockerd's words for a version that is too new or too old.

    Compared piece by piece as numbers: 1.100 is newer than 1.50, and 1 is older than 1.24.
    """
    pieces = tuple(int(piece or "0") for piece in text[:64].split("."))
    if pieces < OLDEST:
        raise InvalidArgument(f"client version {text} is too old. Minimum supported API version is {spell(OLDEST)}, "
                              "please upgrade your client to a newer version")
    if pieces > NEWEST:
        raise InvalidArgument(f"client version {text} is too new. Maximum supported API version is {spell(NEWEST)}")
    return pieces[0], pieces[1]


def spell(version: Version) -> str:
    """(1, 41) → `1.41`."""
    return f"{version[0]}.{version[1]}"


def _compile(pattern: str) -> re.Pattern[str]:
    pieces, end = [], 0
    for match in _PARAMETER.finditer(pattern):
        pieces += [re.escape(pattern[end:match.start()]), f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})"]
        end = match.end()
    return re.compile("".join([*pieces, re.escape(pattern[end:])]))
