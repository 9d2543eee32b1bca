"""A registry on loopback with faults to order, and stores in memory: enough to see what pull and push do."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.digest import chain_id, next_chain_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """What the registry has, and how it misbehaves."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.requests: list[tuple[str, str, str]] = []  # method, path, authorization
        self.challenge = ""
        self.accepts: set[str] = set()
        self.cut_after: dict[str, list[int]] = {}  # digest -> bytes after which successive answers are cut
        self.ranges = True
        self.uploads: dict[str, bytes] = {}
        self.token_status = 200
        self.busy = 0

    def add_image(self, name: str, tag: str, layers: list[bytes], architecture: str = "amd64") -> tuple[str, str]:
        """An image of plain byte strings as layers; (manifest digest, image id)."""
        blobs = [gzip.compress(layer, mtime=0) for layer in layers]
        config = json.dumps({"architecture": architecture, "os": "linux", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]}}).encode()
        for blob in [*blobs, config]:
            self.blobs[sha(blob)] = blob
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": oci.DOCKER_MANIFEST,
            "config": {"mediaType": oci.DOCKER_CONFIG, "digest": sha(config), "size": len(config)},
            "layers": [{"mediaType": oci.DOCKER_LAYER_GZIP, "digest": sha(blob), "size": len(blob)} for blob in blobs]}).encode()
        for reference in (tag, sha(manifest)):
            self.manifests[name, reference] = (oci.DOCKER_MANIFEST, manifest)
        return sha(manifest), sha(config)


class Handler(BaseHTTPRequestHandler):
    """The distribution API, as much as pull and push ask."""

    protocol_version = "HTTP/1.1"
    registry: Registry

    def log_message(self, *_: object) -> None:
        """Nothing: the tests read `requests`."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, message: str, **headers: str) -> None:
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    def handle_any(self) -> None:
        registry = self.registry
        path, _, query = self.path.partition("?")
        who = self.headers.get("Authorization", "")
        registry.requests.append((self.command, self.path, who))
        body = self.read_body()
        if path == "/token":
            token = json.dumps({"token": "t-" + hashlib.sha256(query.encode()).hexdigest()[:8], "expires_in": 300}).encode()
            registry.accepts.add("Bearer " + json.loads(token)["token"])
            return self.answer(registry.token_status, token)
        if registry.challenge and who not in registry.accepts:
            return self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=registry.challenge)
        if registry.busy:
            registry.busy -= 1
            return self.error(503, "UNAVAILABLE", "try later")
        if path == "/v2/":
            return self.answer(200, b"{}")
        name, _, rest = path.removeprefix("/v2/").rpartition("/manifests/")
        if name:
            return self.manifest(name, rest, body)
        name, _, rest = path.removeprefix("/v2/").partition("/blobs/")
        return self.blob(name, rest, query, body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def manifest(self, name: str, reference: str, body: bytes) -> None:
        if self.command == "PUT":
            for one in (reference, sha(body)):
                self.registry.manifests[name, one] = (self.headers["Content-Type"], body)
            return self.answer(201)
        found = self.registry.manifests.get((name, reference))
        if found is None:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return self.answer(200, found[1], Content_Type=found[0])

    def blob(self, name: str, rest: str, query: str, body: bytes) -> None:
        registry = self.registry
        if rest.startswith("uploads/"):
            upload = rest.removeprefix("uploads/")
            if self.command == "POST":
                registry.uploads["u"] = b""
                return self.answer(202, Location=f"/v2/{name}/blobs/uploads/u?state=1")
            if self.command == "PATCH":
                registry.uploads[upload] += body
                return self.answer(202, Location=f"/v2/{name}/blobs/uploads/u?state=2")
            data = registry.uploads.pop(upload)
            digest = query.partition("digest=")[2].replace("%3A", ":")
            if sha(data) != digest:
                return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            registry.blobs[digest] = data
            return self.answer(201)
        blob = registry.blobs.get(rest)
        if blob is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        begin = 0
        asked = self.headers.get("Range", "")
        if asked and registry.ranges:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(blob) - 1}/{len(blob)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(blob) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return None
        cuts = registry.cut_after.get(rest)
        data = blob[begin:]
        if cuts:
            self.wfile.write(data[:cuts.pop(0)])
            self.close_connection = True
            return None
        self.wfile.write(data)
        return None


@contextmanager
def serve(registry: Registry) -> Iterator[str]:
    """`127.0.0.1:PORT` of a server for the registry."""
    handler = type("BoundHandler", (Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Layers:
    """Layers in memory: a layer is its bytes."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.kept = False

    def lease(self) -> Layers:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is collected here."""

    def keep(self) -> None:
        self.kept = True

    def hold(self, chain: str) -> str:
        if chain not in self.content:
            raise errors.NotFound("layer does not exist")
        return chain

    def register(self, stream: Any, parent: str = "", *, expected_diff_id: str = "") -> Any:
        from wherry.store.layers import Layer

        data = b"".join(iter(lambda: stream.read(65536), b""))
        try:
            plain = gzip.decompress(data)
        except (OSError, EOFError) as failure:
            raise errors.DataLoss("gzip: invalid") from failure
        if sha(plain) != expected_diff_id:
            raise errors.DataLoss("wrong diff id")
        chain = next_chain_id(parent, sha(plain))
        self.content[chain] = plain
        return Layer(chain_id=chain, diff_id=sha(plain), parent=parent, size_bytes=len(plain), cache_id="c")

    def chain(self, chain: str) -> tuple[Any, ...]:
        from wherry.store.layers import Layer

        data = self.content[chain]
        return (Layer(chain_id=chain, diff_id=sha(data), parent="", size_bytes=len(data), cache_id="c"),)

    def open_tar(self, chain: str) -> Any:
        from wherry.store.stream import ByteStream

        return ByteStream(one for one in (self.content[chain],))


class Images:
    def __init__(self) -> None:
        self.raw: dict[str, bytes] = {}

    def create(self, config: bytes, *, parent: str = "") -> str:
        self.raw[sha(config)] = config
        return sha(config)

    def get(self, image_id: str) -> Any:
        from wherry.store.images import Image

        if image_id not in self.raw:
            raise errors.NotFound(f"No such image: {image_id}")
        return Image(id=image_id, raw=self.raw[image_id], config=oci.ImageConfig.from_json(self.raw[image_id]))


class References:
    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def tag(self, reference: Any, image_id: str, *, force: bool = True) -> str:
        before = self.names.get(str(reference), "")
        self.names[str(reference)] = image_id
        return before

    def lookup(self, reference: Any) -> str:
        try:
            return self.names[str(reference)]
        except KeyError:
            raise errors.NotFound("reference does not exist") from None


class Distribution:
    def __init__(self) -> None:
        self.known: list[tuple[str, Any]] = []

    def add(self, diff_id: str, source: Any) -> None:
        self.known.append((diff_id, source))

    def sources(self, diff_id: str) -> tuple[Any, ...]:
        return tuple(source for one, source in self.known if one == diff_id)

    def forget(self, digest: str) -> None:
        self.known = [(diff, source) for diff, source in self.known if source.digest != digest]


def top_chain(layers: list[bytes]) -> str:
    return chain_id([sha(layer) for layer in layers])
