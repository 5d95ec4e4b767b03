from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis.monitor import database, files
from palingenesis.monitor.agents.opencode import Opencode
from palingenesis.monitor.files import Walk
from palingenesis.monitor.homes import Home
from palingenesis.monitor.mounts import Mount
from palingenesis.monitor.owners import Lock, Snapshot
from palingenesis.monitor.processes import Process
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import Record, Stamp
from palingenesis.words import Kind, Owner
from tests.support.needs import needs_linux
from tests.support.texts import ENCODABLE
from tests.unit.monitor import databases
from tests.unit.monitor.databases import AT, DIRECTORY, SESSION, USER, assistant, failed, tool
from tests.unit.monitor.test_agents import SHAPES, paths, replaced

END = (AT + 2000) / 1000
DATE = "Sat, 19 Sep 2026 12:25:00 GMT"
ABORTED = {"name": "MessageAbortedError", "data": {"message": "Aborted"}}
OTHER = "ses_other"
NOBODY = 65534


class OpencodeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = os.path.abspath(self.mktemp())
        os.mkdir(self.home)
        self.path = os.path.join(self.home, "opencode.db")
        self.transcript = f"{self.path}#{SESSION}"
        self.agent = Opencode()
        self.warnings: list[str] = []

    def scan(self) -> dict[str, Stamp]:
        found = self.agent.sessions(self.home, Walk(self.warnings.append))
        return dict(each for each in found if each is not None)

    def run_sql(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, values)


class VerdictTests(OpencodeTestCase):
    """What the newest messages mean."""

    def verdict(self, *messages: Any, parts: Any = ()) -> Verdict:
        self.setUp()
        databases.make(self.path)
        databases.add(self.path, messages, parts)
        found = self.agent.read(self.transcript)
        assert found is not None
        self.assertEqual(found[0], Identity(SESSION, DIRECTORY))
        return found[1]

    def test_a_finished_turn_is_finished(self) -> None:
        verdict = self.verdict(USER, assistant("tool-calls", AT + 900), assistant("stop"))
        self.assertEqual((verdict.kind, verdict.at, verdict.progress), (Kind.FINISHED, END, END))

    def test_a_prompt_is_its_only_text_without_the_quotes_of_a_command_line(self) -> None:
        for texts, prompt in (
            (["continue"], "continue"),
            (['"go on with \\"it\\""'], 'go on with "it"'),
            (["one", "another"], None),
            ([], None),
        ):
            parts = [{"type": "text", "text": text} for text in texts]
            verdict = self.verdict(USER, parts=parts)
            self.assertEqual((verdict.prompt, verdict.at), (prompt, AT / 1000))

    def test_the_middle_of_a_turn(self) -> None:
        text = {"type": "text", "text": "I begin", "time": {"start": AT}}
        for messages, parts in (
            ([USER], []),
            ([assistant("stop"), USER], []),
            ([USER, assistant(ended=None)], []),
            ([USER, assistant(ended=None)], [text, tool("running")]),
            ([USER, assistant(ended=None)], [tool("completed")]),
            ([USER, assistant("tool-calls")], [tool("completed")]),
            ([USER, assistant("tool-calls")], [tool("error", error="no such file")]),
            ([USER, assistant("unknown")], []),
            # A full context is compacted first.
            ([USER, assistant()], []),
        ):
            self.assertIsNone(self.verdict(*messages, parts=parts).kind, messages)

    def test_a_turn_that_ended_in_no_usual_way(self) -> None:
        for finish in ("length", "content-filter", "error", "other"):
            self.assertEqual(self.verdict(USER, assistant(finish)).kind, Kind.UNKNOWN)

    def test_a_tool_that_worked_is_progress_before_its_message_ends(self) -> None:
        done = tool("completed", time={"start": AT, "end": AT + 5000})
        verdict = self.verdict(USER, assistant(ended=None), parts=[done, tool("running")])
        self.assertEqual((verdict.at, verdict.progress), ((AT + 5000) / 1000,) * 2)

    def test_an_error_is_no_progress(self) -> None:
        verdict = self.verdict(USER, assistant("tool-calls", AT + 900), failed(529))
        self.assertEqual(verdict.progress, (AT + 900) / 1000)
        self.assertIsNone(self.verdict(USER, failed(529)).progress)

    def test_each_error_has_its_kind(self) -> None:
        quota = "You exceeded your current quota, please check your plan and billing details."
        for message, kind in (
            (failed(429, "Rate limit reached for requests"), Kind.LIMIT),
            (failed(429, quota), Kind.REFUSED),
            (failed(429, body='{"error": {"code": "insufficient_quota"}}'), Kind.REFUSED),
            (failed(500), Kind.TRANSIENT),
            (failed(503), Kind.TRANSIENT),
            (failed(529, "Overloaded"), Kind.TRANSIENT),
            (failed(408), Kind.TRANSIENT),
            (failed(401, "Incorrect API key"), Kind.REFUSED),
            (failed(402), Kind.REFUSED),
            (failed(403), Kind.REFUSED),
            (failed(413), Kind.CONTEXT),
            (failed(400, "timed out"), Kind.UNKNOWN),
            (failed(None, "Cannot connect to API: Unable to connect."), Kind.TRANSIENT),
            (failed(None, "Connection reset by server", isRetryable=True), Kind.TRANSIENT),
            (failed(None, "x", isRetryable=True), Kind.TRANSIENT),
            (failed(None, "x", isRetryable="yes"), Kind.UNKNOWN),
            (assistant(error=ABORTED), Kind.USER),
            (assistant(ended=None, error=ABORTED), Kind.USER),
            (assistant(error={"name": "ContextOverflowError", "data": {}}), Kind.CONTEXT),
            (assistant(error={"name": "ProviderAuthError", "data": {}}), Kind.REFUSED),
            (assistant(error={"name": "UnknownError", "data": {"message": "?"}}), Kind.UNKNOWN),
            (assistant(error={"name": ["x"], "data": "y"}), Kind.UNKNOWN),
        ):
            self.assertEqual(self.verdict(USER, message).kind, kind, message)

    def test_resets_are_read_from_the_headers(self) -> None:
        for headers, reset in (
            ({"retry-after": "3600", "date": DATE}, AT / 1000 + 3600),
            ({"retry-after": "3600"}, END + 3600),
            ({"retry-after": "1.5", "date": "nonsense"}, END + 1.5),
            ({"retry-after": "Sat, 19 Sep 2026 14:25:00 GMT"}, AT / 1000 + 7200),
            ({"retry-after": "Sat, 19 Sep 2026 10:25:00 GMT"}, None),
            ({"retry-after": "5", "date": "Sat, 19 Sep 2026 10:25:00 GMT"}, None),
            ({"retry-after": "-5"}, None),
            ({"retry-after": "9" * 400}, None),
            ({"retry-after": 60}, None),
            ({}, None),
        ):
            verdict = self.verdict(USER, failed(429, headers=headers))
            self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, reset), headers)

    def test_a_reset_that_only_the_text_states(self) -> None:
        verdict = self.verdict(USER, failed(429, "Too many requests, try again in 2 hours"))
        self.assertEqual(verdict.reset, END + 7200)

    def test_what_waits_for_a_person(self) -> None:
        asked = tool("running", "question")
        verdict = self.verdict(USER, assistant(ended=None), parts=[asked, tool("completed")])
        self.assertEqual(verdict.kind, Kind.ASKING)

    def test_what_a_person_turned_down(self) -> None:
        for error, kind in (
            ("The user rejected permission to use this specific tool call.", Kind.REFUSED),
            ("The user dismissed this question", Kind.USER),
        ):
            parts = [tool("error", error=error), tool("completed")]
            verdict = self.verdict(USER, assistant("tool-calls"), parts=parts)
            self.assertEqual(verdict.kind, kind)
            self.assertEqual(verdict.permission, kind is Kind.REFUSED)
            # The turn went on.
            later = self.verdict(USER, assistant("tool-calls"), assistant("stop"))
            self.assertEqual(later.kind, Kind.FINISHED)

    def test_a_session_without_messages(self) -> None:
        self.assertEqual(self.verdict().kind, Kind.UNKNOWN)

    def test_the_key_changes_when_a_message_ends(self) -> None:
        before, after = self.verdict(USER, assistant(ended=None)), self.verdict(USER, failed(529))
        self.assertNotEqual(before.key, after.key)

    def test_what_cannot_be_read_is_unknown(self) -> None:
        for data in ("nonsense", "", "{", "[" * 2000):
            self.assertEqual(self.verdict(USER, data).kind, Kind.UNKNOWN)

    def test_values_of_another_type(self) -> None:
        for data in ("1", "[]", '"text"', "null", '{"role": 1, "time": []}'):
            self.assertIsNone(self.verdict(assistant("stop"), data).kind)

    def test_a_message_that_is_too_long_is_passed_over(self) -> None:
        long = {**USER, "summary": {"diffs": ["x" * database.VALUE_LIMIT]}}
        self.assertIsNone(self.verdict(assistant("stop"), long).kind)
        self.assertEqual(self.verdict(long, assistant("stop")).kind, Kind.FINISHED)

    def test_a_part_that_is_too_long_is_passed_over(self) -> None:
        parts = [tool("running", "question"), tool("completed", output="x" * database.VALUE_LIMIT)]
        verdict = self.verdict(USER, assistant(ended=None), parts=parts)
        self.assertEqual(verdict.kind, Kind.ASKING)

    def test_a_value_of_another_shape_spoils_no_reading(self) -> None:
        times = {"created": AT, "completed": AT + 900}
        data = {"message": "x", "statusCode": 429, "responseHeaders": {"retry-after": "30"}}
        error = {"name": "APIError", "data": data}
        parts = [
            ["tool", "bash", status, "x", {"start": AT, "end": AT}, None]
            for status in ("running", "error")
        ]
        common = {"id": "msg_1", "time": times, "finish": "stop", "error": None, "parts": parts}
        texts = [["text", None, None, None, None, "go on"]]
        for message in (
            {**common, "role": "assistant"},
            {**common, "role": "assistant", "error": error},
            {**common, "role": "assistant", "finish": "tool-calls"},
            {**common, "role": "assistant", "time": {"created": AT}},
            {**common, "role": "user", "parts": texts},
        ):
            for path in paths(message):
                for new in SHAPES:
                    record = Record(0, replaced(message, path, new))
                    verdict = self.agent.verdict(self.agent.meaningful([record]))
                    self.assertTrue(verdict.kind is None or isinstance(verdict.kind, Kind))
                    self.assertRegex(verdict.key, r"\A[\w-]*(?:@[0-9]+)?\Z")

    @settings(max_examples=60, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(ENCODABLE),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["role", "time", "created", "completed", "error", "data", "name"]
                    )
                    | st.text(ENCODABLE, max_size=3),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=8,
        )
    )
    def test_any_message_is_read_to_an_end(self, data: Any) -> None:
        verdict = self.verdict(json.dumps(data))
        self.assertTrue(verdict.kind is None or isinstance(verdict.kind, Kind))
        self.assertTrue(verdict.key.isprintable() and len(verdict.key) <= 100)


class SessionsTests(OpencodeTestCase):
    """Which sessions are found, and when they have changed."""

    def setUp(self) -> None:
        super().setUp()
        databases.make(self.path, "PRAGMA journal_mode = wal")
        databases.add(self.path, [USER])

    def test_a_session_is_found_in_the_database(self) -> None:
        status = os.stat(self.path)
        stamp = Stamp(status.st_dev, status.st_ino, 1, AT * 1_000_000)
        self.assertEqual(self.scan(), {self.transcript: stamp})
        self.assertEqual(self.agent.stamp(self.transcript), stamp)

    def test_a_session_that_grows(self) -> None:
        before = self.scan()
        databases.add(self.path, [assistant("stop")])
        after = self.scan()
        self.assertNotEqual(before, after)
        self.assertEqual(self.agent.stamp(self.transcript), after[self.transcript])
        self.assertEqual(after, self.scan())

    def test_a_session_grows_with_those_of_its_sub_agents(self) -> None:
        databases.add(self.path, [USER], session=OTHER, parent_id=SESSION)
        before = self.scan()
        self.assertEqual(list(before), [self.transcript])
        databases.add(self.path, [assistant("stop")], session=OTHER)
        self.assertNotEqual(self.agent.stamp(self.transcript), before[self.transcript])
        (after,) = self.scan().values()
        self.assertEqual(after.size - before[self.transcript].size, 1)
        self.assertEqual(after.mtime_ns, (AT + 1) * 1_000_000)

    def test_nothing_is_read_while_no_file_changes(self) -> None:
        found = [self.scan(), self.scan()]
        with mock.patch.object(database, "opened", side_effect=AssertionError):
            found += [self.scan()]
            self.agent.stamp(self.transcript)
        self.assertEqual(found[1:], found[:-1])

    @needs_linux("descriptors are listed in /proc")
    def test_no_database_stays_open(self) -> None:
        self.scan()
        self.agent.read(self.transcript)
        self.agent.stamp(self.transcript)
        places = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        opened = {os.readlink(place) for place in places if os.path.lexists(place)}
        self.assertEqual({path for path in opened if path.startswith(self.path)}, set())

    def test_no_session_is_found(self) -> None:
        for column, value in (("parent_id", "x"), ("time_archived", AT), ("directory", "app")):
            self.setUp()
            self.run_sql(f"UPDATE session SET {column} = ?", value)
            self.assertIsNone(self.agent.read(self.transcript))

    def test_a_session_that_is_deleted(self) -> None:
        databases.add(self.path, [USER], session=OTHER)
        self.scan()
        self.run_sql("DELETE FROM session WHERE id = ?", SESSION)
        self.assertEqual(list(self.scan()), [f"{self.path}#{OTHER}"])
        self.assertIsNone(self.agent.stamp(self.transcript))
        self.assertRaises(FileNotFoundError, self.agent.read, self.transcript)

    def test_a_database_that_is_gone(self) -> None:
        self.scan()
        os.remove(self.path)
        self.assertEqual(self.scan(), {})
        self.assertIsNone(self.agent.stamp(self.transcript))
        self.assertRaises(FileNotFoundError, self.agent.read, self.transcript)
        self.assertEqual(self.warnings, [])

    def test_each_channel_has_a_database(self) -> None:
        other = os.path.join(self.home, "opencode-dev.db")
        databases.make(other)
        databases.add(other, [USER])
        self.assertEqual(set(self.scan()), {self.transcript, f"{other}#{SESSION}"})

    def test_a_link_to_a_database_is_left_out(self) -> None:
        os.rename(self.path, os.path.join(self.home, "elsewhere"))
        os.symlink("elsewhere", self.path)
        self.assertEqual(self.scan(), {})
        self.assertRaises(OSError, self.agent.read, self.transcript)

    def test_another_user_s_database_by_any_link_is_left_alone(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root gives files away")
        theirs = os.path.join(self.home, "theirs")
        os.rename(self.path, theirs)
        os.chown(theirs, NOBODY, NOBODY)
        for link in (os.symlink, os.link):
            link(theirs, self.path)
            self.assertEqual(self.scan(), {})
            self.assertRaises(OSError, self.agent.read, self.transcript)
            os.remove(self.path)

    def test_more_sessions_than_are_looked_at(self) -> None:
        databases.add(self.path, [USER], session=OTHER)
        walk = Walk(self.warnings.append)
        with mock.patch("palingenesis.monitor.agents.opencode.SESSIONS", 1):
            list(self.agent.sessions(self.home, walk))
        self.assertTrue(walk.cut_short)
        self.assertEqual(len(self.warnings), 1)

    def assert_unknown(self) -> None:
        """Check that known sessions are unknown, with one warning, until they can be read."""
        found = self.scan()
        self.assertEqual(list(found), [self.transcript])
        self.assertEqual(len(self.warnings), 1)
        known = Identity(SESSION, DIRECTORY)
        reading = self.agent.read(self.transcript, known)
        self.assertEqual(reading, (known, Verdict(Kind.UNKNOWN, "")))
        # It is not read at each scan until then.
        self.assertEqual(self.scan(), found)
        self.assertRaises(OSError, self.agent.read, self.transcript)
        self.assertNotEqual(self.agent.stamp(self.transcript), found[self.transcript])

    def test_a_database_of_another_schema_is_unknown(self) -> None:
        for change in (
            "ALTER TABLE event_sequence RENAME COLUMN seq TO number",
            "ALTER TABLE message RENAME TO messages",
            "DROP TABLE part",
        ):
            self.setUp()
            before = self.scan()
            self.run_sql(change)
            self.assert_unknown()
            self.assertNotEqual(self.scan(), before)

    def test_a_view_in_the_place_of_a_table(self) -> None:
        self.scan()
        self.run_sql("ALTER TABLE message RENAME TO messages")
        self.run_sql(
            "CREATE VIEW message AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
            " SELECT n AS id, n AS session_id, n AS time_created, n AS time_updated, n AS data"
            " FROM c"
        )
        self.assert_unknown()

    def test_a_damaged_database_is_unknown(self) -> None:
        self.scan()
        with open(self.path, "r+b") as file:
            file.write(b"no database at all")
        self.assert_unknown()

    def test_a_database_that_was_damaged_for_a_time(self) -> None:
        before = self.scan()
        with open(self.path, "rb") as file:
            content = file.read()
        with open(self.path, "wb") as file:
            file.write(b"no database at all")
        self.assert_unknown()
        with open(self.path, "wb") as file:
            file.write(content)
        self.scan()
        self.assertEqual(self.scan()[self.transcript][2:], before[self.transcript][2:])

    def test_a_moment_without_an_answer_leaves_no_session_unread(self) -> None:
        before = self.scan()
        known = Identity(SESSION, DIRECTORY)
        with mock.patch.object(database, "opened", side_effect=database.Busy("busy")):
            self.assertIsNone(self.agent.stamp(self.transcript))
            self.assertEqual(
                self.agent.read(self.transcript, known), (known, Verdict(Kind.UNKNOWN, ""))
            )
            self.assertNotEqual(self.scan(), before)
        self.assertEqual(self.warnings, [])
        self.assertEqual(self.scan(), before)

    def test_what_was_not_read_for_a_moment_is_read_anew(self) -> None:
        known = Identity(SESSION, DIRECTORY)
        for look in (self.agent.stamp, lambda path: self.agent.read(path, known)):
            self.scan()
            before = self.scan()
            self.agent._listings.clear()
            with mock.patch.object(database, "opened", side_effect=database.Busy("busy")):
                look(self.transcript)
            self.assertNotEqual(self.scan(), before)
            self.assertEqual(self.scan(), before)

    def test_a_database_in_the_place_of_another_has_other_sessions(self) -> None:
        databases.add(self.path, [USER], session=OTHER)
        self.scan()
        before = self.scan()
        place = f"{self.path}.new"
        with closing(sqlite3.connect(self.path)) as old, closing(sqlite3.connect(place)) as new:
            old.backup(new)
        os.replace(place, self.path)
        inode = os.stat(self.path).st_ino
        after = self.scan()
        self.assertEqual(after.keys(), before.keys())
        self.assertEqual({stamp.inode for stamp in after.values()}, {inode})

    def test_a_long_list_is_read_with_pauses(self) -> None:
        databases.add(self.path, [USER], session=OTHER)
        with mock.patch.object(files, "STRIDE", 1):
            found = list(self.agent.sessions(self.home, Walk(self.warnings.append)))
        self.assertEqual(
            {each[0] for each in found if each}, {self.transcript, f"{self.path}#{OTHER}"}
        )
        self.assertEqual([bool(each) for each in found[-4:]], [True, False, True, False])
        self.assertEqual(found[:2], [None, None])

    def test_numbers_that_are_none_list_no_session(self) -> None:
        for number in (-1, 1.5, 2**53):
            self.setUp()
            self.run_sql("UPDATE event_sequence SET seq = ?", number)
            self.assertEqual(self.scan(), {}, number)

    def test_triggers_of_a_database_do_nothing(self) -> None:
        self.run_sql("CREATE TRIGGER t AFTER UPDATE ON session BEGIN DELETE FROM message; END")
        self.assertEqual(list(self.scan()), [self.transcript])

    def test_text_in_the_place_of_numbers(self) -> None:
        self.run_sql("UPDATE message SET time_updated = 'late', time_created = x'ff'")
        self.run_sql("UPDATE event_sequence SET seq = 'many'")
        self.assertEqual(self.scan(), {})
        found = self.agent.read(self.transcript)
        assert found is not None
        self.assertIsNone(found[1].kind)

    def test_a_hundred_thousand_rows_in_a_session(self) -> None:
        count = 50_000
        numbers = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT {count})"
        self.run_sql(
            f"{numbers} INSERT INTO message SELECT 'm' || n, ?, n, n, '{{}}' FROM c", SESSION
        )
        self.run_sql(
            f"{numbers} INSERT INTO part SELECT 'p' || n, ?, ?, n, n, '{{}}' FROM c",
            f"msg_{SESSION[4:]}_0000",
            SESSION,
        )
        with mock.patch.object(database, "BUDGET", 20_000):
            self.assertEqual(list(self.scan()), [self.transcript])
            found = self.agent.read(self.transcript)
        assert found is not None
        self.assertIsNone(found[1].kind)


class HomeTests(SynchronousTestCase):
    def test_where_its_home_is(self) -> None:
        for environment, home in (
            ({"HOME": "/home/you"}, "/home/you/.local/share/opencode"),
            ({"HOME": "/home/you", "XDG_DATA_HOME": "/data/"}, "/data/opencode"),
            ({"HOME": "/home/you", "XDG_DATA_HOME": "data"}, "/home/you/.local/share/opencode"),
            ({"OPENCODE_DB": "/db/mine.db", "XDG_DATA_HOME": "/data"}, "/db"),
            ({"OPENCODE_DB": "mine.db", "XDG_DATA_HOME": "/data"}, "/data/opencode"),
        ):
            self.assertEqual(Opencode().home(environment), home)

    def test_how_its_program_finds_a_named_home(self) -> None:
        for directory, environment in (
            ("/data/opencode", {"XDG_DATA_HOME": "/data"}),
            ("/data/oc", {"OPENCODE_DB": "/data/oc/opencode.db"}),
        ):
            home = Home("work", "opencode", directory, is_named=True)
            self.assertEqual(home.environment, environment)


class OwnersTests(OpencodeTestCase):
    def setUp(self) -> None:
        super().setUp()
        databases.make(self.path, "PRAGMA journal_mode = wal")
        databases.add(self.path, [USER])

    def owner(
        self,
        *processes: Process,
        locks: frozenset[Lock] | None = frozenset(),
        is_open: bool = False,
    ) -> Owner:
        snapshot = Snapshot(
            {process.pid: process for process in processes},
            locks,
            (Mount("/", "ext4", os.stat(os.path.dirname(self.path)).st_dev),),
            have_open=lambda paths: is_open and self.path in paths,
        )
        owners = self.agent.owners(self.home, snapshot)
        return owners.witness(Identity(SESSION, DIRECTORY), self.transcript).owner

    def test_nothing_has_the_database_open(self) -> None:
        self.assertEqual(self.owner(), Owner.GONE)

    def test_the_directory_of_a_process_proves_nothing(self) -> None:
        process = Process(7, "1", ("opencode",), "opencode", directory=DIRECTORY)
        self.assertEqual(self.owner(process), Owner.GONE)

    def test_a_process_that_names_the_session(self) -> None:
        process = Process(7, "1", ("opencode", "-s", SESSION), "opencode", directory="/")
        self.assertEqual(self.owner(process), Owner.PROGRAM)

    def test_a_process_that_has_a_database_open(self) -> None:
        self.assertEqual(self.owner(is_open=True), Owner.UNKNOWN)

    def test_a_lock_of_anybody_s(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("SELECT count(*) FROM session").fetchone()
            for suffix in ("", "-wal", "-shm"):
                status = os.stat(f"{self.path}{suffix}")
                lock = Lock(status.st_dev + 1, status.st_ino)
                self.assertEqual(self.owner(locks=frozenset({lock})), Owner.UNKNOWN)

    def test_locks_that_cannot_be_listed(self) -> None:
        self.assertEqual(self.owner(locks=None), Owner.UNKNOWN)

    def test_a_home_that_is_gone(self) -> None:
        self.home = os.path.join(self.home, "gone")
        self.assertEqual(self.owner(), Owner.UNKNOWN)
