"""
The plan for one session: how it ended, when it may go on, and what holds it.

Everything here follows from what is known at one moment, and nothing does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from palingenesis.monitor import resets
from palingenesis.monitor.gate import Facts, reason_not_to_revive
from palingenesis.monitor.ledger import History
from palingenesis.monitor.roster import Session
from palingenesis.monitor.sessions import Reason
from palingenesis.monitor.settings import Settings
from palingenesis.words import REVIVABLE, Kind, Owner, State

#: What may hold a session that goes on by itself, sooner or later.
_PASSING = frozenset({None, Reason.NOT_DUE, Reason.HOURLY_LIMIT})
#: The gate's reasons that no look at processes, directories and programs can tell.
_AFTER_OWNER = frozenset({None, Reason.ATTEMPTS, Reason.HOURLY_LIMIT, Reason.NO_BINARY})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """
    What holds for all sessions at one moment.

    :ivar now: the time, in seconds since the epoch.
    :ivar monotonic: the time, in seconds of a clock that is never set back.
    :ivar ledger: whether the ledger can be written.
    :ivar first_at: the time of the ledger's first entry, in seconds since the epoch.
    :ivar starts: commands started in the last hour.
    """

    now: float
    monotonic: float
    settings: Settings
    paused: bool
    keeper: bool
    ledger: bool
    first_at: float | None
    starts: int


@dataclass(frozen=True, slots=True)
class Ending:
    """
    How a session ended, for all that is known of it.

    :ivar at: when, in seconds since the epoch.
    :ivar due: when it may go on, in seconds since the epoch; None where it never may.
    :ivar reset_stated: whether that follows from a reset that the record states.
    :ivar fresh: whether the agent made progress since the stop before this one.
    :ivar attempts: attempts since the last progress.
    """

    kind: Kind
    at: float
    due: float | None
    reset_stated: bool
    fresh: bool
    attempts: int


def is_quiet(session: Session, circumstances: Circumstances) -> bool:
    """Tell whether a session has not grown for long enough that its end can be read."""
    return circumstances.monotonic - session.grown >= circumstances.settings.quiet


def goes_on(session: Session, history: History) -> bool:
    """
    Tell whether a transcript ends with what a failed attempt left there.

    The command has written its own prompt: the stop before it is still the session's last.
    """
    return session.verdict.kind is None and session.verdict.key == history.found


def ending(session: Session, history: History, circumstances: Circumstances) -> Ending | None:
    """Tell how a session ended; None where it has not, or that is not known."""
    kind = session.kind
    if kind is None:
        return None
    settings = circumstances.settings
    verdict = resets.trusted(session.verdict, circumstances.now)
    at = min(session.since, circumstances.now) if verdict.at is None else verdict.at
    fresh = (
        verdict.key not in (history.key, history.found)
        and verdict.progress is not None
        and history.stopped_at is not None
        and verdict.progress > history.stopped_at
    )
    attempts = 0 if fresh else history.attempts
    failed_at = None if fresh else history.failed_at
    due = resets.due(
        kind,
        verdict.reset,
        at if failed_at is None else max(at, failed_at),
        session.identity.id,
        # An attempt that is under way has not failed.
        attempts - 1 if history.open is not None and attempts else attempts,
        margin=settings.margin,
        stagger=settings.stagger,
        retry=settings.retry,
    )
    return Ending(kind, at, due, verdict.reset is not None, fresh, attempts)


def facts(
    session: Session,
    history: History,
    end: Ending | None,
    circumstances: Circumstances,
    *,
    running: bool,
    newer_record: bool = False,
    owner: Callable[[], Owner] = lambda: Owner.GONE,
    directory: Callable[[], bool] = lambda: True,
    binary: Callable[[], bool] = lambda: True,
) -> Facts:
    """Gather what the gate asks about a session; what is left out forbids nothing."""
    settings = circumstances.settings
    return Facts(
        now=circumstances.now,
        kind=None if end is None else end.kind,
        stopped=session.since if end is None else end.at,
        due=None if end is None else end.due,
        reset_stated=end is not None and end.reset_stated,
        newer_record=newer_record,
        running=running or history.open is not None,
        given_up=is_given_up(history, end),
        attempts=0 if end is None else end.attempts,
        starts=circumstances.starts,
        paused=circumstances.paused,
        command=session.agent in settings.revive,
        keeper=circumstances.keeper,
        ledger=circumstances.ledger,
        crashes=settings.crashes,
        not_before=None if settings.backlog else circumstances.first_at,
        max_age=settings.max_age,
        attempts_limit=settings.attempts,
        hourly_limit=settings.hourly,
        owner=owner,
        directory=directory,
        binary=binary,
    )


def needs_owner(
    session: Session,
    history: History,
    end: Ending | None,
    circumstances: Circumstances,
    running: bool,
) -> bool:
    """Tell whether it matters now if a session's process lives: looking for it costs time."""
    if not is_quiet(session, circumstances):
        return False
    if end is None:
        age = circumstances.now - session.since
        return session.owner is None or age <= circumstances.settings.max_age
    optimistic = facts(session, history, end, circumstances, running=running)
    return reason_not_to_revive(optimistic) in _AFTER_OWNER


def is_given_up(history: History, end: Ending | None) -> bool:
    """Tell whether a session is given up: until it makes progress by other means."""
    return history.given_up and not (end is not None and end.fresh)


def state(
    session: Session,
    history: History,
    end: Ending | None,
    held: Reason | None,
    circumstances: Circumstances,
    *,
    reviving: bool,
) -> State:
    """
    Tell what a session is doing.

    :param held: the gate's reason not to revive it now.
    :param reviving: whether a command revives it that has not worked yet.
    """
    if reviving:
        return State.REVIVING
    if end is None:
        return State.QUIET if is_quiet(session, circumstances) else State.WORKING
    if end.kind is Kind.USER:
        return State.LEFT
    if end.kind not in REVIVABLE:
        return State.STOPPED
    if is_given_up(history, end):
        return State.GIVEN_UP
    return State.WAITING if held in _PASSING else State.STOPPED


def belongs_in_the_ledger(end: Ending, circumstances: Circumstances) -> bool:
    """
    Tell whether a stop is told by the ledger: one that is over by itself is not.

    Nor is one from before the ledger's first entry, or one that is too old to act on.
    """
    if end.kind is Kind.FINISHED:
        return False
    first_at = circumstances.first_at or circumstances.now
    if not circumstances.settings.backlog and end.at < first_at:
        return False
    return not is_over(end, circumstances)


def is_over(end: Ending, circumstances: Circumstances) -> bool:
    """Tell whether a stop is too old to be acted on."""
    since = end.due if end.reset_stated and end.due is not None else end.at
    return circumstances.now - since > circumstances.settings.max_age


def is_settled(session: Session, end: Ending | None, circumstances: Circumstances) -> bool:
    """Tell whether nothing can change about a session until it grows."""
    if end is not None:
        return end.kind not in REVIVABLE or is_over(end, circumstances)
    age = circumstances.now - session.since
    return session.owner is not None and age > circumstances.settings.max_age
