"""The gate: the first reason not to revive a session, from all that is known about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from palingenesis.monitor.sessions import Reason
from palingenesis.words import REVIVABLE, Kind, Owner

#: Seconds ahead beyond which a reset is not waited for: eight days.
TOO_FAR = 8 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What is known about a stopped session at one moment; times in seconds since the epoch.

    The last questions cost a look at the system, so they are functions: the gate asks them only
    where nothing cheaper forbids a revival.

    :ivar now: the moment.
    :ivar kind: how the session stopped; None in the middle of a turn whose owner may live.
    :ivar stopped: when it stopped, by its last meaningful record.
    :ivar due: when it may go on; None where that is not known.
    :ivar reset_stated: whether ``due`` follows from a reset that the record states.
    :ivar newer_record: whether the transcript has a record newer than the stop's.
    :ivar running: whether a revival of this session runs.
    :ivar given_up: whether the session is given up.
    :ivar attempts: attempts since the session's last progress.
    :ivar starts: commands started in the last hour, over all sessions.
    :ivar paused: whether the monitor is paused.
    :ivar command: whether the session's agent has a command that revives.
    :ivar keeper: whether this daemon is the keeper.
    :ivar ledger: whether the ledger can be written.
    :ivar crashes: whether sessions that died in the middle of a turn are revived.
    :ivar not_before: the ledger's first line, where older stops are left alone; else None.
    :ivar max_age: seconds past due, or past the stop where no reset is stated, until it is too
        old.
    :ivar attempts_limit: attempts for one stop without progress.
    :ivar hourly_limit: commands started in an hour.
    :ivar owner: tells whether the session's owner lives.
    :ivar directory: tells whether the session's directory can be used.
    :ivar binary: tells whether the command's program is there.
    """

    now: float
    kind: Kind | None
    stopped: float
    due: float | None
    reset_stated: bool
    newer_record: bool
    running: bool
    given_up: bool
    attempts: int
    starts: int
    paused: bool
    command: bool
    keeper: bool
    ledger: bool
    crashes: bool
    not_before: float | None
    max_age: float
    attempts_limit: int
    hourly_limit: int
    owner: Callable[[], Owner]
    directory: Callable[[], bool]
    binary: Callable[[], bool]


def reason_not_to_revive(facts: Facts) -> Reason | None:
    """Tell the first reason, in the order of :class:`Reason`; None where nothing forbids it."""
    for reason, holds in _QUESTIONS:
        if holds(facts):
            return reason
    return None


def _too_old(facts: Facts) -> bool:
    if facts.not_before is not None and facts.stopped < facts.not_before:
        return True
    since = facts.due if facts.reset_stated and facts.due is not None else facts.stopped
    return facts.now - since > facts.max_age


_ALIVE = frozenset({Owner.PROGRAM, Owner.SERVER})

#: The owner is asked twice; an answer that changes in between can only forbid.
_QUESTIONS: tuple[tuple[Reason, Callable[[Facts], bool]], ...] = (
    (Reason.PAUSED, lambda facts: facts.paused),
    (Reason.NO_COMMAND, lambda facts: not facts.command),
    (Reason.NOT_THE_KEEPER, lambda facts: not facts.keeper),
    (Reason.LEDGER, lambda facts: not facts.ledger),
    (Reason.KIND, lambda facts: facts.kind not in REVIVABLE),
    (Reason.CRASHES, lambda facts: facts.kind is Kind.DIED and not facts.crashes),
    (Reason.GIVEN_UP, lambda facts: facts.given_up),
    (Reason.NEWER_RECORD, lambda facts: facts.newer_record),
    (Reason.TOO_FAR, lambda facts: facts.due is not None and facts.due - facts.now > TOO_FAR),
    (Reason.TOO_OLD, _too_old),
    (Reason.NOT_DUE, lambda facts: facts.due is None or facts.now < facts.due),
    (Reason.ALREADY_RUNNING, lambda facts: facts.running),
    (Reason.OWNER_ALIVE, lambda facts: facts.owner() in _ALIVE),
    (Reason.OWNER_UNKNOWN, lambda facts: facts.owner() is not Owner.GONE),
    (Reason.DIRECTORY, lambda facts: not facts.directory()),
    (Reason.ATTEMPTS, lambda facts: facts.attempts >= facts.attempts_limit),
    (Reason.HOURLY_LIMIT, lambda facts: facts.starts >= facts.hourly_limit),
    (Reason.NO_BINARY, lambda facts: not facts.binary()),
)
