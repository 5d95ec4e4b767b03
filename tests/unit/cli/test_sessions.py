"""The table of the sessions, made of values."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.columns import MARKS_LIMIT, WIDTH, width
from palingenesis.cli.reasons import KINDS, REASONS
from palingenesis.cli.sessions import NARROWEST, advice, legend, table
from tests.support.monitored import NOW, session
from tests.support.texts import ENCODABLE

WORDS = st.none() | st.sampled_from([*KINDS, *REASONS, "limit", "working", "later-word"])
ANYTHING = (
    WORDS
    | st.text(ENCODABLE, max_size=100)
    | st.integers()
    | st.floats()
    | st.lists(st.none(), max_size=2)
    | st.booleans()
)


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"HOME": "/home/you"})

    def row(self, **known: Any) -> str:
        """Show one session, its lines joined, each run of spaces as one."""
        _, *lines = table([session(**known)], NOW, colour=False)
        return " ".join(" ".join(lines).split())

    def test_the_columns_have_heads_and_stand_below_them(self) -> None:
        shown = table([session(directory="/home/you/app", attempts=2)], NOW, colour=False)
        self.assertEqual(
            shown,
            [
                "id    agent   directory  state    stop",
                "1111  claude  ~/app      working  grew 3 seconds ago; 2 attempts",
            ],
        )

    def test_a_stop_is_told_with_its_due_time_and_what_holds_it(self) -> None:
        row = self.row(state="stopped", kind="limit", due=NOW + 7500, held="no-method")
        self.assertIn("limit; due in 2 hours 5 minutes; no-method", row)

    def test_a_due_time_in_the_past_is_told_as_such(self) -> None:
        row = self.row(state="stopped", kind="died", due=NOW - 60, held="crashes")
        self.assertIn("died; due 1 minute ago; crashes", row)

    def test_a_due_time_needs_no_further_word(self) -> None:
        row = self.row(state="waiting", kind="limit", due=NOW + 60, held="not-due")
        self.assertTrue(row.endswith("limit; due in 1 minute"), row)

    def test_what_holds_it_longer_than_its_due_time_counts(self) -> None:
        known = {"state": "waiting", "kind": "limit", "due": NOW - 3, "until": NOW + 7500}
        self.assertTrue(self.row(**known, held="hours").endswith("due in 2 hours 5 minutes; hours"))
        self.assertTrue(self.row(**known, held="not-due").endswith("due in 2 hours 5 minutes"))

    def test_without_a_due_time_it_is_told_that_it_is_not_due(self) -> None:
        row = self.row(state="waiting", kind="limit", since=NOW - 60, held="not-due")
        self.assertTrue(row.endswith("limit 1 minute ago; not-due"), row)

    def test_a_stop_without_a_due_time_is_told_with_its_age(self) -> None:
        row = self.row(state="stopped", kind="finished", since=NOW - 7200)
        self.assertTrue(row.endswith("finished 2 hours ago"), row)

    def test_growth_in_the_future_is_now(self) -> None:
        self.assertIn("grew now", self.row(since=NOW + 9000))

    def test_a_long_stop_goes_on_below_itself(self) -> None:
        known = {"directory": "/" + "x" * 60, "kind": "limit", "due": NOW + 7500, "held": "paused"}
        heads, first, second = table([session(**known)], NOW, colour=False)
        self.assertEqual(second.index("paused"), heads.index("stop"))
        self.assertEqual(first.index("limit"), heads.index("stop"))

    def test_the_end_of_a_long_directory_is_kept(self) -> None:
        row = self.row(directory="/home/you/customers/" + "x" * 60 + "/app")
        self.assertRegex(row, r"~/cust[a-z]*/?x*\.\.\.x+/app working")

    def test_a_text_cannot_drive_the_terminal(self) -> None:
        row = self.row(agent="\x1b[2J", directory="/\u202e", kind="\x07")
        self.assertTrue(row.isprintable(), row)
        self.assertIn(r"\x1b[2J", row)

    def test_states_have_colours(self) -> None:
        _, row = table([session(state="given-up")], NOW, colour=True)
        self.assertIn("\x1b[31mgiven-up\x1b[0m", row)

    def test_ids_are_as_short_as_they_can_be_and_differ(self) -> None:
        ids = ("abcdef-1", "abcdef-2", "0123456789")
        rows = table([session(id=each) for each in ids], NOW, colour=False)
        self.assertEqual(
            [row.split()[0] for row in rows], ["id", "abcdef-1", "abcdef-2", "01234567"]
        )

    def test_in_few_columns_a_session_has_two_lines(self) -> None:
        known = {"directory": "/srv/" + "x" * 60, "state": "waiting", "kind": "limit"}
        first, *further = table([session(due=NOW + 60, **known)], NOW, False, NARROWEST)
        self.assertEqual(first.split()[:2], ["1111", "waiting"])
        self.assertEqual([line.strip() for line in further], ["claude: limit; due in 1 minute"])
        self.assertLessEqual(max(map(width, (first, *further))), NARROWEST)

    @settings(deadline=None)
    @given(
        st.lists(
            st.dictionaries(st.sampled_from([*sorted(session()), "needs"]), ANYTHING), max_size=4
        ),
        st.integers(NARROWEST, 200),
    )
    def test_whatever_a_daemon_tells_fits_the_printable_columns(
        self, told: list[Any], columns: int
    ) -> None:
        for line in [
            *table(told, NOW, colour=False, columns=columns),
            *legend(told, colour=False, columns=columns),
        ]:
            self.assertLessEqual(width(line), columns, line)
            self.assertTrue(line.isprintable(), line)


class AdviceTests(SynchronousTestCase):
    def test_the_line_names_the_home_of_another_account(self) -> None:
        variables = {"CLAUDE_CONFIG_DIR": "/home/you/.claude-work"}
        stopped = session(id="abc", directory="/srv", state="stopped", variables=variables)
        self.assertIn("CLAUDE_CONFIG_DIR=/home/you/.claude-work claude", advice([stopped])[-1])
        stopped = session(id="abc", directory="/srv", state="stopped", variables=["odd"])
        self.assertIn("&& claude", advice([stopped])[-1])

    def test_the_line_continues_the_first_session_that_does_not_go_on(self) -> None:
        known = {"state": "stopped", "owner": "gone"}
        stopped = session(id="abc", directory="/srv/my app", kind="asking", **known)
        self.assertEqual(
            advice([session(), stopped, session(**known)])[-1],
            "continue it yourself: cd '/srv/my app' && claude --resume abc",
        )

    def test_nobody_is_told_to_start_a_second_program(self) -> None:
        line = "cd /srv/app && claude --resume 11111111-aaaa"
        unless = ["continue it yourself, unless its program is open:", line]
        for owner, who, told in (
            (
                "program",
                "pid 42 (claude) at pts/3",
                ["continue it there: its program is open (pid 42, pts/3)"],
            ),
            (
                "server",
                "Claude's server, pid 7",
                ["continue it there: Claude's server, pid 7, has it"],
            ),
            ("unknown", "pid 7 hides what it does", unless),
            (None, None, unless),
            ("gone", None, [f"continue it yourself: {line}"]),
        ):
            for state, kind, held in (
                ("stopped", "asking", None),
                ("stopped", "limit", "no-method"),
                ("waiting", "limit", "owner-alive"),
                ("given-up", "limit", "given-up"),
            ):
                with self.subTest(owner=owner, state=state):
                    known = {"state": state, "kind": kind, "held": held, "method": "queue"}
                    stopped = session(owner=owner, who=who, **known)
                    self.assertEqual(advice([stopped]), ["", *told])

    def test_an_open_program_that_is_given_the_prompt_goes_on_by_itself(self) -> None:
        for method in ("queue", "type_into"):
            held = {"state": "waiting", "kind": "limit", "held": "not-due", "method": method}
            there = session(owner="program", who="pid 42 (codex)", **held)
            other = session(state="stopped", owner="gone", id="abc")
            self.assertEqual(advice([there]), [])
            self.assertIn("claude --resume abc", advice([there, other])[-1])

    def test_an_id_that_nobody_can_type_has_no_advice(self) -> None:
        for known in ({"agent": "other"}, {"directory": "/a\x1b[2J"}, {"id": None}):
            self.assertEqual(advice([session(state="stopped", **known)]), [])
        self.assertEqual(advice([session()]), [])


class CellTests(SynchronousTestCase):
    def test_no_row_is_wider_than_the_table_or_longer_than_its_columns_need(self) -> None:
        for text in ("漢" * 400, "e" + "\u0301" * 900, "a\u20dd" * 300, "\u1100\u1161" * 300):
            for key in ("agent", "directory", "state", "attempts", "kind", "held"):
                rows = table([session(**{key: text})], NOW, False)
                with self.subTest(text=ascii(text[:3]), key=key):
                    self.assertLessEqual(max(map(width, rows)), WIDTH)
                    self.assertLessEqual(max(map(len, rows)), WIDTH * (MARKS_LIMIT + 1))


class LegendTests(SynchronousTestCase):
    def legend(self, *sessions: dict[str, Any]) -> str:
        return "\n".join(legend(sessions, colour=False))

    def test_nothing_is_explained_where_no_word_needs_it(self) -> None:
        self.assertEqual(legend([session(), session(kind="finished")], colour=False), [])

    def test_each_word_is_explained_once(self) -> None:
        held = session(kind="died", held="crashes")
        shown = self.legend(held, held)
        self.assertEqual(shown.count("\ncrashes "), 1)
        self.assertEqual(shown.count("\ndied "), 1)

    def test_the_table_that_would_name_a_command_is_named(self) -> None:
        shown = self.legend(
            session(kind="limit", held="no-method"),
            session(kind="limit", held="no-method", agent="codex"),
            session(kind="limit", held="paused", agent="other"),
        )
        self.assertIn("name one in [revive.claude] or [revive.codex]", " ".join(shown.split()))
        shown = self.legend(session(kind="limit", held="no-method", home="work"))
        self.assertIn("name one in [revive.work]", " ".join(shown.split()))

    def test_a_word_that_is_not_shown_is_not_explained(self) -> None:
        self.assertEqual(legend([session(kind="limit", due=NOW, held="not-due")], False), [])
