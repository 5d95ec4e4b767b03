"""A case and its assessment: the first reason not to revive, in the order of the gate."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NoReturn

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import settings as settings_module
from palingenesis.monitor.case import (
    SELF_RESUME,
    TOO_FAR,
    UNSTATED,
    Case,
    Circumstances,
    Ending,
    Load,
    Statement,
    due,
    is_hopeless,
    newest_resets,
    share,
)
from palingenesis.monitor.gate import OVERRIDDEN, assess, is_within, shown_reason
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Attempt, History, Stop
from palingenesis.monitor.revive import Command
from palingenesis.monitor.roster import Session
from palingenesis.monitor.running_attempt import Running
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.settings import HomeRevival, Project, Settings
from palingenesis.monitor.transcript import Stamp
from palingenesis.words import REVIVABLE, Kind, Method, Owner, Reason, State
from tests.support.texts import ENCODABLE

NOW = 1_000_000.0


def hours_of_now(after: int, length: int = 60) -> tuple[int, int]:
    """Return hours that begin so many minutes after the present one."""
    local = time.localtime(NOW)
    begin = local.tm_hour * 60 + local.tm_min + after
    return begin % 1440, (begin + length) % 1440


HOME = Home("claude", "claude", "/home/.claude")
NOTHING: dict[str, HomeRevival] = {}
RUNNING = Running(Attempt(Stop("claude", "an-id", "key", Kind.LIMIT, "", ""), 1, NOW), None)
_AROUND = {"paused", "kept", "may_start", "first_at", "starts", "loads", "resets", "finds"}


def unasked(home: str, command: Command) -> NoReturn:  # noqa: ARG001
    raise AssertionError("asked for the program, and a cheaper fact decides")


def free(**changes: Any) -> Case:
    """Make a case that nothing keeps from being revived, but for the changes."""
    settings: dict[str, Any] = {
        "revive": {"claude": HomeRevival(("claude", "{id}"))},
        "backlog": True,
    }
    around: dict[str, Any] = {}
    ending = Ending(Kind.LIMIT, NOW - 100, NOW - 10, True, False, 0)
    history = History()
    case: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    verdict = Verdict(None, "key")
    for name, value in changes.items():
        if name in ("kind", "at", "due", "reset_stated", "fresh", "attempts"):
            ending = replace(ending, **{name: value})
        elif name in ("given_up", "on_hold", "windows", "asked", "first_stop_at", "found"):
            setattr(history, name, value)
        elif name in ("spends", "window"):
            verdict = replace(verdict, **{name: value})
        elif name in ("owner", "unusable"):
            seen[name] = value
        elif name in _AROUND:
            around[name] = value
        elif name in ("crashes", "backlog", "revive", "max_age", "projects", "hours", "spend"):
            settings[name] = value
        else:
            case[name] = value
    circumstances = Circumstances(
        now=NOW,
        monotonic=0.0,
        settings=Settings(**settings),
        **{
            "paused": False,
            "kept": {"claude": None},
            "may_start": True,
            "first_at": None,
            **around,
            "starts": lambda _: around.get("starts", []),
        },
    )
    stamp = Stamp(1, 1, 1, int((NOW - 100) * 1e9))
    identity = Identity("an-id", "/home/app")
    session = Session(HOME, identity, "/transcript", stamp, verdict, -100.0, **seen)
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
    Reason.LEDGER: {"may_start": False},
    Reason.KIND: {"kind": Kind.REFUSED},
    Reason.CRASHES: {"kind": Kind.DIED},
    Reason.ON_HOLD: {"on_hold": True},
    Reason.PROJECT: {"projects": (Project("/home", revive=False),)},
    Reason.GIVEN_UP: {"given_up": True},
    Reason.NEWER_RECORD: {"newer_record": True},
    Reason.TOO_FAR: {"due": NOW + TOO_FAR + 1},
    Reason.TOO_OLD: {"first_at": NOW, "backlog": False},
    Reason.WINDOWS: {"windows": 2},
    Reason.SPEND: {"spends": True},
    Reason.NOT_DUE: {"due": NOW + 1},
    Reason.HOURS: {"hours": hours_of_now(90)},
    Reason.ALREADY_RUNNING: {"running": RUNNING},
    Reason.OWNER_ALIVE: {"owner": Owner.PROGRAM},
    Reason.OWNER_UNKNOWN: {"owner": Owner.UNKNOWN},
    Reason.DIRECTORY: {"unusable": "/home/app: not a directory"},
    Reason.ATTEMPTS: {"attempts": 5},
    Reason.AT_ONCE: {"loads": {"claude": Load(4)}},
    Reason.HOURLY_LIMIT: {"starts": [NOW] * 6},
    Reason.NO_BINARY: {"finds": lambda *_: False},
}


class HopelessTests(SynchronousTestCase):
    def test_only_a_last_attempt_that_failed_and_is_not_given_up_leaves_no_hope(self) -> None:
        for changes, hopeless in (
            ({"failed_at": NOW}, True),
            ({}, False),
            ({"failed_at": NOW, "given_up": True}, False),
            ({"failed_at": NOW, "quick": 0}, False),
        ):
            case = free()
            case.history.quick = 99
            for name, value in changes.items():
                setattr(case.history, name, value)
            self.assertIs(is_hopeless(case), hopeless, changes)


class OrderOfReasonsTests(SynchronousTestCase):
    def test_nothing_holds_a_session_that_is_due_and_free(self) -> None:
        self.assertIsNone(held())

    def test_a_person_is_shown_what_holds_a_session_when_it_is_due(self) -> None:
        later = {"due": NOW + 600}
        for facts, reason in (
            ({}, None),
            (later, Reason.NOT_DUE),
            ({**later, "owner": Owner.PROGRAM}, Reason.OWNER_ALIVE),
            ({**later, "unusable": "no directory"}, Reason.DIRECTORY),
            ({"paused": True, "owner": Owner.PROGRAM}, Reason.PAUSED),
            ({**later, "paused": True, "owner": Owner.PROGRAM}, Reason.PAUSED),
        ):
            self.assertEqual(shown_reason(free(**facts)), reason, facts)

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
        for name in list(Reason)[: list(Reason).index(Reason.NO_BINARY)]:
            self.assertIs(held(finds=unasked, **HOLDING[name]), name)

    def test_a_server_of_the_agent_has_the_session_as_a_program_has(self) -> None:
        self.assertIs(held(owner=Owner.SERVER), Reason.OWNER_ALIVE)


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
    def test_a_session_just_below_the_bounds_passes(self) -> None:
        self.assertIsNone(held(attempts=4, starts=[NOW] * 5))

    def test_without_a_stated_reset_attempts_go_on_for_six_hours(self) -> None:
        unstated = {"reset_stated": False, "attempts": 20}
        self.assertIsNone(held(**unstated, first_stop_at=NOW - UNSTATED))
        self.assertIs(held(**unstated, first_stop_at=NOW - UNSTATED - 1), Reason.ATTEMPTS)

    def test_a_session_goes_first_after_a_stated_reset(self) -> None:
        leading = {"loads": {"claude": Load(1, leading=True)}}
        self.assertIs(held(**leading), Reason.AT_ONCE)
        self.assertIsNone(held(**leading, kind=Kind.TRANSIENT, reset_stated=False))
        self.assertIsNone(held(loads={"work": Load(9, leading=True)}))

    def test_commands_are_started_within_the_hours_that_are_set(self) -> None:
        for after, reason in ((0, None), (-59, None), (-60, Reason.HOURS), (1, Reason.HOURS)):
            self.assertIs(held(hours=hours_of_now(after)), reason, after)

    def test_hours_may_go_beyond_midnight(self) -> None:
        for clock, within in ((22 * 60, True), (7 * 60 + 59, True), (8 * 60, False)):
            self.assertIs(is_within((22 * 60, 8 * 60), clock), within)
        self.assertFalse(is_within((60, 120), 120))
        self.assertTrue(is_within((60, 120), 60))


class AccountTests(SynchronousTestCase):
    """One account has one limit, whichever of its sessions states it."""

    def test_a_newer_statement_holds_a_session_of_the_same_home(self) -> None:
        later = [Statement(NOW - 50, NOW + 3600)]
        self.assertIs(held(resets={"claude": later}), Reason.NOT_DUE)
        self.assertIsNone(held(resets={"work": later}))

    def test_a_statement_of_another_window_holds_nothing(self) -> None:
        for own, other, reason in (
            ("five_hour", "five_hour", Reason.NOT_DUE),
            ("five_hour", "seven_day_opus", None),
            ("five_hour", None, Reason.NOT_DUE),
            (None, "seven_day_opus", Reason.NOT_DUE),
        ):
            later = {"claude": [Statement(NOW - 50, NOW + 3600, other)]}
            self.assertIs(held(resets=later, window=own), reason, (own, other))

    def test_the_newest_statement_counts_whichever_window_it_names(self) -> None:
        hour, minute = Statement(NOW - 50, NOW + 3600, "a"), Statement(NOW - 40, NOW + 60)
        for resets in ([hour, minute], [minute, hour]):
            case = free(resets={"claude": resets}, window="a")
            self.assertEqual(case.stated, minute)

    def test_each_window_keeps_its_newest_statement(self) -> None:
        def limited(at: float, window: str | None, home: Home = HOME) -> Session:
            verdict = Verdict(Kind.LIMIT, "key", at, at + 3600, window=window)
            identity, stamp = Identity("an-id", "/home/app"), Stamp(1, 1, 1, 1)
            return Session(home, identity, "/transcript", stamp, verdict, 0.0)

        work = Home("work", "claude", "/work")
        sessions = [limited(at, window) for at, window in ((2, "a"), (3, "b"), (1, "a"), (4, None))]
        self.assertEqual(
            newest_resets([*sessions, limited(5, "a", work)], 90.0),
            {
                "claude": [
                    Statement(2, 3692, "a"), Statement(3, 3693, "b"), Statement(4, 3694, None)
                ],
                "work": [Statement(5, 3695, "a")],
            },
        )  # fmt: skip

    def test_an_older_statement_holds_nothing(self) -> None:
        self.assertIsNone(held(resets={"claude": [Statement(NOW - 200, NOW + 3600)]}))

    def test_the_limit_of_an_account_holds_no_session_that_stopped_otherwise(self) -> None:
        later = {"claude": [Statement(NOW - 50, NOW + 3600)]}
        self.assertIsNone(held(resets=later, kind=Kind.TRANSIENT))


class UntilTests(SynchronousTestCase):
    """A session that waits says until when, whatever it waits for."""

    def until(self, **changes: Any) -> float | None:
        return assess(free(**changes)).until

    def test_what_is_due_by_itself_waits_until_then(self) -> None:
        self.assertEqual(self.until(due=NOW + 60), NOW + 60)
        self.assertEqual(self.until(), NOW - 10)

    def test_the_limit_of_its_account_counts_if_it_ends_later(self) -> None:
        later = {"claude": [Statement(NOW - 50, NOW + 3600)]}
        self.assertEqual(self.until(resets=later), NOW + 3600)
        self.assertEqual(self.until(resets=later, due=NOW + 7200), NOW + 7200)
        self.assertEqual(self.until(resets={"work": later["claude"]}), NOW - 10)

    def test_a_full_hour_ends_when_the_first_start_that_counts_is_an_hour_old(self) -> None:
        starts = [NOW - 3000, NOW - 2000, *[NOW - 1000] * 5]
        self.assertEqual(self.until(starts=starts), NOW - 2000 + 3600)
        self.assertEqual(self.until(starts=starts, due=NOW + 60), NOW + 60)

    def test_outside_the_hours_it_is_when_they_begin(self) -> None:
        until = self.until(hours=hours_of_now(90))
        self.assertEqual(until, NOW - time.localtime(NOW).tm_sec + 90 * 60)
        self.assertEqual(self.until(hours=hours_of_now(0, 90)), NOW - 10)

    def test_what_does_not_wait_has_no_such_time(self) -> None:
        self.assertIsNone(self.until(on_hold=True))
        self.assertIsNone(self.until(kind=Kind.REFUSED))


class DueTests(SynchronousTestCase):
    def test_a_stated_reset_gets_a_margin_and_a_share_of_the_stagger(self) -> None:
        found = due(Settings(margin=90.0, stagger=60.0), Kind.LIMIT, 1000.0, 0.0, "id")
        self.assertEqual(found, 1000.0 + 90.0 + 60.0 * share("id"))

    def test_without_a_reset_each_attempt_waits_its_own_time(self) -> None:
        found = [
            due(Settings(retry=(5.0, 15.0)), Kind.TRANSIENT, None, 100.0, "id", attempts)
            for attempts in range(4)
        ]
        self.assertEqual(found, [105.0, 115.0, 115.0, 115.0])

    def test_an_attempt_that_failed_after_the_reset_delays_the_next(self) -> None:
        settings = Settings(margin=0.0, stagger=0.0, retry=(5.0, 15.0))
        found = [due(settings, Kind.LIMIT, 1000.0, 5000.0, "id", count) for count in range(4)]
        self.assertEqual(found, [1000.0, 5005.0, 5015.0, 5015.0])

    def test_what_waiting_does_not_cure_is_never_due(self) -> None:
        for kind in (Kind.USER, Kind.FINISHED, Kind.REFUSED, Kind.CONTEXT, Kind.UNKNOWN):
            self.assertIsNone(due(Settings(), kind, 1000.0, 0.0, "id"))

    @given(st.text(ENCODABLE))
    def test_a_share_is_between_nothing_and_all_and_stays(self, session: str) -> None:
        self.assertTrue(0 <= share(session) <= 1)
        self.assertEqual(share(session), share(session))

    def test_shares_of_different_sessions_differ(self) -> None:
        self.assertGreater(len({round(share(f"id-{n}"), 2) for n in range(200)}), 50)


class WindowsTests(SynchronousTestCase):
    def test_another_attempt_for_the_last_window_is_not_one_more(self) -> None:
        self.assertIs(held(windows=2), Reason.WINDOWS)
        self.assertIsNone(held(windows=2, found="key"))


class AskedTests(SynchronousTestCase):
    """A person wants this very stop to be revived now."""

    def test_what_a_person_overrides_holds_no_longer(self) -> None:
        held_still = {r: held(asked="key", **facts) for r, facts in HOLDING.items()}
        self.assertEqual(
            {reason for reason, found in held_still.items() if found is None}, OVERRIDDEN
        )

    def test_a_wish_for_an_older_stop_overrides_nothing(self) -> None:
        self.assertIs(held(asked="another", on_hold=True), Reason.ON_HOLD)

    def test_a_session_that_is_asked_for_is_not_settled_before_it_was_tried(self) -> None:
        self.assertTrue(free(kind=Kind.FINISHED).is_settled)
        self.assertFalse(free(kind=Kind.FINISHED, asked="key").is_settled)

    def test_a_wish_cannot_override_that_the_session_has_not_stopped(self) -> None:
        self.assertIs(held(asked="key", ending=None, crashes=True), Reason.KIND)


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
        self.assertIs(assess(free(running=RUNNING)).state, State.REVIVING)


class MethodTests(SynchronousTestCase):
    def test_a_command_that_is_named_is_the_method(self) -> None:
        self.assertIs(assess(free()).method, Method.COMMAND)

    def test_nothing_named_is_no_method(self) -> None:
        self.assertIsNone(assess(free(revive=NOTHING)).method)

    def test_the_method_follows_from_what_has_the_session(self) -> None:
        self.patch(settings_module, "TYPES", True)
        command, queue = {"command": ("a", "{id}")}, {"queue": ("b", "{id}")}
        every = {**command, **queue, "type_into": True}
        for named, owner, method, reason in (
            (every, Owner.GONE, Method.COMMAND, None),
            (every, Owner.PROGRAM, Method.QUEUE, None),
            (every, Owner.SERVER, Method.QUEUE, None),
            (every, Owner.UNKNOWN, Method.COMMAND, Reason.OWNER_UNKNOWN),
            (every, None, Method.COMMAND, None),
            (queue, Owner.GONE, None, Reason.NO_METHOD),
            (queue, Owner.PROGRAM, Method.QUEUE, None),
            (queue, Owner.UNKNOWN, Method.QUEUE, Reason.OWNER_UNKNOWN),
            (command, Owner.PROGRAM, Method.COMMAND, Reason.OWNER_ALIVE),
            (command, Owner.SERVER, Method.COMMAND, Reason.OWNER_ALIVE),
            ({"type_into": True}, Owner.PROGRAM, Method.TYPE_INTO, None),
            ({"type_into": True}, Owner.SERVER, None, Reason.NO_METHOD),
        ):
            with self.subTest(named=list(named), owner=owner):
                case = free(revive={"claude": HomeRevival(**named)}, owner=owner)
                case.session.is_interactive = True
                found = assess(case)
                self.assertEqual((found.method, found.held), (method, reason))


class TypingTests(SynchronousTestCase):
    """When a prompt is typed, and whether it is at all."""

    def setUp(self) -> None:
        self.patch(settings_module, "TYPES", True)

    def case(self, **changes: Any) -> Case:
        revive = {"claude": HomeRevival(("a", "{id}"), type_into=True)}
        return free(**{"revive": revive, "owner": Owner.PROGRAM, **changes})

    def test_only_for_an_open_program_at_a_limit_of_a_home_that_is_kept(self) -> None:
        for changes, types in (
            ({}, True),
            ({"given_up": True}, True),
            ({"due": NOW + 100}, True),
            ({"owner": Owner.GONE}, False),
            ({"owner": Owner.SERVER}, False),
            ({"kind": Kind.TRANSIENT}, False),
            ({"ending": None}, False),
            ({"kept": {}}, False),
            ({"running": RUNNING}, False),
            ({"revive": {"claude": HomeRevival(("a", "{id}"))}}, False),
        ):
            with self.subTest(**changes):
                self.assertEqual(self.case(**changes).types, types)

    def test_not_before_the_program_has_had_its_time_nor_before_it_is_due(self) -> None:
        for goes_on, owner, planned, at in (
            (True, Owner.PROGRAM, NOW + 90, NOW + SELF_RESUME),
            (True, Owner.PROGRAM, NOW + SELF_RESUME + 1, NOW + SELF_RESUME + 1),
            (False, Owner.PROGRAM, NOW + 90, NOW + 90),
            (True, Owner.GONE, NOW + 90, NOW + 90),
        ):
            with self.subTest(goes_on=goes_on, owner=owner, planned=planned):
                case = self.case(due=planned, owner=owner)
                verdict = replace(case.session.verdict, reset=NOW, goes_on=goes_on)
                case.session.verdict = verdict
                self.assertEqual(case.due, at)


class TypedTests(SynchronousTestCase):
    """What is typed for a person looks like what a person types."""

    def has_person(self, **changed: Any) -> bool:
        values = {"prompt": "continue", "typed": True, "at": NOW - 50, "by": Method.TYPE_INTO}
        values |= {"command": ("claude", "-p", "--resume", "{id}", "{prompt}"), **changed}
        case = free(revive={"claude": HomeRevival(values["command"])})
        case.history.intended_at, case.history.method = NOW - 60, values["by"]
        case.session.verdict = replace(
            case.session.verdict,
            last_prompt=values["prompt"],
            last_typed=values["typed"],
            last_prompt_at=values["at"],
        )
        return case.has_person

    def test_a_prompt_that_was_typed_for_a_person(self) -> None:
        self.assertFalse(self.has_person())

    def test_another_prompt_is_not_taken_for_ours(self) -> None:
        self.assertTrue(self.has_person(prompt="go on"))

    def test_the_same_words_by_a_person(self) -> None:
        """A command has brought the session back: nothing was typed for anybody."""
        self.assertTrue(self.has_person(by=None))

    def test_the_prompt_of_a_command(self) -> None:
        self.assertFalse(self.has_person(typed=False, by=None))

    def test_other_words_than_those_of_a_command(self) -> None:
        self.assertTrue(self.has_person(prompt="go on", typed=False, by=None))

    def test_a_command_s_own_words(self) -> None:
        own = {"command": ("claude", "-p", "--resume", "{id}", "go on"), "typed": False, "by": None}
        for at in (NOW - 50, NOW + 3600):
            self.assertFalse(self.has_person(**own, prompt="go on\n", at=at))

    def test_words_of_a_script_follow_its_start(self) -> None:
        script = {"command": ("go-on", "{id}"), "prompt": "any", "typed": False, "by": None}
        self.assertFalse(self.has_person(**script))
        self.assertTrue(self.has_person(**script, at=NOW + 3600))

    def test_a_prompt_from_before(self) -> None:
        self.assertFalse(self.has_person(prompt="go on", at=NOW - 70))
