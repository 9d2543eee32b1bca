"""One repository at one registry: the distribution API's calls, with the registry's challenges answered on the way.

Source: distribution-spec 1.1, «Endpoints»; the Docker Registry HTTP API V2 where registries deviate.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.parse

from wherry import errors
from wherry.oci import image as oci
from wherry.record import Record
from wherry.registry import challenge as challenges
from wherry.registry import errors as wording
from wherry.registry.token import Tokens, basic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import urllib3

    from wherry.registry.endpoint import Credentials, Endpoint
    from wherry.registry.transport import Transport

    Answer = urllib3.BaseHTTPResponse

MANIFEST_TYPES = (oci.DOCKER_MANIFEST, oci.DOCKER_INDEX, oci.OCI_MANIFEST, oci.OCI_INDEX)
# The specification lets a registry refuse manifests over 4 MiB; nothing larger is read.
MANIFEST_BYTES = 4 << 20
ERROR_BYTES = 64 << 10
# A 429 or a 5xx is asked again this often, after 0.5, 1 and 2 seconds.
ATTEMPTS = 4
FIRST_PAUSE_S = 0.5


class FetchedManifest(Record):
    """A manifest or index as the registry sent it: the bytes are what the digest is of."""

    media_type: str
    digest: str
    data: bytes


class Repository:
    """A repository behind one endpoint. Its methods may be called from several threads.

    Each raises what `registry.errors` makes of a failing answer: NotFound, Unauthorized, Forbidden, Unavailable …
    """

    def __init__(self, transport: Transport, endpoint: Endpoint, path: str, credentials: Credentials, actions: str) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._path = path
        self._credentials = credentials
        self._scope = f"repository:{path}:{actions}" if path else ""
        self._tokens = Tokens(transport, credentials)
        self._authorization = ""
        self.is_reached = False
        """Whether the registry has answered anything yet."""

    def ping(self) -> None:
        """Asks whether this is a registry, and answers its challenge. Raises Unavailable where nobody answers."""
        answer = self._send("GET", f"{self.endpoint.url}/v2/")
        try:
            if answer.status != 200:
                raise wording.from_response(answer.status, answer.read(ERROR_BYTES))
        finally:
            answer.drain_conn()
            answer.release_conn()

    def identity_token(self) -> str:
        """The long-lived token that the registry gave for a name and password; "" when it gave none."""
        return self._tokens.identity_token

    def tags(self) -> tuple[str, ...]:
        """All tags of the repository, page by page."""
        found: list[str] = []
        url = self._url("tags/list")
        while url:
            answer = self._send("GET", url)
            try:
                body = answer.read()
            finally:
                answer.drain_conn()
                answer.release_conn()
            if answer.status != 200:
                raise wording.from_response(answer.status, body)
            found += json.loads(body).get("tags") or ()
            link = answer.headers.get("Link", "")
            url = urllib.parse.urljoin(url, link[link.find("<") + 1:link.find(">")]) if 'rel="next"' in link else ""
        return tuple(found)

    def manifest(self, reference: str) -> FetchedManifest:
        """The manifest under a tag or digest. Raises DataLoss where the bytes do not have the digest asked for."""
        answer = self._send("GET", self._url(f"manifests/{reference}"), {"Accept": ", ".join(MANIFEST_TYPES)})
        try:
            data = answer.read(MANIFEST_BYTES + 1)
        finally:
            answer.close()
            answer.release_conn()
        if answer.status != 200:
            raise wording.from_response(answer.status, data)
        if len(data) > MANIFEST_BYTES:
            raise errors.InvalidArgument(f"manifest {reference} is larger than {MANIFEST_BYTES} bytes")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if ":" in reference:
            algorithm, _, wanted = reference.partition(":")
            if hashlib.new(algorithm, data).hexdigest() != wanted:
                raise errors.DataLoss(f"manifest verification failed for digest {reference}")
            digest = reference
        return FetchedManifest(media_type=media_type(answer.headers.get("Content-Type", ""), data), digest=digest, data=data)

    def open_blob(self, digest: str, offset: int = 0) -> tuple[Answer, int]:
        """The answer to read and close, and the offset at which it really begins: 0 where the registry cannot resume."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._send("GET", self._url(f"blobs/{digest}"), headers)
        if answer.status == 206:
            begin = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if begin == str(offset):
                return answer, offset
            answer.close()
            raise errors.Unavailable(f"registry answered another range of {digest} than was asked for")
        if answer.status == 416:
            answer.close()
            return self.open_blob(digest)
        if answer.status != 200:
            body = answer.read(ERROR_BYTES)
            answer.close()
            raise wording.from_response(answer.status, body)
        return answer, 0

    def blob(self, digest: str, most_bytes: int) -> bytes:
        """A small blob, whole and verified. Raises DataLoss for other bytes, InvalidArgument for more than `most_bytes`."""
        answer, _ = self.open_blob(digest)
        try:
            data = answer.read(most_bytes + 1)
        finally:
            answer.close()
            answer.release_conn()
        if len(data) > most_bytes:
            raise errors.InvalidArgument(f"blob {digest} is larger than {most_bytes} bytes")
        algorithm, _, wanted = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != wanted:
            raise errors.DataLoss(f"image config verification failed for digest {digest}")
        return data

    # What a push needs.

    def has_blob(self, digest: str) -> bool:
        """Whether the repository holds the blob."""
        answer = self._send("HEAD", self._url(f"blobs/{digest}"))
        answer.drain_conn()
        answer.release_conn()
        if answer.status not in (200, 404):
            raise wording.from_response(answer.status, b"")
        return answer.status == 200

    def blob_size(self, digest: str) -> int:
        """How many bytes the repository says the blob has. Raises NotFound."""
        answer = self._send("HEAD", self._url(f"blobs/{digest}"))
        answer.drain_conn()
        answer.release_conn()
        if answer.status != 200:
            raise wording.from_response(answer.status, b"")
        return int(answer.headers.get("Content-Length", "0"))

    def mount_blob(self, digest: str, source: str) -> bool:
        """Asks the registry to take the blob over from another of its repositories; False where it will not."""
        query = urllib.parse.urlencode({"mount": digest, "from": source})
        try:
            answer = self._send("POST", self._url(f"blobs/uploads/?{query}"), {"Content-Length": "0"},
                                scope=f"{self._scope} repository:{source}:pull")
        except (errors.Unauthorized, errors.Forbidden):
            return False  # the other repository is not ours to read
        answer.drain_conn()
        answer.release_conn()
        return answer.status == 201

    def start_upload(self) -> str:
        """Opens an upload; its address is good for one `send_blob`."""
        url = self._url("blobs/uploads/")
        answer = self._send("POST", url, {"Content-Length": "0"})
        try:
            if answer.status not in (201, 202):
                raise wording.from_response(answer.status, answer.read(ERROR_BYTES))
        finally:
            answer.drain_conn()
            answer.release_conn()
        return urllib.parse.urljoin(url, answer.headers.get("Location", ""))

    def send_blob(self, upload: str, chunks: Iterable[bytes]) -> str:
        """Sends a blob's bytes in one chunked PATCH; returns the address at which to finish the upload.

        Chunks cannot be sent twice, so there is no second attempt.
        """
        answer = self._transport.send(self.endpoint, "PATCH", upload, body=chunks, redirect=False, headers={
            "Content-Type": "application/octet-stream", **self._authorized()})
        try:
            if answer.status not in (201, 202):
                raise wording.from_response(answer.status, answer.read(ERROR_BYTES))
        finally:
            answer.drain_conn()
            answer.release_conn()
        return urllib.parse.urljoin(upload, answer.headers.get("Location", upload))

    def finish_upload(self, upload: str, digest: str) -> None:
        """Commits an upload under its digest."""
        separator = "&" if "?" in upload else "?"
        answer = self._send("PUT", f"{upload}{separator}{urllib.parse.urlencode({'digest': digest})}", {"Content-Length": "0"})
        try:
            if answer.status != 201:
                raise wording.from_response(answer.status, answer.read(ERROR_BYTES))
        finally:
            answer.drain_conn()
            answer.release_conn()

    def put_manifest(self, reference: str, kind: str, data: bytes) -> str:
        """Stores a manifest under a tag or digest; returns the digest of its bytes."""
        answer = self._send("PUT", self._url(f"manifests/{reference}"), {"Content-Type": kind}, data)
        try:
            if answer.status not in (200, 201, 202):
                raise wording.from_response(answer.status, answer.read(ERROR_BYTES))
        finally:
            answer.drain_conn()
            answer.release_conn()
        return "sha256:" + hashlib.sha256(data).hexdigest()

    # The way of every request.

    def _url(self, what: str) -> str:
        return f"{self.endpoint.url}/v2/{self._path}/{what}"

    def _authorized(self) -> Mapping[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None,
              scope: str = "") -> Answer:
        """Sends a request that can be repeated: once more after a challenge, some times more while the registry is busy.

        `scope` is what a token must be good for, where that is more than this repository.
        """
        challenged = False
        for pause in self._pauses():
            answer = self._first(method, url, {**(headers or {}), **self._authorized()}, body)
            if answer.status == 401 and not challenged:
                challenged = True
                header = answer.headers.get("WWW-Authenticate", "")
                body_text = answer.read(ERROR_BYTES)
                answer.drain_conn()
                answer.release_conn()
                self._authorization = self._answer(header, body_text, scope or self._scope)
                answer = self._transport.send(self.endpoint, method, url, body=body,
                                              headers={**(headers or {}), **self._authorized()})
                self._check_scope(answer)
            busy = answer.status == 429 or answer.status in (500, 502, 503, 504)
            if not busy or pause is None:
                return answer
            answer.close()
            time.sleep(pause)
        raise AssertionError("the last pause is None")

    def _first(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One request. A registry that never answered is named by its base, which other engines ask for first."""
        try:
            answer = self._transport.send(self.endpoint, method, url, body=body, headers=headers)
        except errors.Unavailable as problem:
            if self.is_reached:
                raise
            cause = problem.message.partition('": ')[2]
            raise errors.Unavailable(f'Get "{self.endpoint.url}/v2/": {cause}') from problem
        self.is_reached = True
        return answer

    @staticmethod
    def _check_scope(answer: Answer) -> None:
        """Raises Forbidden where the registry knows who asks, and says that this is not enough (RFC 6750, 3.1)."""
        if answer.status == 401 and any(one.get("error") == "insufficient_scope"
                                        for one in challenges.parse(answer.headers.get("WWW-Authenticate", ""))):
            answer.close()
            raise errors.Forbidden("denied: requested access to the resource is denied")

    @staticmethod
    def _pauses() -> Iterator[float | None]:
        for attempt in range(ATTEMPTS - 1):
            yield FIRST_PAUSE_S * 2 ** attempt
        yield None

    def _answer(self, header: str, body: bytes, scope: str) -> str:
        """The Authorization header that answers a 401, or the error where we have nothing to answer with."""
        for one in challenges.parse(header):
            if one.scheme == "bearer":
                return "Bearer " + self._tokens.get(self.endpoint, one, scope)
            if one.scheme == "basic":
                if not self._credentials.username:
                    raise errors.Unauthorized("no basic auth credentials")
                return basic(self._credentials)
        raise wording.from_response(401, body)


def media_type(header: str, data: bytes) -> str:
    """What a manifest is: by its own `mediaType` field, else by the registry's header, else by its shape."""
    try:
        fields = json.loads(data)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise errors.InvalidArgument("manifest is not a JSON object")
    own = fields.get("mediaType")
    if own:
        return str(own)
    told = header.partition(";")[0].strip()
    if told in MANIFEST_TYPES:
        return told
    if "manifests" in fields:
        return oci.OCI_INDEX
    return oci.OCI_MANIFEST if "layers" in fields else told
