"""The metadata database: one SQLite file in WAL mode, and the transactions on it.

What a `writing` block did is on the disk when the block ends (synchronous=FULL: one fsync of the log), so an answer is given
only for what survives. One writer at a time, readers beside it, each block a transaction of its own. Usable from any thread.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager

from wherry import trace
from wherry.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

VERSION: Final = 1
"""Of the tables, in the file's user_version. A file of a later version is refused, never misread."""
_CACHE_KIB: Final = 512
_PATIENCE_SECONDS: Final = 30.0


class Database:
    """An opened database."""

    def __init__(self, path: str, *schemas: str) -> None:
        """Opens or makes the file and the tables that are missing. Raises Unsupported for a later version's file, OSError."""
        self._path = path
        self._write_lock = threading.Lock()
        self._free: list[sqlite3.Connection] = []
        self.on_write: Callable[[], None] | None = None
        """Called in the writer's thread after each transaction that was written."""
        try:
            with _as_os_errors(path):
                connection = self._connect()
                self._free.append(connection)
                self._make(connection, schemas)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state, whatever others write meanwhile. Raises OSError."""
        with _as_os_errors(self._path):
            connection = self._take()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                self._give_back(connection, "ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside: undone when the block raises, on the disk when it ends. OSError."""
        with self._write_lock, _as_os_errors(self._path):
            connection = self._take()
            end = "ROLLBACK"
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                trace.step("metadata commit", self._path)
                end = "COMMIT"
            finally:
                self._give_back(connection, end)
        trace.step("metadata committed", self._path)
        if self.on_write is not None:
            self.on_write()

    def close(self) -> None:
        """Closes what is open; nobody is in a transaction any more."""
        while self._free:
            self._free.pop().close()

    def _make(self, connection: sqlite3.Connection, schemas: Iterable[str]) -> None:
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        if version > VERSION:
            raise Unsupported(f"{self._path} is of version {version}, and this program knows {VERSION}")
        for schema in schemas:
            connection.executescript(schema)
        connection.execute(f"PRAGMA user_version = {VERSION}")

    def _take(self) -> sqlite3.Connection:
        try:
            return self._free.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, connection: sqlite3.Connection, end: str) -> None:
        try:
            if connection.in_transaction:
                connection.execute(end)
        except BaseException:
            connection.close()  # it may still hold its transaction: the next one takes another
            raise
        self._free.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    """What the disk does to a database (full, unreadable, not one) is an OSError, as with any other file."""
    try:
        yield
    except (sqlite3.InterfaceError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a mistake of ours
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from error
