from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import database
from palingenesis.monitor.database import Busy, Missing, TooLong, Unreadable
from palingenesis.monitor.transcript import Stamp


class DatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "a b?#%.db")

    @contextmanager
    def writing(self, journal: str = "wal") -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("CREATE TABLE IF NOT EXISTS t (n, text)")
            connection.execute("INSERT INTO t VALUES (1, 'one')")
            connection.commit()
            yield connection

    def killed(self) -> None:
        """Leave what a killed writer does: a log whose rows are not in the database yet."""
        with self.writing():
            for name in os.listdir(self.directory):
                path = os.path.join(self.directory, name)
                shutil.copy(path, path.replace("a b", "killed"))
        self.path = self.path.replace("a b", "killed")

    def state(self) -> dict[str, bytes]:
        found = {}
        for name in os.listdir(self.directory):
            with open(os.path.join(self.directory, name), "rb") as file:
                found[name] = file.read()
        return found

    def numbers(self) -> list[tuple[object, ...]]:
        with database.opened(self.path) as opened:
            return opened.rows("SELECT n FROM t")

    def assert_refused(self, words: str, kind: type[Unreadable] = Unreadable) -> None:
        error = self.assertRaises(kind, self.numbers)
        self.assertIn(words, error.reason)

    def test_the_newest_rows_of_an_open_database(self) -> None:
        with self.writing() as connection:
            self.assertEqual(self.numbers(), [(1,)])
            connection.execute("INSERT INTO t VALUES (2, 'two')")
            connection.commit()
            self.assertEqual(self.numbers(), [(1,), (2,)])

    def test_a_database_that_was_closed_gets_no_file_beside_it(self) -> None:
        with self.writing():
            pass
        before = self.state()
        self.assertEqual(list(before), [os.path.basename(self.path)])
        self.assertEqual(self.numbers(), [(1,)])
        self.assertEqual(self.state(), before)

    def test_a_database_whose_writer_was_killed_is_left_as_it_is(self) -> None:
        self.killed()
        before = self.state()
        self.assertEqual(self.numbers(), [(1,)])
        self.assertEqual(self.state(), before)

    def test_a_log_without_its_index_is_left_alone(self) -> None:
        self.killed()
        os.remove(f"{self.path}-shm")
        before = self.state()
        self.assert_refused("no -shm file")
        self.assertEqual(self.state(), before)

    def test_a_reader_holds_up_no_writer(self) -> None:
        with self.writing() as connection, database.opened(self.path) as opened:
            rows = opened.rows("SELECT n FROM t")
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("INSERT INTO t VALUES (2, 'two')")
            connection.commit()
            ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.assertEqual((busy, rows), (0, [(1,)]))

    def test_a_change_of_a_database_without_a_log_voids_what_was_read(self) -> None:
        with self.writing("delete"):
            pass

        def read() -> None:
            with database.opened(self.path) as opened:
                opened.rows("SELECT n FROM t")
                with self.writing("delete"):
                    pass

        error = self.assertRaises(Busy, read)
        self.assertEqual(error.reason, "it changed while it was read")

    def test_a_database_in_the_place_of_another_voids_what_was_read(self) -> None:
        self.killed()

        def read() -> None:
            with database.opened(self.path) as opened:
                opened.rows("SELECT n FROM t")
                shutil.copy(self.path, f"{self.path}.new")
                os.replace(f"{self.path}.new", self.path)

        self.assertRaises(Busy, read)

    def test_what_sqlite_says_is_told_in_words(self) -> None:
        with self.writing():
            pass
        for code, kind, words in (
            ("SQLITE_BUSY", Busy, "it is locked"),
            ("SQLITE_LOCKED_SHAREDCACHE", Busy, "it is locked"),
            ("SQLITE_READONLY_RECOVERY", Busy, "it is locked"),
            ("SQLITE_INTERRUPT", Unreadable, "it takes too long to read"),
            ("SQLITE_CORRUPT", Unreadable, "first line"),
            (None, Unreadable, "first line"),
        ):
            for text, reason in (("first line\nsecond", words), ("x" * 300, words), ("", words)):
                told = sqlite3.OperationalError(text)
                told.sqlite_errorname = code  # type: ignore[assignment]
                if words == "first line":
                    reason = {"": "it is damaged", "x" * 300: "x" * 200}.get(text, words)
                with mock.patch("sqlite3.connect", side_effect=told):
                    error = self.assertRaises(Unreadable, self.numbers)
                self.assertEqual((type(error), error.reason), (kind, reason))

    def test_a_log_that_appears_voids_what_was_read(self) -> None:
        with self.writing():
            pass

        def read() -> None:
            with database.opened(self.path) as opened:
                opened.rows("SELECT n FROM t")
                self.enterContext(self.writing())

        self.assertRaises(Busy, read)

    def test_an_unfinished_change_without_a_log(self) -> None:
        with self.writing("delete") as connection:
            connection.execute("INSERT INTO t VALUES (2, 'two')")
            self.assert_refused("not ended", Busy)

    def test_a_database_that_is_not_there(self) -> None:
        self.assert_refused("it is gone", Missing)
        self.assertEqual(self.state(), {})

    def test_what_is_no_database(self) -> None:
        for content in (b"\0" * 100, b"not a database" * 100, b"SQLite format 3\0" + b"x" * 5000):
            with open(self.path, "wb") as file:
                file.write(content)
            self.assertRaises(Unreadable, self.numbers)
            self.assertEqual(self.state(), {os.path.basename(self.path): content})

    def test_a_damaged_database_is_an_error(self) -> None:
        with self.writing():
            pass
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)
        self.assertRaises(Unreadable, self.numbers)

    def test_what_is_no_file_of_ours(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path)):
                self.setUp()
                if suffix:
                    self.killed()
                path = f"{self.path}{suffix}"
                if os.path.exists(path):
                    os.remove(path)
                make(path)
                self.assert_refused("no file of ours")

    def test_a_file_of_another_user(self) -> None:
        with self.writing():
            pass
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            self.assert_refused("no file of ours")

    def test_a_log_that_is_too_long(self) -> None:
        self.killed()
        with mock.patch.object(database, "WAL_LIMIT", 10):
            self.assert_refused("longer than 10 bytes")

    def test_a_query_that_does_not_end(self) -> None:
        endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
        with self.writing(), database.opened(self.path) as opened:
            error = self.assertRaises(Unreadable, opened.rows, f"{endless} WHERE n < 0")
        self.assertIn("too long", error.reason)

    def test_a_value_that_is_too_long(self) -> None:
        with self.writing() as connection:
            long = "x" * (database.VALUE_LIMIT + 1)
            connection.execute("UPDATE t SET text = ?", (long,))
            connection.commit()
            with database.opened(self.path) as opened:
                error = self.assertRaises(TooLong, opened.rows, "SELECT text FROM t")
                self.assertEqual((error.reason, str(error)), ("a value is too long",) * 2)
                self.assertEqual(opened.rows("SELECT n FROM t"), [(1,)])

    def test_text_that_is_none(self) -> None:
        with self.writing() as connection:
            connection.execute("UPDATE t SET text = CAST(x'ff' AS TEXT)")
            connection.commit()
            with database.opened(self.path) as opened:
                self.assertRaises(Unreadable, opened.rows, "SELECT text FROM t")

    def test_nothing_can_be_written(self) -> None:
        self.killed()
        before = self.state()
        with database.opened(self.path) as opened:
            for change in (
                "INSERT INTO t VALUES (3, '')",
                "CREATE TABLE u (n)",
                "VACUUM",
                "PRAGMA wal_checkpoint(TRUNCATE)",
            ):
                self.assertRaises(Unreadable, opened.rows, change)
        self.assertEqual(self.state(), before)

    def test_the_stamps_are_those_of_the_database_and_its_log(self) -> None:
        self.killed()
        log = f"{self.path}-wal"
        expected = tuple(Stamp.of(os.lstat(path)) for path in (self.path, log))
        self.assertEqual(database.stamps(self.path), expected)
        os.remove(log)
        self.assertEqual(database.stamps(self.path), (expected[0], None))
        os.remove(self.path)
        self.assertEqual(database.stamps(self.path), (None, None))


class CheckTests(SynchronousTestCase):
    """Which tables are what they seem."""

    def check(self, *statements: str) -> None:
        path = os.path.abspath(self.mktemp())
        with closing(sqlite3.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        with database.opened(path) as opened:
            opened.check({"t": {"id", "data"}})

    def test_a_table_with_the_columns_and_more(self) -> None:
        self.check("CREATE TABLE t (id, data, more)")

    def test_a_database_with_other_tables_is_unreadable(self) -> None:
        for statements in (
            ("CREATE TABLE u (id, data)",),
            ("CREATE TABLE t (id)",),
            ("CREATE TABLE u (id, data)", "CREATE VIEW t AS SELECT * FROM u"),
            ("CREATE TABLE t (id, data AS (hex(zeroblob(1000000))))",),
            ("CREATE VIRTUAL TABLE t USING fts4(id, data)",),
        ):
            self.assertRaises(Unreadable, self.check, *statements)
