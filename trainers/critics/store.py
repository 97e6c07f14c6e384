"""Store critiques in one SQLite file, which all trials of a results folder and all their processes share.

The store is optional: a critique that cannot be read is requested again, one that cannot be written is not kept, and
the reason is logged once. Each write is one transaction, so a killed process leaves complete records or none. SQLite's
write-ahead log needs memory that its users share. Therefore the file must only be used by processes of one machine.
"""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeVar

from evals.models.base import Usage
from trainers.credit.critique import Critique

log = logging.getLogger(__name__)

Place = tuple[bytes, int]
"""The key of a stored critique: a hash of all that determines it except its index, and the index."""

T = TypeVar("T")

FILE = "critiques.sqlite"
VERSION = 1
DEFAULT_LIMIT = 2 * 1024**3
BUSY_SECONDS = 15.0
TOUCH_SECONDS = 3600
"""A read critique is marked as used at most this often, so that most reads write nothing."""
EVICTED_AT_ONCE = 1000
EVICTED_TO = 0.95
"""Eviction continues down to this share of the limit, so that it is rare."""
WAL_BYTES = 16 * 1024**2

_SCHEMA = (
    "CREATE TABLE critiques (id INTEGER PRIMARY KEY, solution BLOB NOT NULL, number INTEGER NOT NULL, "
    "used INTEGER NOT NULL, record BLOB NOT NULL, UNIQUE (solution, number))",
    "CREATE INDEX least_recently_used ON critiques (used, id)",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    f"INSERT INTO settings VALUES ('limit', {DEFAULT_LIMIT})",  # noqa: S608 - a constant of ours
    f"PRAGMA user_version = {VERSION}",
)


class CritiqueStore:
    """Critiques by place, up to a size limit in bytes; beyond it, the least recently used are evicted.

    The limit is stored in the file (`set_limit`), so that all users of the file apply the same limit. The methods can
    be called from any thread and raise nothing: after a read or write error, this process stops reading or writing.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = path, clock
        self._guard = threading.Lock()
        self._given_up: set[str] = set()
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = _connect(path)
        except (sqlite3.Error, OSError) as error:
            self._give_up("open", error)

    def read(self, solutions: Sequence[bytes], numbers: range) -> dict[Place, Critique]:
        """Return the stored critiques of these solutions with indices in `numbers`."""
        now = int(self._clock())
        nothing: list[_Row] = []
        rows = self._attempt("read", lambda connection: _select(connection, solutions, numbers), nothing)
        stale = [(now, row.id) for row in rows if row.used <= now - TOUCH_SECONDS]
        if stale:
            self._attempt("write", lambda connection: _touch(connection, stale), None)
        critiques = {(row.solution, row.number): unpack(row.record) for row in rows}
        return {place: critique for place, critique in critiques.items() if critique is not None}

    def write(self, critiques: Mapping[Place, Critique]) -> None:
        """Store critiques."""
        now = int(self._clock())
        rows = [(*place, now, pack(critique)) for place, critique in critiques.items()]
        self._attempt("write", lambda connection: _insert(connection, rows), None)

    def close(self) -> None:
        """Close the file; after that, nothing is read or written."""
        self._attempt("close", lambda connection: connection.close(), None)
        self._connection = None

    def _attempt(
        self, what: Literal["read", "write", "close"], action: Callable[[sqlite3.Connection], T], otherwise: T
    ) -> T:
        with self._guard:
            if self._connection is None or what in self._given_up:
                return otherwise
            try:
                return action(self._connection)
            except (sqlite3.Error, OSError) as error:
                self._give_up(what, error)
                return otherwise

    def _give_up(self, what: str, error: Exception) -> None:
        self._given_up.add(what)
        log.warning(
            "cannot %s the kept critiques in %s (%s: %s); this process goes on without. If the file is damaged, delete "
            "it: critiques are then asked for anew",
            *(what, self.path, type(error).__name__, error),
        )


@dataclass(frozen=True)
class Kept:
    """Number of stored critiques, their size in bytes, and the size limit in bytes."""

    critiques: int
    size: int
    limit: int


def measure_store(path: Path) -> Kept | None:
    """Return the size of a store; None if there is none.

    Raises:
        sqlite3.Error: The file cannot be read as a store.
    """
    if not path.exists():
        return None
    with closing(_connect(path)) as connection:
        size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
        return Kept(_read_number(connection, "SELECT count(*) FROM critiques"), size, _read_limit(connection))


def set_limit(path: Path, limit: int) -> None:
    """Set the size limit of a store in bytes, for all its users; evict what exceeds it, and release the disk space now.

    Raises:
        sqlite3.Error: The file cannot be written, or is no store.
        OSError: Its folder cannot be created.
    """
    with closing(_connect(path)) as connection:
        connection.execute("UPDATE settings SET value = ? WHERE name = 'limit'", (limit,))
        _evict(connection)
        connection.executescript("PRAGMA incremental_vacuum")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # frees the disk now, unless others read


def pack(critique: Critique) -> bytes:
    """Return a critique as a stored record."""
    wrong = None if critique.wrong is None else sorted(critique.wrong)
    # JSON is ASCII here, so that half a surrogate pair, which a model may write, can be encoded.
    text = json.dumps([wrong, critique.abstained, critique.text, asdict(critique.usage)])
    return zlib.compress(text.encode())


def unpack(record: bytes) -> Critique | None:
    """Return the critique of a stored record; None if the record is damaged."""
    try:
        wrong, abstained, text, usage = json.loads(zlib.decompress(record))
        return Critique(None if wrong is None else frozenset(wrong), abstained, text, Usage(**usage))
    except (zlib.error, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class _Row:
    id: int
    solution: bytes
    number: int
    used: int
    record: bytes


def _select(connection: sqlite3.Connection, solutions: Sequence[bytes], numbers: range) -> list[_Row]:
    query = "SELECT id, solution, number, used, record FROM critiques WHERE solution = ? AND number >= ? AND number < ?"
    results = (connection.execute(query, (solution, numbers.start, numbers.stop)) for solution in solutions)
    return [_Row(*row) for rows in results for row in rows]


def _touch(connection: sqlite3.Connection, used: Sequence[tuple[int, int]]) -> None:
    with _run_transaction(connection):
        connection.executemany("UPDATE critiques SET used = ? WHERE id = ?", used)


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, int, int, bytes]]) -> None:
    with _run_transaction(connection):
        connection.executemany(
            # The place may hold a damaged record, or the record of a process that requested it at the same time.
            "INSERT OR REPLACE INTO critiques (solution, number, used, record) VALUES (?, ?, ?, ?)",
            rows,
        )
    _evict(connection)


def _evict(connection: sqlite3.Connection) -> None:
    """Delete the least recently used critiques, in small transactions, so that other processes can write in between."""
    limit = _read_limit(connection)
    if _count_live_bytes(connection) <= limit:
        return
    while (excess := _count_live_bytes(connection) - EVICTED_TO * limit) > 0:
        if not _delete_oldest(connection, excess):
            break
    # Free pages would be reused in time, but after the limit was lowered they must be released now. `execute` would run
    # one step of this pragma, which releases one page.
    connection.executescript("PRAGMA incremental_vacuum")


def _delete_oldest(connection: sqlite3.Connection, excess: float) -> bool:
    """Delete up to `EVICTED_AT_ONCE` critiques of about `excess` bytes; return False if there are none."""
    with _run_transaction(connection):
        oldest = connection.execute(
            "SELECT id, length(record) FROM critiques ORDER BY used, id LIMIT ?", (EVICTED_AT_ONCE,)
        ).fetchall()
        before = accumulate((size for _, size in oldest), initial=0)
        goes = [(identifier,) for (identifier, _), freed in zip(oldest, before, strict=False) if freed < excess]
        connection.executemany("DELETE FROM critiques WHERE id = ?", goes)
    return bool(goes)


def _count_live_bytes(connection: sqlite3.Connection) -> int:
    pages = _read_number(connection, "PRAGMA page_count") - _read_number(connection, "PRAGMA freelist_count")
    return pages * _read_number(connection, "PRAGMA page_size")


def _read_limit(connection: sqlite3.Connection) -> int:
    return _read_number(connection, "SELECT value FROM settings WHERE name = 'limit'")


def _read_number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


@contextmanager
def _run_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk, SQLite has already rolled back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Configure a connection, and create the tables of a new file."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect only while the file is empty
    _log_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    if _read_number(connection, "PRAGMA user_version") == 0:
        with _run_transaction(connection):
            if _read_number(connection, "PRAGMA user_version") == 0:  # no other process created it first
                for statement in _SCHEMA:
                    connection.execute(statement)
    version = _read_number(connection, "PRAGMA user_version")
    if version != VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, this program reads version {VERSION}")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, and retry while the file is busy.

    SQLite ignores the busy timeout in this statement.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.01, 0.05))
        else:
            return
