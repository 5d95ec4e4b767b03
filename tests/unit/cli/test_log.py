"""The ledger's story, made of values."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.log import _EVENTS, story
from palingenesis.words import Event
from tests.support.monitored import NOW, entry

APP = {("claude", "11111111-aaaa"): "/srv/app"}


class StoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        # Five hours behind, so that local time is told from UTC.
        before = os.environ.get("TZ")
        os.environ["TZ"] = "UTC+5"
        time.tzset()
        self.addCleanup(self.restore, before)

    def restore(self, zone: str | None) -> None:
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone
        time.tzset()

    def told(self, event: str, **known: Any) -> str:
        """Tell one entry, without its date."""
        _, line = story([entry(event, **known)], APP)
        return line

    def test_a_night_is_told_line_by_line(self) -> None:
        night = [
            entry("stopped", NOW, kind="limit", due=NOW + 8 * 3600),
            entry("intent", NOW + 8 * 3600, attempt=1),
            entry("started", NOW + 8 * 3600, attempt=1, pid=4242),
            entry("worked", NOW + 8 * 3600 + 9, attempt=1),
        ]
        self.assertEqual(
            story(night, APP),
            [
                "2026-09-19",
                "12:00:00  claude /srv/app  stopped: limit, due 20:00:00",
                "20:00:00  claude /srv/app  revival 1 begins",
                "20:00:00  claude /srv/app  revival 1 started, pid 4242",
                "20:00:09  claude /srv/app  revival 1 worked",
            ],
        )

    def test_the_date_is_told_where_the_day_changes(self) -> None:
        night = [entry("left"), entry("left", NOW + 43_200), entry("left", NOW + 43_201)]
        self.assertEqual(
            [line for line in story(night, APP) if line.startswith("2026")],
            ["2026-09-19", "2026-09-20"],
        )

    def test_a_due_time_on_another_day_has_its_date(self) -> None:
        told = self.told("stopped", kind="limit", due=NOW + 86_400)
        self.assertTrue(told.endswith("stopped: limit, due 2026-09-20 12:00:00"), told)

    def test_a_stop_without_a_due_time_is_told_by_its_kind(self) -> None:
        self.assertTrue(self.told("stopped", kind="asking").endswith("  stopped: asking"))

    def test_a_start_that_could_not_be_is_told_with_its_reason(self) -> None:
        line = self.told("failed", attempt=2, exit=None, reason="no process\x1b")
        self.assertIn("revival 2 failed: no process\\x1b", line)

    def test_a_failure_is_told_with_the_exit_status(self) -> None:
        for status, words in (
            (1, "exit 1"),
            (0, "exit 0"),
            (-15, "signal 15"),
            (None, "exit unknown"),
        ):
            told = self.told("failed", attempt=2, exit=status)
            self.assertTrue(told.endswith(f"  revival 2 failed ({words})"), told)

    def test_what_was_handed_over_is_shown_with_its_method_and_why_it_failed(self) -> None:
        told = self.told("intent", attempt=1, method="queue")
        self.assertTrue(told.endswith("  revival 1 begins, by `queue`"), told)
        for status in (0, None):
            told = self.told("failed", attempt=1, exit=status, reason="its program ended")
            self.assertTrue(told.endswith("  revival 1 failed: its program ended"), told)
        told = self.told("failed", attempt=1, exit=2, reason="no queue")
        self.assertTrue(told.endswith("  revival 1 failed: no queue (exit 2)"), told)

    def test_a_prompt_that_was_typed_has_no_process(self) -> None:
        told = self.told("started", attempt=1, method="type_into")
        self.assertTrue(told.endswith("  revival 1 has typed its prompt"), told)

    def test_a_failure_says_where_its_output_is(self) -> None:
        told = self.told("failed", attempt=2, exit=1, output="/var/o/1-claude-x.log")
        self.assertTrue(told.endswith("failed (exit 1); output in /var/o/1-claude-x.log"), told)

    def test_the_end_of_a_revival_that_worked_is_shown_with_its_exit_status(self) -> None:
        told = self.told("ended", attempt=1, exit=0)
        self.assertTrue(told.endswith("  revival 1 ended (exit 0)"), told)

    def test_a_killed_revival_and_a_need_are_shown_with_their_reason(self) -> None:
        for event, words in (("killed", "revival killed"), ("needs-you", "needs you")):
            self.assertTrue(self.told(event, reason="log in").endswith(f"  {words}: log in"))
            self.assertTrue(self.told(event).endswith(f"  {words}"))

    def test_what_a_person_asked_for_is_shown_with_the_client(self) -> None:
        for event, words in (
            ("on-hold", "on hold"),
            ("released", "released"),
            ("asked", "revival asked for"),
        ):
            told = self.told(event, by="uid 1000, pid 77")
            self.assertTrue(told.endswith(f"  {words} by uid 1000, pid 77"), told)

    def test_the_end_of_trying_is_told_with_the_attempts(self) -> None:
        self.assertTrue(self.told("gave-up", attempt=5).endswith("  gave up after 5 attempts"))
        self.assertTrue(self.told("gave-up").endswith("  gave up"))

    def test_a_pause_is_told_with_its_author_and_no_session(self) -> None:
        for event in ("paused", "resumed"):
            told = self.told(event, session=None, agent=None, by="uid 1000, pid 77")
            self.assertEqual(told, f"12:00:00  {event} by uid 1000, pid 77")

    def test_a_home_that_another_daemon_kept_before_is_mentioned(self) -> None:
        told = self.told("kept", session=None, agent=None)
        self.assertEqual(told, "12:00:00  this daemon revives in a further home from now on")

    def test_every_event_is_described(self) -> None:
        self.assertEqual(set(_EVENTS), set(Event))

    def test_an_event_of_a_later_version_is_told_by_its_name(self) -> None:
        self.assertEqual(self.told("slept"), "12:00:00  claude /srv/app  slept")

    def test_a_session_whose_directory_is_not_known_is_told_by_its_id(self) -> None:
        _, line = story([entry("left")], {})
        self.assertEqual(line, "12:00:00  claude 11111111  left by its user")

    def test_two_sessions_in_one_directory_are_told_apart(self) -> None:
        both = {**APP, ("claude", "22222222-bbbb"): "/srv/app"}
        _, one, other = story([entry("left"), entry("left", session="22222222-bbbb")], both)
        self.assertIn("claude /srv/app 11111111  left", one)
        self.assertIn("claude /srv/app 22222222  left", other)

    def test_a_time_that_is_none_is_told_as_such(self) -> None:
        for at in (None, "soon", 1e300, float("nan"), True):
            told = story([{"event": "paused", "at": at}], {})
            self.assertEqual(told, ["no date", "--:--:--  paused"], at)

    def test_a_text_cannot_drive_the_terminal(self) -> None:
        told = story([entry("\x1b[2J", session="\x07", agent="\u202e", by="\n")], {})
        for line in told:
            self.assertTrue(line.isprintable(), line)
