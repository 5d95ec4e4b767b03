"""What a session needs from a person, in words short enough for a locked screen."""

from __future__ import annotations

from palingenesis.monitor.case import Assessment, Case
from palingenesis.words import Kind, Owner, Reason

#: Seconds after a stated reset within which an open program goes on by itself.
SELF_RESUME = 600.0

_KINDS = {
    Kind.ASKING: "an answer",
    Kind.REFUSED: "billing or log-in",
    Kind.CONTEXT: "a new session, its context is full",
}
_REASONS = {
    Reason.GIVEN_UP: "given up",
    Reason.TOO_FAR: "its reset is over 8 days away",
    Reason.DIRECTORY: "its directory cannot be used",
    Reason.NO_BINARY: "its program cannot be run",
}


def needs(case: Case, assessment: Assessment) -> str | None:
    """
    Return what a session needs from a person; None if it needs nothing.

    A session that is on hold, is being revived, or stopped before the monitor knew of it needs
    nothing.
    """
    if case.history.on_hold or case.running or not case.belongs_in_the_ledger:
        return None
    if case.kind in _KINDS:
        return _KINDS[case.kind]
    if assessment.held in _REASONS:
        return _REASONS[assessment.held]
    return "its open program does not go on" if _is_stuck(case) else None


def _is_stuck(case: Case) -> bool:
    """Return whether an open program has not gone on by itself after its limit."""
    reset = case.session.verdict.reset
    return (
        case.kind is Kind.LIMIT
        and case.session.owner in (Owner.PROGRAM, Owner.SERVER)
        and reset is not None
        and case.circumstances.now - reset > SELF_RESUME
    )
