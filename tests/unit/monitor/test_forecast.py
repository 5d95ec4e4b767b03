"""Tonight's forecast follows the gate, and looks beyond this moment."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.forecast import _WORDS, outlook
from palingenesis.monitor.gate import GATE
from palingenesis.words import Kind, Owner, Reason
from tests.unit.monitor.test_case import NOW, RUNNING, free


class OutlookTests(SynchronousTestCase):
    def told(self, key: str = "key", **changes: Any) -> tuple[str | None, float | None]:
        reason, at, _ = outlook(free(**changes), key)
        return reason, at

    def test_what_is_only_not_due_comes_back_when_it_is(self) -> None:
        self.assertEqual(self.told(due=NOW + 600), (None, NOW + 600))
        self.assertEqual(self.told(starts=[NOW - 600] * 100), (None, NOW + 3000))

    def test_what_would_never_come_back_has_its_reason(self) -> None:
        for changes, reason in (
            ({"paused": True}, Reason.PAUSED),
            ({"revive": {}}, Reason.NO_METHOD),
            ({"kept": {}}, Reason.NOT_THE_KEEPER),
            ({"kind": Kind.REFUSED}, Reason.KIND),
            ({"kind": Kind.DIED}, Reason.CRASHES),
            ({"on_hold": True}, Reason.ON_HOLD),
            ({"given_up": True}, Reason.GIVEN_UP),
            ({"key": "another"}, Reason.NEWER_RECORD),
            ({"due": NOW + 9 * 86_400}, Reason.TOO_FAR),
            ({"windows": 2}, Reason.WINDOWS),
            ({"spends": True}, Reason.SPEND),
            ({"attempts": 100}, Reason.ATTEMPTS),
            ({"owner": Owner.PROGRAM}, Reason.OWNER_ALIVE),
            ({"unusable": "no directory"}, Reason.DIRECTORY),
        ):
            words = _WORDS[reason].format(name="claude", stop=changes.get("kind"))
            self.assertEqual(self.told(**changes), (words, None))

    def test_a_reason_is_seen_before_the_session_is_due(self) -> None:
        self.assertEqual(self.told(due=NOW + 600, spends=True), (_WORDS[Reason.SPEND], None))
        self.assertEqual(self.told(due=NOW + 600, attempts=100), (_WORDS[Reason.ATTEMPTS], None))

    def test_a_revival_under_way_is_no_rival_of_itself(self) -> None:
        self.assertEqual(self.told(running=RUNNING, owner=Owner.PROGRAM), (None, None))

    def test_what_has_it_open_is_named_whatever_becomes_of_it(self) -> None:
        for changes in ({}, {"key": "another"}, {"running": RUNNING}, {"kind": Kind.ASKING}):
            for owner, who in (
                (Owner.PROGRAM, "pid 42"),
                (Owner.SERVER, "pid 42"),
                (Owner.GONE, None),
                (Owner.UNKNOWN, None),
            ):
                case = free(owner=owner, **{k: v for k, v in changes.items() if k != "key"})
                case.session.who = "pid 42"
                self.assertEqual(outlook(case, changes.get("key", "key")).who, who)
        self.assertEqual(outlook(free(owner=Owner.PROGRAM), "key").who, "a program")

    def test_each_reason_that_lasts_has_words(self) -> None:
        passing = {
            Reason.NOT_DUE, Reason.HOURS, Reason.ALREADY_RUNNING, Reason.AT_ONCE,
            Reason.HOURLY_LIMIT,
        }  # fmt: skip
        self.assertEqual(set(_WORDS) | passing, {reason for reason, _ in GATE})
        self.assertEqual([reason for reason, words in _WORDS.items() if not words.strip()], [])


class HoursTests(SynchronousTestCase):
    """A session that is due outside of `hours` comes back when they begin."""

    def setUp(self) -> None:
        before = os.environ.get("TZ")
        os.environ["TZ"] = "UTC"
        time.tzset()
        self.addCleanup(self.restore, before)

    def restore(self, before: str | None) -> None:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()

    def due_at(self, clock: str, hours: tuple[int, int]) -> str:
        hour, minute = map(int, clock.split(":"))
        day = NOW - NOW % 86_400 + 86_400
        _, at, _ = outlook(free(due=day + hour * 3600 + minute * 60, hours=hours), "key")
        assert at is not None
        return time.strftime("%d %H:%M", time.gmtime(at - day))

    def test_within_them_nothing_changes(self) -> None:
        night = (22 * 60, 8 * 60)
        for clock in ("22:00", "23:59", "00:00", "07:59"):
            self.assertEqual(self.due_at(clock, night), f"01 {clock}")

    def test_outside_it_is_when_they_begin_the_next_time(self) -> None:
        self.assertEqual(self.due_at("08:00", (22 * 60, 8 * 60)), "01 22:00")
        self.assertEqual(self.due_at("08:00", (9 * 60 + 30, 17 * 60)), "01 09:30")
        self.assertEqual(self.due_at("17:00", (9 * 60 + 30, 17 * 60)), "02 09:30")
