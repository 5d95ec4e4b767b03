"""What a session needs from a person, in words short enough for a locked screen."""

from __future__ import annotations

from palingenesis.monitor.case import SELF_RESUME, Case
from palingenesis.monitor.gate import Assessment
from palingenesis.words import Kind, Method, Owner, Reason, State

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
_STUCK = "its open program does not go on"
_HIDDEN = "it does not go on, and its program may be open"
#: By whether the message still waits in the queue of the agent.
_MESSAGES = {
    True: "its message waits in the queue",
    False: "its message was lost",
    None: _STUCK,
}


def needs(case: Case, assessment: Assessment) -> str | None:
    """
    Return what a session needs from a person; None if it needs nothing.

    A session that is on hold, was left, is being revived, or stopped before the monitor knew of it
    needs nothing; but a program that may be open must have taken its message within ten minutes.
    """
    if case.history.on_hold or assessment.state is State.LEFT or not case.belongs_in_the_ledger:
        return None
    if case.running:
        return _MESSAGES[case.session.is_queued] if _has_taken_nothing(case) else None
    if case.kind in _KINDS:
        return "permission" if _lacks_permission(case) else _KINDS[case.kind]
    if assessment.held is Reason.GIVEN_UP and case.history.needs == case.history.key:
        # What it needs was said when it was given up.
        return case.history.need or _REASONS[Reason.GIVEN_UP]
    if assessment.held in _REASONS:
        return _REASONS[assessment.held]
    if not _is_stuck(case, assessment):
        return None
    if not case.session.is_open:
        return _HIDDEN
    doubt = case.session.doubt if case.method is Method.TYPE_INTO else None
    return _STUCK if doubt is None else f"{_STUCK}: {doubt}"


def _has_taken_nothing(case: Case) -> bool:
    """
    Return whether a program has not taken the message that it was handed.

    It counts as open unless it is known to be gone: then a command follows.
    """
    attempt = case.history.open
    return (
        attempt is not None
        and attempt.method is Method.QUEUE
        and attempt.stop.key == case.session.verdict.key
        and case.session.owner not in (None, Owner.GONE)
        and case.circumstances.now - attempt.at > SELF_RESUME
    )


def _lacks_permission(case: Case) -> bool:
    """Return whether a session waits for a permission, or stopped because it had none."""
    verdict = case.session.verdict
    # Only the process knows what it waits for in the middle of a turn.
    return verdict.permission or (verdict.kind is None and case.session.wants_permission)


def _is_stuck(case: Case, assessment: Assessment) -> bool:
    """Return whether a program that may be open has not gone on after its limit, and is let be."""
    session = case.session
    if case.ending is None or case.kind is not Kind.LIMIT or session.owner in (None, Owner.GONE):
        return False
    if session.is_open and _is_cared_for(case, assessment):
        return False
    ended = session.verdict.reset
    if ended is None:
        # By what its account's newest limit states; else its program had time since it stopped.
        ended = case.ending.at if case.stated is None else case.stated.due
    return case.circumstances.now - ended > SELF_RESUME


def _is_cared_for(case: Case, assessment: Assessment) -> bool:
    """Return whether a message or keys bring back the session of an open program."""
    if case.method is Method.QUEUE:
        return assessment.held is not Reason.OWNER_ALIVE
    return case.method is Method.TYPE_INTO and case.session.doubt is None
