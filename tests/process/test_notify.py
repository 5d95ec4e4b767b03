"""A word to a person: real commands, told real events."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import processes
from palingenesis.monitor.ledger import HOUR
from palingenesis.monitor.notify import (
    CHOICES,
    HOURLY,
    LIMIT,
    SUMMARY_LIMIT,
    Notifier,
    summary_of,
)
from palingenesis.words import Event
from tests.support.checkout import PROGRAMS
from tests.support.patience import PATIENCE

BEHAVING = str(PROGRAMS / "behaving.py")


def entry(event: str = "worked", **known: Any) -> dict[str, Any]:
    keys = {"at": 1.0, "session": "one", "agent": "claude", "kind": "limit", "attempt": 2}
    return {"event": event, **keys, **known}


class SummaryTests(SynchronousTestCase):
    def test_each_event_is_one_line_without_an_id_or_a_path(self) -> None:
        reason = {"reason": "an answer"}
        self.assertEqual(
            [summary_of(entry(str(each), **reason), "/home/you/app") for each in CHOICES.values()],
            [
                "app: needs you: an answer",
                "app: works again after 2 attempts",
                "app: given up after 2 attempts",
                "app: stopped: limit",
                "app: revival 2 started",
                "app: revival 2 failed",
                "app: left by its user",
                "app: its revival has finished",
                "app: its revival was ended: an answer",
            ],
        )

    def test_a_session_without_a_directory_is_named_by_its_agent(self) -> None:
        self.assertEqual(summary_of(entry("left")), "claude: left by its user")

    def test_a_directory_cannot_add_a_line(self) -> None:
        self.assertNotIn("\n", summary_of(entry(), "/home/a\nb"))

    def test_a_long_name_leaves_room_for_what_happened(self) -> None:
        told = summary_of(entry("needs-you", reason="an answer"), "/home/" + "x" * 250)
        self.assertTrue(told.endswith(": needs you: an answer"))
        self.assertLessEqual(len(told), SUMMARY_LIMIT)


class NotifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())

    def notifier(self, way: str, argument: str | None = None, **known: Any) -> Notifier:
        notifier = Notifier([sys.executable, BEHAVING, way, argument or self.path], **known)
        self.addCleanup(self.settle, notifier, 1e9)
        return notifier

    def settle(self, notifier: Notifier, now: float = 0.0) -> list[str]:
        said: list[str] = []

        def settled() -> bool:
            said.extend(notifier.poll(now))
            return not notifier._running

        self.wait_until(settled)
        return said

    def wait_until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_the_event_comes_as_json_with_a_summary(self) -> None:
        notifier = self.notifier("report")
        self.assertIsNone(notifier.notify(entry(), 0.0, "/home/you/app"))
        self.assertEqual(self.settle(notifier), [])
        with open(self.path, encoding="utf-8") as file:
            told = json.load(file)
        self.assertEqual(json.loads(told["stdin"]), {**entry(), "directory": "/home/you/app"})
        self.assertIn("works again", told["environment"]["PALINGENESIS_SUMMARY"])

    def test_the_service_managers_variables_are_left_out(self) -> None:
        self.patch(os, "environ", {"NOTIFY_SOCKET": "@x", "HOME": "/"})
        notifier = self.notifier("report")
        notifier.notify(entry(), 0.0)
        self.settle(notifier)
        with open(self.path, encoding="utf-8") as file:
            told = json.load(file)["environment"]
        self.assertEqual(set(told) - {"LC_CTYPE"}, {"HOME", "PALINGENESIS_SUMMARY"})

    def test_other_events_run_no_command(self) -> None:
        notifier = self.notifier("report")
        for event in (
            "stopped",
            "intent",
            "started",
            "failed",
            "left",
            "ended",
            "paused",
            "resumed",
        ):
            notifier.notify(entry(event), 0.0)
        self.assertEqual(notifier._running, [])

    def test_the_events_are_a_choice(self) -> None:
        notifier = self.notifier("exit", "0", events={Event.LEFT})
        for event in ("worked", "left", "gave-up"):
            notifier.notify(entry(event), 0.0)
        self.assertEqual(len(notifier._running), 1)

    def test_who_is_called_for_what_needs_a_person_is_called_for_what_is_given_up(self) -> None:
        notifier = self.notifier("exit", "0", events={Event.NEEDS_YOU})
        notifier.notify(entry("gave-up"), 0.0)
        self.assertEqual(len(notifier._running), 1)

    def test_without_a_command_nothing_runs(self) -> None:
        notifier = Notifier()
        self.assertIsNone(notifier.notify(entry(), 0.0))
        self.assertEqual(notifier._running, [])

    def test_a_failure_is_a_warning(self) -> None:
        for status in (1, 3):
            notifier = self.notifier("exit", str(status))
            notifier.notify(entry(), 0.0)
            self.assertEqual(self.settle(notifier), [f"[notify] command: exit status {status}"])

    def test_a_missing_program_is_a_warning(self) -> None:
        said = Notifier(["no-such-notifier"]).notify(entry(), 0.0)
        self.assertIn("no-such-notifier: no such program", said or "")

    def test_a_notification_that_takes_too_long_is_killed_with_its_children(self) -> None:
        notifier = self.notifier("fork")
        notifier.notify(entry(), 0.0)
        self.wait_until(lambda: os.path.exists(self.path))
        with open(self.path, encoding="utf-8") as file:
            told = json.load(file)
        self.assertEqual(notifier.poll(LIMIT - 1), [])
        self.assertEqual(
            self.settle(notifier, LIMIT),
            ["[notify] command: took longer than 60 seconds and was killed"],
        )
        self.wait_until(lambda: processes.look_at(told["child"]) is None)

    def test_more_than_twenty_events_in_an_hour_are_left_out_with_a_warning(self) -> None:
        notifier = self.notifier("exit", "0")
        # Without a process each: what is bounded is how often one is started.
        notifier.command = ["no-such-notifier"]
        said = [notifier.notify(entry(), float(number)) for number in range(HOURLY + 1)]
        self.assertNotIn("in an hour", said[HOURLY - 1] or "")
        self.assertIn("more than 20 other events in an hour", said[HOURLY] or "")
        notifier.command = [sys.executable, BEHAVING, "exit", "0"]
        notifier.notify(entry(), HOUR)
        self.assertEqual(len(notifier._running), 1)

    def test_what_must_not_be_lost_has_room_of_its_own(self) -> None:
        notifier = Notifier(["no-such-notifier"])
        for number in range(HOURLY):
            notifier.notify(entry("worked"), float(number))
        self.settle(notifier)
        notifier.command = [sys.executable, BEHAVING, "exit", "0"]
        for event in ("needs-you", "gave-up", "worked"):
            notifier.notify(entry(event), float(HOURLY))
        self.assertEqual(len(notifier._running), 2)
        self.settle(notifier)
