"""
SQLite databases that other programs write: read within bounds, and never changed.

A reader leaves no file behind and holds no lock for long, so the program that owns a database
never waits for it. See https://sqlite.org/wal.html#readonly and https://sqlite.org/uri.html.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from palingenesis.monitor.transcript import Stamp

if TYPE_CHECKING:
    import sqlite3

#: Instructions of SQLite's machine for one opening: some tenths of a second.
BUDGET = 10_000_000
_STEP = 1000
#: Bytes of a value that is looked at, and of a schema's longest statement.
VALUE_LIMIT = 4 * 1024 * 1024
#: Bytes of a write-ahead log: without a process that has it open, all of it may have to be read.
WAL_LIMIT = 1024 * 1024 * 1024
#: Seconds that a lock is waited for.
_PATIENCE = 0.02


class Unreadable(Exception):
    """
    A database that cannot be read.

    :ivar reason: why, in one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Busy(Unreadable):
    """A database that could be read a moment later."""


class Missing(Unreadable):
    """A database that is not there."""


class TooLong(Unreadable):
    """A value that is longer than `VALUE_LIMIT`."""


class Database:
    """An open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """
        Return what a query gives.

        :raises Unreadable: if the database is damaged, or the query takes too long.
        """
        with _translated():
            return self._connection.execute(query, values).fetchall()

    def check(self, tables: Mapping[str, Collection[str]]) -> None:
        """
        Check that tables have the columns by which they are read.

        A view, a virtual table or a computed column in the place of one would run what its author
        wants, so they do not count.

        :raises Unreadable: if one is missing.
        """
        for table, columns in tables.items():
            real = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? AND rootpage > 0"
            stored = {row[0] for row in self.rows("SELECT name FROM pragma_table_info(?)", table)}
            if not self.rows(real, table) or not stored.issuperset(columns):
                raise Unreadable(f"its table {table} is not the one that is known")


@contextmanager
def opened(path: str) -> Iterator[Database]:
    """
    Open a database of our user's for reading; what was read counts once this has ended.

    :raises Missing: if it is not there.
    :raises Busy: if it changed in a way that leaves what was read in doubt.
    :raises Unreadable: if it cannot be read without changing anything.
    """
    import sqlite3  # only if there is a database: it costs some milliseconds

    before = _Files(path)
    # Without a log, SQLite would make one for a database that is written with it.
    how = "immutable=1" if before.log is None else "mode=ro&readonly_shm=1"
    with _translated():
        uri = f"file:{quote(path)}?{how}"
        connection = sqlite3.connect(uri, _PATIENCE, isolation_level=None, uri=True)
    with closing(connection):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_LIMIT)
        steps = iter(range(BUDGET // _STEP))
        # SQLite calls it as it works, and ends a query for which no step is left.
        connection.set_progress_handler(lambda: next(steps, None) is None, _STEP)
        with _translated():
            for pragma in ("query_only = 1", "trusted_schema = 0", "temp_store = MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
        yield Database(connection)
    if not before.still_hold(_Files(path)):
        raise Busy("it changed while it was read")


class _Files:
    """
    The files of a database at one moment.

    :ivar log: the status of its write-ahead log; None if it has none.
    """

    def __init__(self, path: str) -> None:
        database = _status(path)
        if database is None:
            raise Missing("it is gone")
        self.database = database
        self.log = _status(f"{path}-wal")
        journal = _status(f"{path}-journal")
        if journal is not None and journal.st_size:
            raise Busy("a change of it has not ended")
        if self.log is not None:
            if _status(f"{path}-shm") is None:
                raise Unreadable("it has a -wal file and no -shm file: start its program once")
            if self.log.st_size > WAL_LIMIT:
                raise Unreadable(f"its -wal file is longer than {WAL_LIMIT} bytes")

    def still_hold(self, after: _Files) -> bool:
        """Return whether what was read by these files is one state of the database."""
        if self.log is None or after.log is None:
            return self.log is after.log and Stamp.of(self.database) == Stamp.of(after.database)
        same = os.path.samestat(self.database, after.database)
        return same and os.path.samestat(self.log, after.log)


def stamps(path: str) -> tuple[Stamp | None, Stamp | None]:
    """
    Return what changes when a database does: the stamps of its file and of its log.

    A second change may come too soon for a file's time to show it.
    """
    return _stamp(path), _stamp(f"{path}-wal")


def _stamp(path: str) -> Stamp | None:
    try:
        return Stamp.of(os.lstat(path))
    except OSError:
        return None


@contextmanager
def _translated() -> Iterator[None]:
    """Turn an error of SQLite's into one of ours."""
    import sqlite3

    try:
        yield
    except sqlite3.DataError:
        raise TooLong("a value is too long") from None
    except (sqlite3.Error, UnicodeError, ValueError) as error:
        name = getattr(error, "sqlite_errorname", None) or ""
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY_")):
            raise Busy("it is locked") from None
        if name.startswith("SQLITE_INTERRUPT"):
            raise Unreadable("it takes too long to read") from None
        raise Unreadable(f"{error}".partition("\n")[0][:200] or "it is damaged") from None


def _status(path: str) -> os.stat_result | None:
    """
    Return the status of one of a database's files; None if it is not there.

    :raises Unreadable: if it is no regular file of our user's.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(str(error.strerror)) from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise Unreadable(f"{os.path.basename(path)} is no file of ours")
    return status
