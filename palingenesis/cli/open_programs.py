"""Sessions whose program is open: what will be done for each of them, in words."""

from __future__ import annotations

import re
import sys

from palingenesis.cli.format import due_of, is_time
from palingenesis.text import NAME_LIMIT, clock, printable
from palingenesis.words import REVIVABLE, Key, Kind, Method, Owner, Reason, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The key that names a method for an open program, by the agent that has one.
FITTING = {"codex": Method.QUEUE, "claude": Method.TYPE_INTO}

_DONE: dict[str, str] = {
    Method.QUEUE: "it will be handed the prompt",
    Method.TYPE_INTO: "the prompt will be typed into it",
}
#: The reasons that pass, or are there because nobody has looked yet.
_PASSING = (None, Reason.NOT_DUE, Reason.HOURS, Reason.AT_ONCE, Reason.HOURLY_LIMIT)
_KINDS = tuple(REVIVABLE)
_STOPPED = (State.WAITING, State.STOPPED, State.REVIVING)
_WHO = re.compile(r"(pid [0-9]+)(?: \(.*?\))?(?: at (.+))?")


def is_open(session: dict[str, Any]) -> bool:
    """Return whether a program or a server has a session: nobody should start a second one."""
    return session.get(Key.OWNER) in (Owner.PROGRAM, Owner.SERVER)


def goes_on(session: dict[str, Any]) -> bool:
    """Return whether an open program of a session is given the prompt, when it is due."""
    method, held = str(session.get(Key.METHOD)), session.get(Key.HELD)
    return session.get(Key.KIND) in _KINDS and method in _DONE and held in _PASSING


def open_program(session: dict[str, Any], now: float) -> str | None:
    """
    Describe an open program of a session that is to go on, and what will be done for it.

    :param session: as ``SESSIONS`` lists it.
    :param now: the time, in seconds since the epoch.
    :returns: None if its program is not open, or the session does not wait for anything.
    """
    if not is_open(session) or session.get(Key.STATE) not in _STOPPED:
        return None
    if session.get(Key.KIND) not in _KINDS:
        return None
    return f"{what_has_it(session)}: {_fate(session, now)}"


def what_has_it(session: dict[str, Any]) -> str:
    """Describe what has a session that is open."""
    who = printable(str(session.get(Key.WHO) or "?"), NAME_LIMIT)
    if session.get(Key.OWNER) == Owner.SERVER:
        return f"{who}, has it"
    found = _WHO.fullmatch(who)
    return f"its program is open ({', '.join(filter(None, found.groups())) if found else who})"


def _fate(session: dict[str, Any], now: float) -> str:
    method, held = str(session.get(Key.METHOD)), session.get(Key.HELD)
    due, doubt = due_of(session), session.get(Key.DOUBT)
    if method not in _DONE:
        return f"nothing will be done; {_in_words(doubt) or _cure(session)}"
    if session.get(Key.STATE) == State.REVIVING:
        return "it has the prompt, and no answer came of it yet"
    if not goes_on(session):
        waits = "a message may wait in its queue" if held == Reason.OWNER_ALIVE else None
        return f"nothing is done for now; {_in_words(doubt) or waits or _in_words(held)}"
    return _DONE[method] + (f" at {clock(due, now)}" if is_time(due) else "")


def _cure(session: dict[str, Any]) -> str:
    """Return what makes an open program of a session go on, in words."""
    fitting = FITTING.get(str(session.get(Key.AGENT)))
    # A prompt is typed on Linux, after a limit, into a program at a terminal.
    is_typed = sys.platform == "linux" and session.get(Key.KIND) == Kind.LIMIT
    is_typed = is_typed and session.get(Key.OWNER) == Owner.PROGRAM
    if fitting is None or (fitting is Method.TYPE_INTO and not is_typed):
        return "end it to have this revived"
    return f"name `{fitting}` in [revive.{printable(str(session.get(Key.HOME)), NAME_LIMIT)}]"


def _in_words(value: object) -> str | None:
    return printable(value, NAME_LIMIT) if isinstance(value, str) and value else None
