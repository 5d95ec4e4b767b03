"""The sessions, as the web door sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon.web import SESSIONS_LIMIT, MonitorFacts
from palingenesis.monitor.listing import EVERY, PAGE, SessionsQuery
from palingenesis.monitor.service import Monitor
from palingenesis.web.events import WAITING_LIMIT


class Pages:
    """
    A monitor's sessions, as it lists them; each report has this many further bytes.

    :ivar reported: how many it has reported.
    """

    def __init__(self, count: int, size: int) -> None:
        self.all = [{"id": f"session-{number}", "who": "x" * size} for number in range(count)]
        self.reported = 0
        self.entries: list[dict[str, Any]] = []

    def log(self, count: int) -> list[dict[str, Any]]:
        return self.entries[-count:]

    def all_sessions(self, query: SessionsQuery = EVERY) -> Iterator[dict[str, Any]]:
        for each in self.all:
            if query.state in (None, each.get("state")):
                self.reported += 1
                yield each


def facts(count: int, size: int = 10) -> MonitorFacts:
    return MonitorFacts(cast("Monitor", Pages(count, size)))


class SessionsTests(SynchronousTestCase):
    def test_all_pages_are_one_list(self) -> None:
        told = facts(2 * PAGE + 1).sessions()
        self.assertEqual(
            [each["id"] for each in told], [f"session-{n}" for n in range(2 * PAGE + 1)]
        )

    def test_a_filter_finds_what_would_not_fit_without_it(self) -> None:
        pages = Pages(5 * PAGE, 1000)
        pages.all[-1]["state"] = "left"
        found = MonitorFacts(cast("Monitor", pages)).sessions("left")
        self.assertEqual([each["id"] for each in found], [f"session-{5 * PAGE - 1}"])

    def test_what_does_not_fit_is_not_even_reported(self) -> None:
        pages = Pages(5 * PAGE, 1000)
        taken = MonitorFacts(cast("Monitor", pages)).sessions()
        self.assertLessEqual(pages.reported, len(taken) + 1)

    def test_the_log_is_chosen_as_over_the_socket(self) -> None:
        entries = [{"at": float(n), "session": f"{n % 2}abcd"} for n in range(60)]
        pages = Pages(0, 0)
        pages.entries = entries
        facts = MonitorFacts(cast("Monitor", pages))
        self.assertEqual(facts.log(None, None, None), entries[-20:])
        # All of one session, by the beginning of its id.
        self.assertEqual(facts.log(None, None, "1ab"), entries[1::2])
        self.assertEqual(facts.log(3, 10.0, None), entries[-3:])

    def test_none_are_an_empty_list(self) -> None:
        self.assertEqual(facts(0).sessions(), [])

    def test_two_of_the_longest_lists_may_wait_for_a_client(self) -> None:
        told = facts(5 * PAGE, 1000).sessions()
        self.assertLess(len(told), 5 * PAGE)
        self.assertLessEqual(len(json.dumps(told)), SESSIONS_LIMIT)
        self.assertLess(2 * SESSIONS_LIMIT, WAITING_LIMIT)
