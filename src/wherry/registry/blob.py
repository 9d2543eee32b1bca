"""A blob on its way from a registry to a file: one thread writes, another may read right behind it.

    <folder>/<hex>.part      what has arrived, of a download that was cut: the next one goes on from there
    <folder>/<hex>           whole and verified

The bytes are hashed while they arrive. Whoever reads along gets the end of the stream only after the digest was found
right, so a layer is never committed from bytes that nobody has checked.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time

import urllib3

from wherry import errors
from wherry.registry import errors as wording
from wherry.registry.progress import Progress, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from wherry.oci.image import Descriptor
    from wherry.registry.client import Repository
    from wherry.registry.progress import Report

CHUNK = 1 << 20
REPORT_EVERY_S = 0.1
# A cut connection is taken up again this often without a byte of gain in between.
ATTEMPTS = 5
FIRST_PAUSE_S = 1.0


class Ingest:
    """The folder of blobs under way. Two pulls that want the same blob take turns: the second finds it whole."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._users: dict[str, tuple[threading.Lock, int]] = {}
        self._guard = threading.Lock()

    def path(self, digest: str) -> str:
        """Where the verified blob lies; `<path>.part` before."""
        return os.path.join(self._folder, digest.partition(":")[2])

    def enter(self, digest: str) -> threading.Lock:
        """Announces one more user of a blob; returns the lock to hold while downloading it."""
        with self._guard:
            lock, users = self._users.get(digest, (threading.Lock(), 0))
            self._users[digest] = lock, users + 1
            return lock

    def leave(self, digest: str, *, used: bool) -> None:
        """One user less. The last one removes the file, if its content has gone where it belongs."""
        with self._guard:
            lock, users = self._users.pop(digest)
            if users > 1:
                self._users[digest] = lock, users - 1
            elif used:
                for path in (self.path(digest), self.path(digest) + ".part"):
                    try:
                        os.unlink(path)
                    except FileNotFoundError:
                        continue


class Download:
    """One blob's transfer. `run` is called once, by the thread that downloads; `open` by the one that reads.

    It is a user of its blob in the ingest folder from the beginning until `close`.
    """

    def __init__(self, ingest: Ingest, blob: Descriptor, report: Report, cancelled: threading.Event) -> None:
        self.blob = blob
        self.path = ingest.path(blob.digest)
        self._ingest = ingest
        self._turn = ingest.enter(blob.digest)
        self._report = report
        self._cancelled = cancelled
        self._changed = threading.Condition()
        self._digest = self._new_digest()
        self._arrived = 0
        self._verified = False
        self._failure: BaseException | None = None

    def run(self, repository: Repository) -> None:
        """Downloads, verifies, and gives the file its final name. Raises what went wrong; readers are told the same."""
        try:
            while not self._turn.acquire(timeout=0.1):
                self._stop_if_cancelled()
            try:
                self._run(repository)
            finally:
                self._turn.release()
        except BaseException as failure:
            with self._changed:
                self._failure = failure
                self._changed.notify_all()
            raise

    def open(self) -> Reader:
        """The blob's bytes from the first on, as they arrive."""
        return Reader(self)

    def wait(self) -> None:
        """Blocks until the blob is verified. Raises what the download raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._verified or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def close(self, *, used: bool) -> None:
        """Ends the use of the blob; `used` says that its content is where it belongs, so the file may go."""
        self._ingest.leave(self.blob.digest, used=used)

    def available(self, offset: int) -> tuple[int, bool]:
        """Blocks until there are bytes behind `offset` or no more will come; (bytes there are in all, whether that is all)."""
        with self._changed:
            self._changed.wait_for(lambda: self._arrived > offset or self._verified or self._failure is not None)
            if self._failure is not None:
                raise self._failure
            return self._arrived, self._verified

    def _run(self, repository: Repository) -> None:
        if os.path.exists(self.path):
            self._arrive(os.path.getsize(self.path))
            self._finish()
            return
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        with open(self.path + ".part", "a+b", buffering=0) as file:
            self._take_up(file.fileno())
            pause_s, failures = FIRST_PAUSE_S, 0
            while True:
                before = self._arrived
                try:
                    self._transfer(repository, file.fileno())
                    break
                except errors.Unavailable:
                    gained = self._arrived > before
                    failures, pause_s = (1, FIRST_PAUSE_S) if gained else (failures + 1, pause_s)
                    if failures >= ATTEMPTS:
                        raise
                    self._pause(pause_s)
                    pause_s *= 2
            self._verify()
        os.rename(self.path + ".part", self.path)
        self._finish()

    def _new_digest(self) -> hashlib._Hash:
        return hashlib.new(self.blob.digest.partition(":")[0])

    def _take_up(self, descriptor: int) -> None:
        """Hashes what an earlier download left."""
        offset = 0
        while data := os.pread(descriptor, CHUNK, offset):
            self._digest.update(data)
            offset += len(data)
        self._arrive(offset)

    def _transfer(self, repository: Repository, descriptor: int) -> None:
        """One request's worth of bytes. Raises Unavailable when the connection ends too early."""
        if self._arrived and self._arrived == self.blob.size:
            return
        answer, begin = repository.open_blob(self.blob.digest, self._arrived)
        try:
            if begin != self._arrived:  # the registry cannot resume: from the beginning
                os.ftruncate(descriptor, 0)
                self._digest = self._new_digest()
                self._arrive(0)
            told = 0.0
            while data := self._read(answer):
                self._digest.update(data)
                _write(descriptor, data)
                self._arrive(self._arrived + len(data))
                if self._arrived > self.blob.size:
                    raise errors.DataLoss(f"blob {self.blob.digest} is longer than the {self.blob.size} bytes of its descriptor")
                now = time.monotonic()
                if now - told >= REPORT_EVERY_S:
                    told = now
                    self._say("Downloading", self._arrived)
        finally:
            answer.close()
        if self._arrived < self.blob.size:
            raise errors.Unavailable(
                f"unexpected EOF: blob {self.blob.digest} ended after {self._arrived} of {self.blob.size} bytes")

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        self._stop_if_cancelled()
        try:
            # read1 would be kinder to slow links, but for chunked bodies it returns an empty text too early
            return answer.read(CHUNK if self.blob.size - self._arrived >= CHUNK else max(self.blob.size - self._arrived, 1))
        except (urllib3.exceptions.HTTPError, OSError) as failure:
            raise wording.from_network("GET", f"blob {self.blob.digest}", failure) from failure

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise errors.Cancelled("context canceled")

    def _verify(self) -> None:
        self._say("Verifying Checksum")
        if self._digest.hexdigest() != self.blob.digest.partition(":")[2]:
            os.unlink(self.path + ".part")
            raise errors.DataLoss(f"filesystem layer verification failed for digest {self.blob.digest}")

    def _finish(self) -> None:
        self._say("Download complete")
        with self._changed:
            self._verified = True
            self._changed.notify_all()

    def _arrive(self, size: int) -> None:
        with self._changed:
            self._arrived = size
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        self._say(f"Retrying in {seconds:.0f} second{'s' if seconds != 1 else ''}")
        if self._cancelled.wait(seconds):
            raise errors.Cancelled("context canceled")

    def _say(self, status: str, current: int | None = None) -> None:
        self._report(Progress(status=status, id=short(self.blob.digest), current=current or 0,
                              total=self.blob.size if current is not None else 0, measured=current is not None))


class Reader:
    """A download's bytes, as they arrive; `read` blocks until there are some, and raises what the download raises."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._offset = 0
        self._descriptor = -1

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; b"" only after the whole was verified."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        there, complete = self._download.available(self._offset)
        if there <= self._offset:
            return b"" if complete else self.read(size)
        if self._descriptor < 0:
            self._descriptor = self._open()
        data = os.pread(self._descriptor, min(size, there - self._offset), self._offset)
        if not data:
            raise errors.Unavailable("the registry sent a blob anew while it was being unpacked; pull again")
        self._offset += len(data)
        return data

    def _open(self) -> int:
        try:
            return os.open(self._download.path + ".part", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it has just got its final name
            return os.open(self._download.path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write(descriptor: int, data: bytes) -> None:
    """All of `data`, at the file's end. Raises OSError (ENOSPC) as the kernel does."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]
