"""A case and its assessment: the first reason not to revive, in the order of the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.case import TOO_FAR, Case, Circumstances, Ending, Permissive, assess
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import History
from palingenesis.monitor.revive import Command
from palingenesis.monitor.roster import Session
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.transcript import Stamp
from palingenesis.words import REVIVABLE, Kind, Method, Owner, Reason, State

NOW = 1_000_000.0
HOME = Home("claude", "claude", "/home/.claude")
NOTHING: dict[str, Command] = {}


class Answers(Permissive):
    """What a look at the system finds, as a test says."""

    def __init__(
        self, *, owner: Owner = Owner.GONE, directory: bool = True, program: bool = True
    ) -> None:
        self._owner, self._directory, self._program = owner, directory, program

    def owner(self) -> Owner:
        return self._owner

    def directory(self) -> bool:
        return self._directory

    def program(self) -> bool:
        return self._program


class Unasked(Permissive):
    """A system that must not be asked: a cheaper fact decides."""

    def owner(self) -> NoReturn:
        raise AssertionError("asked who has the session")

    def directory(self) -> NoReturn:
        raise AssertionError("asked for the directory")

    def program(self) -> NoReturn:
        raise AssertionError("asked for the program")


def free(**changes: Any) -> Case:
    """Make a case that nothing keeps from being revived, but for the changes."""
    settings: dict[str, Any] = {"revive": {"claude": Command(("claude", "{id}"))}, "backlog": True}
    around: dict[str, Any] = {}
    ending = Ending(Kind.LIMIT, NOW - 100, NOW - 10, True, False, 0)
    history = History()
    case: dict[str, Any] = {}
    for name, value in changes.items():
        if name in ("kind", "at", "due", "reset_stated", "fresh", "attempts"):
            ending = replace(ending, **{name: value})
        elif name == "given_up":
            history.given_up = value
        elif name in ("paused", "kept", "ledger", "first_at", "starts"):
            around[name] = value
        elif name in ("crashes", "backlog", "revive", "max_age"):
            settings[name] = value
        else:
            case[name] = value
    circumstances = Circumstances(
        NOW,
        0.0,
        Settings(**settings),
        **{
            "paused": False,
            "kept": {"claude": None},
            "ledger": True,
            "first_at": None,
            "starts": 0,
            **around,
        },
    )
    stamp = Stamp(1, 1, 1, int((NOW - 100) * 1e9))
    session = Session(
        HOME, Identity("an-id", "/home/app"), "/transcript", stamp, Verdict(None, "key"), -100.0
    )
    return Case(
        session,
        history,
        circumstances,
        **{"ending": ending if ending.kind is not None else None, **case},
    )


def held(**changes: Any) -> Reason | None:
    return assess(free(**changes)).held


#: What makes each reason hold. Some exclude each other, so that later ones replace earlier.
HOLDING: dict[Reason, dict[str, Any]] = {
    Reason.PAUSED: {"paused": True},
    Reason.NO_METHOD: {"revive": NOTHING},
    Reason.NOT_THE_KEEPER: {"kept": {"codex": None}},
    Reason.LEDGER: {"ledger": False},
    Reason.KIND: {"kind": Kind.REFUSED},
    Reason.CRASHES: {"kind": Kind.DIED},
    Reason.GIVEN_UP: {"given_up": True},
    Reason.NEWER_RECORD: {"newer_record": True},
    Reason.TOO_FAR: {"due": NOW + TOO_FAR + 1},
    Reason.TOO_OLD: {"first_at": NOW, "backlog": False},
    Reason.NOT_DUE: {"due": NOW + 1},
    Reason.ALREADY_RUNNING: {"running": True},
    Reason.OWNER_ALIVE: {"system": Answers(owner=Owner.PROGRAM)},
    Reason.OWNER_UNKNOWN: {"system": Answers(owner=Owner.UNKNOWN)},
    Reason.DIRECTORY: {"system": Answers(directory=False)},
    Reason.ATTEMPTS: {"attempts": 5},
    Reason.HOURLY_LIMIT: {"starts": 6},
    Reason.NO_BINARY: {"system": Answers(program=False)},
}


class OrderOfReasonsTests(SynchronousTestCase):
    def test_nothing_holds_a_session_that_is_due_and_free(self) -> None:
        self.assertIsNone(held())

    def test_each_reason_holds_alone(self) -> None:
        self.assertEqual(
            {name: held(**facts) for name, facts in HOLDING.items()},
            {name: name for name in Reason},
        )

    def test_the_earlier_of_any_two_reasons_is_given(self) -> None:
        order = list(Reason)
        for first, earlier in enumerate(order):
            for later in order[first + 1 :]:
                facts = {**HOLDING[later], **HOLDING[earlier]}
                self.assertIs(held(**facts), earlier, f"{earlier} and {later}")

    def test_what_costs_a_look_is_not_asked_before_its_turn(self) -> None:
        for name in list(Reason)[: list(Reason).index(Reason.OWNER_ALIVE)]:
            self.assertIs(held(**{"system": Unasked(), **HOLDING[name]}), name)

    def test_a_server_of_the_agent_has_the_session_as_a_program_has(self) -> None:
        self.assertIs(held(system=Answers(owner=Owner.SERVER)), Reason.OWNER_ALIVE)


class KindTests(SynchronousTestCase):
    def test_only_what_waiting_cures_passes(self) -> None:
        passing = {kind for kind in Kind if held(kind=kind, crashes=True) is None}
        self.assertEqual(passing, REVIVABLE)

    def test_the_middle_of_a_turn_is_no_stop(self) -> None:
        self.assertIs(held(ending=None, crashes=True), Reason.KIND)


class TimeTests(SynchronousTestCase):
    def test_a_reset_eight_days_ahead_is_waited_for(self) -> None:
        self.assertIs(held(due=NOW + TOO_FAR), Reason.NOT_DUE)

    def test_an_unknown_time_is_never_due(self) -> None:
        self.assertIs(held(due=None), Reason.NOT_DUE)

    def test_the_very_moment_is_due(self) -> None:
        self.assertIsNone(held(due=NOW))

    def test_age_counts_from_a_stated_reset(self) -> None:
        days = 5 * 86400
        self.assertIsNone(held(at=NOW - days, due=NOW - 43200))
        self.assertIs(held(at=NOW - days, due=NOW - 43201), Reason.TOO_OLD)

    def test_age_counts_from_the_stop_if_no_reset_is_stated(self) -> None:
        self.assertIs(held(at=NOW - 43201, due=NOW - 1, reset_stated=False), Reason.TOO_OLD)

    def test_a_stop_after_the_first_entry_of_the_ledger_is_not_too_old(self) -> None:
        self.assertIsNone(held(first_at=NOW - 100, backlog=False))

    def test_a_stop_from_while_another_daemon_kept_its_home_is_too_old(self) -> None:
        taken = {"first_at": NOW - 1000, "kept": {"claude": NOW - 50}}
        self.assertIs(held(**taken, backlog=False), Reason.TOO_OLD)
        self.assertIsNone(held(**taken, backlog=True))

    def test_a_stop_before_the_ledger_has_any_entry_is_too_old(self) -> None:
        self.assertIs(held(first_at=None, backlog=False), Reason.TOO_OLD)


class BoundTests(SynchronousTestCase):
    def test_one_less_than_the_bounds_passes(self) -> None:
        self.assertIsNone(held(attempts=4, starts=5))


class StateTests(SynchronousTestCase):
    def test_a_session_that_only_has_to_wait_is_waiting(self) -> None:
        for facts in ({}, HOLDING[Reason.NOT_DUE], HOLDING[Reason.HOURLY_LIMIT]):
            self.assertIs(assess(free(**facts)).state, State.WAITING)

    def test_a_session_that_anything_else_holds_is_stopped(self) -> None:
        self.assertIs(assess(free(**HOLDING[Reason.ATTEMPTS])).state, State.STOPPED)

    def test_a_session_that_its_user_left_is_left(self) -> None:
        self.assertIs(assess(free(kind=Kind.USER)).state, State.LEFT)

    def test_a_session_that_is_given_up_is_so_until_it_makes_progress(self) -> None:
        self.assertIs(assess(free(given_up=True)).state, State.GIVEN_UP)
        self.assertIs(assess(free(given_up=True, fresh=True)).state, State.WAITING)

    def test_a_session_whose_revival_has_not_worked_yet_is_reviving(self) -> None:
        self.assertIs(assess(free(running=True, reviving=True)).state, State.REVIVING)


class MethodTests(SynchronousTestCase):
    def test_a_command_that_is_named_is_the_method(self) -> None:
        self.assertIs(assess(free()).method, Method.COMMAND)

    def test_nothing_named_is_no_method(self) -> None:
        self.assertIsNone(assess(free(revive=NOTHING)).method)
