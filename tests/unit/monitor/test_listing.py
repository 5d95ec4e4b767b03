"""Which sessions and entries a client asks for, and in which order it gets them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import ENTRIES_LIMIT
from palingenesis.monitor.listing import (
    COUNT,
    EVERY,
    LogQuery,
    QueryError,
    SessionsQuery,
    session_named,
)
from palingenesis.monitor.roster import Session
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import Stamp
from palingenesis.words import Kind, State


def make_session(identity: str, since: float = 0.0, agent: str = "claude", **more: Any) -> Session:
    home = Home(more.pop("home", agent), agent, "/h")
    stamp = Stamp(0, 0, 0, int(since * 1e9))
    verdict = Verdict(Kind.LIMIT, "")
    return Session(home, Identity(identity, "/d"), "/t", stamp, verdict, 0.0, **more)


class SessionsTests(SynchronousTestCase):
    def ids(self, query: SessionsQuery, sessions: list[Session], oldest: float = 0.0) -> str:
        return " ".join(each.identity.id for each in query.chosen(sessions, oldest))

    def test_the_urgent_come_first_and_then_those_that_grew_last(self) -> None:
        sessions = [
            make_session("left", 9, state=State.LEFT),
            make_session("works", 8, state=State.WORKING),
            make_session("waits", 7, state=State.WAITING),
            make_session("revives", 6, state=State.REVIVING),
            make_session("needs-early", 4, state=State.WORKING, needs="a permission"),
            make_session("needs", 5, state=State.LEFT, needs="a permission"),
            make_session("needed-once", 3, state=State.WORKING, needs="a permission"),
        ]
        self.assertEqual(
            self.ids(EVERY, sessions, oldest=4),
            "needs needs-early revives waits works needed-once left",
        )

    def test_those_of_one_moment_come_by_agent_and_id(self) -> None:
        sessions = [make_session("b"), make_session("a"), make_session("c", agent="codex")]
        self.assertEqual(self.ids(EVERY, [*reversed(sessions)]), "a b c")

    def test_a_filter_names_a_state_an_agent_or_a_home(self) -> None:
        sessions = [
            make_session("a", 3, home="work", state=State.WAITING),
            make_session("b", 2),
            make_session("c", 1, agent="codex"),
        ]
        for text, ids in (
            ("", "a b c"),
            ("state=waiting", "a"),
            ("agent=claude", "a b"),
            ("agent=claude home=claude", "b"),
            ("home=codex", "c"),
            ("home=none", ""),
            ("after=a", "b c"),
            ("after=c", ""),
            ("after=a state=working", "b c"),
        ):
            self.assertEqual(self.ids(SessionsQuery.parsed(text), sessions), ids, text)

    def test_a_page_after_a_session_that_is_gone_is_not_the_last_one(self) -> None:
        query = SessionsQuery.parsed("after=gone")
        error = self.assertRaises(QueryError, query.chosen, [], 0.0)
        self.assertIn("after=gone: that session is gone", str(error))

    def test_a_filter_that_cannot_be_understood_is_named(self) -> None:
        for text, reason in (
            ("state=asleep", "state=asleep: expected one of working, "),
            ("agent=gemini", "agent=gemini: expected one of claude, "),
            ("stat=working", "stat=working: expected state=STATE agent=AGENT home=HOME after="),
            ("agent=", "agent=: expected state=STATE"),
            ("5", "5: expected state=STATE"),
        ):
            error = self.assertRaises(QueryError, SessionsQuery.parsed, text)
            self.assertTrue(str(error).startswith(reason), error)


class LogTests(SynchronousTestCase):
    def test_a_number_is_a_count(self) -> None:
        for text, query in (
            ("", LogQuery()),
            (" 5 ", LogQuery(5)),
            ("count=5 since=7.5 session=ab", LogQuery(5, 7.5, "ab")),
            ("since=7", LogQuery(since=7.0)),
            ("999999999", LogQuery(ENTRIES_LIMIT)),
        ):
            self.assertEqual(LogQuery.parsed(text), query, text)

    def test_a_filter_that_cannot_be_understood_is_named(self) -> None:
        number = f"expected a number from 1 to {ENTRIES_LIMIT}"
        for text, reason in (
            ("0", f"0: {number}, or count=COUNT since=SINCE session=SESSION"),
            ("\u0665", f"\u0665: {number}, or count=COUNT"),
            ("1000000000", f"1000000000: {number}, or count=COUNT"),
            ("count=0", f"count=0: {number}"),
            ("count=-1", f"count=-1: {number}"),
            ("count=\u0665", f"count=\u0665: {number}"),
            ("since=1.2.3", "since=1.2.3: expected seconds since the epoch"),
            ("since=noon", "since=noon: expected seconds since the epoch"),
        ):
            error = self.assertRaises(QueryError, LogQuery.parsed, text)
            self.assertTrue(str(error).startswith(reason), error)

    def numbers(self, query: LogQuery, count: int = 3 * COUNT) -> list[int]:
        """Return the numbers of the entries that are chosen: every third is of no session."""
        names = ("abcd", "abef", None)
        entries = [{"at": float(n), "session": names[n % 3]} for n in range(count)]
        return [int(each["at"]) for each in query.chosen(entries)]

    def test_the_last_entries_are_shown(self) -> None:
        self.assertEqual(self.numbers(LogQuery()), [*range(2 * COUNT, 3 * COUNT)])
        self.assertEqual(self.numbers(LogQuery(2)), [58, 59])
        self.assertEqual(self.numbers(LogQuery(2, session="ab")), [57, 58])

    def test_a_time_or_a_session_has_all_of_its_entries(self) -> None:
        self.assertEqual(self.numbers(LogQuery(since=30.0)), [*range(30, 60)])
        self.assertEqual(self.numbers(LogQuery(session="abc"), 7), [0, 3, 6])
        self.assertEqual(self.numbers(LogQuery(since=2.0, session="ab"), 7), [3, 4, 6])


class NamedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sessions = [make_session(each) for each in ("abcd-1", "abcd-12", "abce-1")]

    def test_a_session_is_named_by_the_beginning_of_its_id(self) -> None:
        for beginning, found in (("abce", "abce-1"), ("abcd-12", "abcd-12"), ("abcd-1", "abcd-1")):
            self.assertEqual(session_named(self.sessions, beginning).identity.id, found)

    def test_a_beginning_of_none_or_of_several_is_refused(self) -> None:
        for beginning, reason in (
            ("abc", "give at least 4 characters of the id"),
            ("abcx", "no session has an id that begins so"),
            ("abcd", "2 sessions have an id that begins so: abcd-1, abcd-12"),
        ):
            error = self.assertRaises(QueryError, session_named, self.sessions, beginning)
            self.assertEqual(str(error), reason)

    def test_of_many_sessions_five_are_named(self) -> None:
        sessions = [make_session(f"abcd-{n}") for n in range(9)]
        error = self.assertRaises(QueryError, session_named, sessions, "abcd")
        self.assertTrue(str(error).endswith(": abcd-0, abcd-1, abcd-2, abcd-3, abcd-4"), error)
