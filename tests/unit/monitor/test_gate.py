"""The gate: the first reason not to revive, in its order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.gate import TOO_FAR, Facts, reason_not_to_revive
from palingenesis.monitor.sessions import Reason
from palingenesis.words import REVIVABLE, Kind, Owner

NOW = 1_000_000.0
FREE = Facts(
    now=NOW,
    kind=Kind.LIMIT,
    stopped=NOW - 100,
    due=NOW - 10,
    reset_stated=True,
    newer_record=False,
    running=False,
    given_up=False,
    attempts=0,
    starts=0,
    paused=False,
    command=True,
    keeper=True,
    ledger=True,
    crashes=False,
    not_before=None,
    max_age=43200.0,
    attempts_limit=5,
    hourly_limit=6,
    owner=lambda: Owner.GONE,
    directory=lambda: True,
    binary=lambda: True,
)

#: What makes each reason hold. Some exclude each other, so that later ones replace earlier.
HOLDING: dict[Reason, dict[str, Any]] = {
    Reason.PAUSED: {"paused": True},
    Reason.NO_COMMAND: {"command": False},
    Reason.NOT_THE_KEEPER: {"keeper": False},
    Reason.LEDGER: {"ledger": False},
    Reason.KIND: {"kind": Kind.REFUSED},
    Reason.CRASHES: {"kind": Kind.DIED},
    Reason.GIVEN_UP: {"given_up": True},
    Reason.NEWER_RECORD: {"newer_record": True},
    Reason.TOO_FAR: {"due": NOW + TOO_FAR + 1},
    Reason.TOO_OLD: {"not_before": NOW},
    Reason.NOT_DUE: {"due": NOW + 1},
    Reason.ALREADY_RUNNING: {"running": True},
    Reason.OWNER_ALIVE: {"owner": lambda: Owner.PROGRAM},
    Reason.OWNER_UNKNOWN: {"owner": lambda: Owner.UNKNOWN},
    Reason.DIRECTORY: {"directory": lambda: False},
    Reason.ATTEMPTS: {"attempts": 5},
    Reason.HOURLY_LIMIT: {"starts": 6},
    Reason.NO_BINARY: {"binary": lambda: False},
}


def reason(**changes: Any) -> Reason | None:
    return reason_not_to_revive(replace(FREE, **changes))


def unasked() -> NoReturn:
    raise AssertionError("asked although a cheaper fact decides")


class OrderTests(SynchronousTestCase):
    def test_nothing_forbids_a_session_that_is_due_and_free(self) -> None:
        self.assertIsNone(reason())

    def test_each_reason_holds_alone(self) -> None:
        self.assertEqual(
            {name: reason(**facts) for name, facts in HOLDING.items()},
            {name: name for name in Reason},
        )

    def test_the_earlier_of_any_two_reasons_is_told(self) -> None:
        order = list(Reason)
        for first, earlier in enumerate(order):
            for later in order[first + 1 :]:
                facts = {**HOLDING[later], **HOLDING[earlier]}
                self.assertIs(reason(**facts), earlier, f"{earlier} and {later}")

    def test_what_costs_a_look_is_not_asked_before_its_turn(self) -> None:
        costly = {"owner": unasked, "directory": unasked, "binary": unasked}
        for name in list(Reason)[: list(Reason).index(Reason.OWNER_ALIVE)]:
            self.assertIs(reason(**{**costly, **HOLDING[name]}), name)


class KindTests(SynchronousTestCase):
    def test_only_what_waiting_cures_passes(self) -> None:
        passing = {kind for kind in Kind if reason(kind=kind, crashes=True) is None}
        self.assertEqual(passing, REVIVABLE)

    def test_the_middle_of_a_turn_is_no_stop(self) -> None:
        self.assertIs(reason(kind=None, crashes=True), Reason.KIND)


class TimeTests(SynchronousTestCase):
    def test_a_reset_eight_days_ahead_is_waited_for(self) -> None:
        self.assertIs(reason(due=NOW + TOO_FAR), Reason.NOT_DUE)

    def test_an_unknown_time_is_never_due(self) -> None:
        self.assertIs(reason(due=None), Reason.NOT_DUE)

    def test_the_very_moment_is_due(self) -> None:
        self.assertIsNone(reason(due=NOW))

    def test_age_counts_from_a_stated_reset(self) -> None:
        days = 5 * 86400
        self.assertIsNone(reason(stopped=NOW - days, due=NOW - 43200))
        self.assertIs(reason(stopped=NOW - days, due=NOW - 43201), Reason.TOO_OLD)

    def test_age_counts_from_the_stop_where_no_reset_is_stated(self) -> None:
        self.assertIs(reason(stopped=NOW - 43201, due=NOW - 1, reset_stated=False), Reason.TOO_OLD)

    def test_a_stop_after_the_first_line_of_the_ledger_is_not_too_old(self) -> None:
        self.assertIsNone(reason(not_before=FREE.stopped))


class BoundTests(SynchronousTestCase):
    def test_one_less_than_the_bounds_passes(self) -> None:
        self.assertIsNone(reason(attempts=4, starts=5))
