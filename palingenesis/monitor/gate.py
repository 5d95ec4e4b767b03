"""
The gate: why a session is not brought back now, question by question in their order.

All of it is pure: a `Case` answers each question, cheap ones first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

from palingenesis.monitor.case import TOO_FAR, Case, has_run_out, is_left_over
from palingenesis.monitor.ledger import HOUR
from palingenesis.words import REVIVABLE, Kind, Method, Owner, Reason, State


@dataclass(frozen=True, slots=True)
class Assessment:
    """
    What follows from a case.

    :ivar kind: how the session stopped; None if it has not, or that is not known yet.
    :ivar due: when it may go on, in seconds since the epoch; None if it never may.
    :ivar held: the first reason not to revive it now; None if nothing forbids it.
    :ivar until: when it goes on at the earliest, in seconds since the epoch; None if it does not
        wait. Its home's limit, `hours` and `hourly` may make that later than ``due``.
    :ivar method: how it is brought back; None if the configuration names no method.
    """

    kind: Kind | None
    state: State
    due: float | None
    held: Reason | None
    until: float | None
    method: Method | None


def assess(case: Case) -> Assessment:
    """Assess a case."""
    held = next(reasons_against(case), None)
    state = _state(case, held)
    until = goes_on_at(case) if state is State.WAITING else None
    return Assessment(case.kind, state, case.due, held, until, case.method)


def goes_on_at(case: Case) -> float | None:
    """
    Return the earliest time at which a session is revived, in seconds since the epoch.

    That is when it is due, its home's limit is over, and `hourly` and `hours` allow it; in the past
    if all of this is so already.

    :returns: None if it never is.
    """
    at, now = case.due, case.circumstances.now
    if at is None:
        return None
    if case.stated is not None:
        at = max(at, case.stated.due)
    if at <= now and _starts_enough(case):
        home = case.session.home.name
        at = case.circumstances.starts(home)[-case.settings.hourly_of(home)] + HOUR
    if case.settings.hours is None:
        return at
    moment = max(at, now)
    begun = _within(case.settings.hours, moment)
    return at if begun == moment else begun


def shown_reason(case: Case) -> Reason | None:
    """
    Return the reason that a person is shown: the first, or what holds a session when it is due.

    So a session whose program is open says so at once, and not when its limit ends.
    """
    reasons = reasons_against(case)
    first = next(reasons, None)
    if first is not Reason.NOT_DUE:
        return first
    return next((reason for reason in reasons if reason in _LOOKED_FOR), first)


def known_reason(case: Case) -> Reason | None:
    """Return the first reason that is known without a look at the system; None if there is none."""
    return next(reasons_against(case, left_out=_LOOKED_FOR), None)


def reasons_against(case: Case, left_out: Container[Reason] = ()) -> Iterator[Reason]:
    """
    Yield each reason not to revive a session now, in the gate's order.

    :param left_out: the reasons that are not asked for.
    """
    gate = GATE if not case.is_asked else ASKED_GATE
    return (reason for reason, forbids in gate if reason not in left_out and forbids(case))


def owner_matters(case: Case) -> bool:
    """
    Return whether the session's owner matters now: finding it costs a look at processes.

    It does for a session that is quiet in the middle of a turn, and for a stopped one that
    nothing else keeps from being revived.
    """
    session = case.session
    if not case.is_quiet:
        return False
    if session.kind is None and (case.running or session.verdict.kind or is_left_over(case)):
        # The end is known without the owner, or the command that revives it is the owner.
        return False
    if case.ending is None:
        return session.owner is None or not case.is_over
    return known_reason(case) in _AFTER_OWNER


def _state(case: Case, held: Reason | None) -> State:
    if case.running and not case.running.worked:
        return State.REVIVING
    if case.ending is None:
        return State.QUIET if case.is_quiet else State.WORKING
    if case.kind is Kind.USER:
        return State.LEFT
    if not case.is_asked:
        if case.kind not in REVIVABLE:
            return State.STOPPED
        if case.is_given_up:
            return State.GIVEN_UP
    return State.WAITING if held in PASSING else State.STOPPED


def _is_too_far(case: Case) -> bool:
    return case.due is not None and case.due - case.circumstances.now > TOO_FAR


def _is_too_old(case: Case) -> bool:
    return case.is_from_before or case.is_over


def _is_not_due(case: Case) -> bool:
    if case.due is None or case.circumstances.now < case.due:
        return True
    return case.stated is not None and case.circumstances.now < case.stated.due


def _is_outside_hours(case: Case) -> bool:
    hours, now = case.settings.hours, case.circumstances.now
    return hours is not None and _within(hours, now) != now


def is_within(hours: tuple[int, int], clock: int) -> bool:
    """
    Return whether a time of day is within some hours, which may go beyond midnight.

    :param hours: when they begin and end, in minutes since midnight.
    :param clock: in minutes since midnight.
    """
    begin, end = hours
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def _within(hours: tuple[int, int], at: float) -> float:
    """Return a time that is within some hours, or when they begin after it."""
    year, month, day, hour, minute, *_ = time.localtime(at)
    clock = hour * 60 + minute
    if is_within(hours, clock):
        return at
    begin, _ = hours
    return time.mktime((year, month, day + (begin < clock), 0, begin, 0, 0, 0, -1))


def _is_one_too_many_windows(case: Case) -> bool:
    return case.kind is Kind.LIMIT and case.windows >= case.settings.windows


def _has_a_rival(case: Case) -> bool:
    """
    Return whether a command would be the rival of what has the session, or a message of another.

    An earlier message counts as waiting unless it is known to be gone.
    """
    if not case.session.is_open:
        return False
    if case.method is Method.QUEUE:
        queued = case.session.is_queued
        return queued or (queued is None and case.history.attempts > 0)
    return case.method is Method.COMMAND


def _is_in_doubt(case: Case) -> bool:
    """Return whether no prompt can be typed into the terminal of the session's program."""
    return case.method is Method.TYPE_INTO and case.session.doubt is not None


def _waits_for_the_first(case: Case) -> bool:
    if case.load.running >= case.settings.at_once:
        return True
    return case.is_after_reset and case.load.leading


def _starts_enough(case: Case) -> bool:
    home = case.session.home.name
    return len(case.circumstances.starts(home)) >= case.settings.hourly_of(home)


def _has_no_program(case: Case) -> bool:
    command, session = case.command, case.session
    if case.circumstances.monotonic < session.unstartable_until:
        # It could not be executed lately.
        return True
    return command is not None and not case.circumstances.finds(session.home.name, command)


#: The gate: each reason not to revive a session, in the order of `Reason`, and when it holds.
#: The owner is asked twice; an answer that changes in between can only forbid.
GATE: tuple[tuple[Reason, Callable[[Case], bool]], ...] = (
    (Reason.PAUSED, lambda case: case.circumstances.paused),
    (Reason.NO_METHOD, lambda case: case.method is None),
    (Reason.NOT_THE_KEEPER, lambda case: not case.is_kept),
    (Reason.LEDGER, lambda case: not case.circumstances.may_start),
    (Reason.KIND, lambda case: case.kind not in REVIVABLE),
    (Reason.CRASHES, lambda case: case.kind is Kind.DIED and not case.settings.crashes),
    (Reason.ON_HOLD, lambda case: case.history.on_hold),
    (Reason.PROJECT, lambda case: case.project is not None and not case.project.revive),
    (Reason.GIVEN_UP, lambda case: case.is_given_up),
    (Reason.NEWER_RECORD, lambda case: case.newer_record),
    (Reason.TOO_FAR, _is_too_far),
    (Reason.TOO_OLD, _is_too_old),
    (Reason.WINDOWS, _is_one_too_many_windows),
    (Reason.SPEND, lambda case: case.session.verdict.spends and not case.settings.spend),
    (Reason.NOT_DUE, _is_not_due),
    (Reason.HOURS, _is_outside_hours),
    (Reason.ALREADY_RUNNING, lambda case: bool(case.running or case.history.open)),
    (Reason.OWNER_ALIVE, lambda case: _has_a_rival(case) or _is_in_doubt(case)),
    (Reason.OWNER_UNKNOWN, lambda case: case.session.owner is Owner.UNKNOWN),
    (Reason.DIRECTORY, lambda case: case.session.unusable is not None),
    (Reason.ATTEMPTS, has_run_out),
    (Reason.AT_ONCE, _waits_for_the_first),
    (Reason.HOURLY_LIMIT, _starts_enough),
    (Reason.NO_BINARY, _has_no_program),
)
#: The reasons that a person's request for a revival overrides.
OVERRIDDEN = frozenset(
    {
        *(Reason.KIND, Reason.CRASHES, Reason.ON_HOLD, Reason.PROJECT, Reason.GIVEN_UP),
        *(Reason.TOO_FAR, Reason.TOO_OLD, Reason.WINDOWS, Reason.SPEND, Reason.NOT_DUE),
        *(Reason.HOURS, Reason.ATTEMPTS),
    }
)
ASKED_GATE = tuple(each for each in GATE if each[0] not in OVERRIDDEN)
#: The reasons that hold a session which goes on by itself, sooner or later.
PASSING = frozenset({None, Reason.NOT_DUE, Reason.HOURS, Reason.AT_ONCE, Reason.HOURLY_LIMIT})
#: The reasons that a look at processes, directories and programs shows: they hold a session when
#: it is due, and can be known before.
_LOOKED_FOR = frozenset(
    {Reason.OWNER_ALIVE, Reason.OWNER_UNKNOWN, Reason.DIRECTORY, Reason.NO_BINARY}
)
#: The other reasons that are asked after them.
_AFTER_OWNER = frozenset({None, Reason.ATTEMPTS, Reason.AT_ONCE, Reason.HOURLY_LIMIT})
