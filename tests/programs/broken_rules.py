"""
Rules of the monitor that are broken on purpose, one at a time, so that the nights notice it.

``python -m tests.programs.nights --broken NAME`` plays nights with one of them; if the name is
``all``, it prints the first seed of a night that notices each of them. Behind some rules stands a
second one; then both are broken at once, and what is noticed must be about the first one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from palingenesis.monitor import case, gate, judge, revivals, service, typist
from palingenesis.monitor.agents import claude_screen
from palingenesis.monitor.case import Case
from palingenesis.monitor.ledger import Attempt, Ledger
from palingenesis.monitor.ledger.file import LedgerFile
from palingenesis.monitor.roster import Roster
from palingenesis.monitor.settings import HomeRevival, Settings
from palingenesis.monitor.typist import Typed
from palingenesis.words import Kind, Method, Owner, Reason
from tests.unit.monitor.fake_world import FakeHomeLocks, FakeOwners, FakeWorld

#: A patch: whose attribute, which, and what takes its place.
Patch = tuple[Any, str, Any]


@dataclass(frozen=True)
class Break:
    """
    A rule that is broken.

    :ivar noticed: what a night says of it, or a part of that; empty for anything.
    :ivar reasons: the reasons of the gate that forbid nothing any more.
    :ivar patches: what else is broken.
    """

    noticed: str
    reasons: frozenset[Reason] = frozenset()
    patches: tuple[Patch, ...] = ()

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        """Break it, and mend it in the end."""
        with contextlib.ExitStack() as stack:
            for name in ("GATE", "ASKED_GATE"):
                broken = tuple(
                    (why, _allow if why in self.reasons else forbids)
                    for why, forbids in getattr(gate, name)
                )
                stack.enter_context(mock.patch.object(gate, name, broken))
            for target, name, new in self.patches:
                stack.enter_context(mock.patch.object(target, name, new))
            yield


def _allow(_: Case) -> bool:
    return False


def _gate(noticed: str, *reasons: Reason) -> Break:
    return Break(noticed, frozenset(reasons))


def _patch(noticed: str, target: Any, name: str, new: Any) -> Break:
    return Break(noticed, patches=((target, name, new),))


def _due(*args: Any, **more: Any) -> float:
    """Have everything due, also what never is."""
    due = _DUE(*args, **more)
    since: float = args[3]
    return since if due is None else due


def _any_revival(self: Settings, home: str, directory: str) -> HomeRevival:
    """Bring back what nobody has asked for."""
    return _REVIVAL_OF(self, home, directory) or HomeRevival(("program", "{id}"))


def _unwritten(self: Any, data: bytes) -> None:
    """Write nothing, and say nothing."""


def _without_pause(self: Ledger) -> None:
    """Load a ledger, and forget that it says that the daemon is paused."""
    _LOAD(self)
    self.sums.paused = False


def _without_holds(self: Ledger) -> None:
    """Load a ledger, and forget which sessions are on hold."""
    _LOAD(self)
    for history in self.sums.sessions.values():
        history.on_hold = False


def _as_planned(_: Any, session: Any) -> Any:
    """Act on the plan, whatever was written since."""
    return session


def _with_words(found: Case) -> Any:
    """Record the words of a conversation with a stop."""
    return replace(_STOP.fget(found), directory=found.session.verdict.last_prompt or "")


def _without_sub_agents(growth: Any) -> Any:
    """Return a way to ask how much there is of a session's own transcript."""

    def ask(self: Any, *about: Any) -> Any:
        found = growth(self, *about)
        return found._replace(parts=found.parts[:1])

    return ask


def _unseen_calls(self: Any, running: Any, *args: Any) -> None:
    """Judge an attempt without the call of a tool that is under way."""
    _OBSERVE(self, running, *args)
    running.calling = False


@contextlib.contextmanager
def _together(_: Any, session: Any) -> Iterator[None]:
    """Judge a session so that its failure is everybody's."""
    del session
    yield


async def _no_directory_is_bad(*_: Any) -> None:
    """Ask nothing about a directory."""


def _forget_kill(self: Any, *_: Any) -> None:
    """Say nothing of what the daemon ends."""


def _typed_again(self: Any, attempt: Attempt, outcome: Typed) -> None:
    """Have what may stand in a terminal be typed a second time."""
    del self.running[attempt.stop.agent, attempt.stop.session]
    self._fail(attempt, revivals._GONE, reason=outcome.doubt)


def _never_typed(self: Any, running: Any, session: Any) -> bool:
    """Have a prompt that another daemon may have typed be taken for one that it has not."""
    if running.typing is None and running.sent_at is None:
        _typed_again(self, running.attempt, Typed(False, False, "forgotten"))
        return False
    return _IS_TYPED(self, running, session)


def _no_doubt(*_: Any, **__: Any) -> None:
    """See nothing in a screen that is in the way."""


def _after_anything(self: Case) -> Method | None:
    """Type a prompt after any stop."""
    types = self.revival is not None and self.revival.type_into
    if types and self.session.owner is Owner.PROGRAM:
        return Method.TYPE_INTO
    known: Method | None = _METHOD(self)
    return known


_DUE = case.due
_REVIVAL_OF = Settings.revival_of
_LOAD = Ledger._load
_STOP: Any = vars(Case)["stop"]
_METHOD: Any = vars(Case)["method"].func
_OBSERVE = revivals.Revivals.observe
_IS_TYPED = revivals.Revivals._is_typed
_EVERY_KIND = frozenset(Kind)

#: The rules, by their names; those of the gate by the names of its reasons.
BREAKS: dict[str, Break] = {
    # The gate
    "paused": _gate("revived while paused", Reason.PAUSED),
    # Behind it stands that there is no command to run.
    "no-method": _patch("nobody has named a command", Settings, "revival_of", _any_revival),
    "not-the-keeper": _gate("its home is another daemon's", Reason.NOT_THE_KEEPER),
    "ledger": Break(
        "the disk has no room",
        frozenset({Reason.LEDGER}),
        ((LedgerFile, "probe", lambda _: None),),
    ),
    "kind": Break(
        "revived after",
        patches=(
            *((module, "REVIVABLE", _EVERY_KIND) for module in (case, gate)),
            (case, "due", _due),
        ),
    ),
    "crashes": _gate("its user was faster, or it crashed", Reason.CRASHES),
    "on-hold": _gate("revived while on hold", Reason.ON_HOLD),
    "project": _gate("its project is not to be revived", Reason.PROJECT),
    "given-up": _gate("it has failed at once twice", Reason.GIVEN_UP),
    # Behind it stands that nobody knows yet how a session with a new record has stopped.
    "newer-record": _patch("", Roster, "refresh", _as_planned),
    # Behind it stands that it is not due.
    "too-far": _gate("waits for what is too far away", Reason.TOO_FAR),
    "too-old": _patch("its stop is too old", Case, "is_over", False),
    "backlog": _patch("stopped before its daemon's first start", Case, "is_from_before", False),
    "windows": _gate("and no person wrote", Reason.WINDOWS),
    "spend": _gate("it costs more than its plan", Reason.SPEND),
    "not-due": _gate("revived before its limit ends", Reason.NOT_DUE),
    "one account": _patch(
        "revived before the limit of its account ends",
        judge,
        "newest_resets",
        lambda *_: {},
    ),
    "hours": _gate("outside of the hours", Reason.HOURS),
    "already-running": _gate("", Reason.ALREADY_RUNNING),
    "owner-alive": Break(
        "its owner is program",
        frozenset({Reason.OWNER_ALIVE, Reason.OWNER_UNKNOWN}),
    ),
    "owner-unknown": _gate("its owner is unknown", Reason.OWNER_UNKNOWN),
    # Behind it stands that the judge is not even asked.
    "directory": _patch(
        "its directory cannot be used", service.Monitor, "_patiently", _no_directory_is_bad
    ),
    # Behind it stands that the session is given up.
    "attempts": Break(
        "without progress",
        frozenset({Reason.ATTEMPTS}),
        ((case, "has_run_out", _allow),),
    ),
    "at-once": _gate("others of its home run", Reason.AT_ONCE),
    "goes first": _patch("goes first", revivals, "LEAD", 0.0),
    "hourly-limit": _gate("in an hour", Reason.HOURLY_LIMIT),
    "no-binary": _gate("its program is missing", Reason.NO_BINARY),
    # Messages
    "takes no message": _patch(
        "handed to what takes no message", case, "_takes_messages", lambda _: True
    ),
    # Behind the attempt that stays open stands that a message waits in the queue.
    "handed over": Break(
        "handed over twice",
        patches=(
            (revivals.Revivals, "_goes_on", lambda *_: False),
            (FakeOwners, "is_queued", lambda *_: False),
        ),
    ),
    # What is typed
    "typed: pane": _patch("in spite of this", typist, "CONDITIONS", ()),
    "typed: empty line": _patch("in spite of this", claude_screen, "doubt_of_empty", _no_doubt),
    "typed: whole line": _patch("sent what", claude_screen, "doubt_of_typed", _no_doubt),
    "typed: before the intent": _patch("to be typed in spite", gate, "_is_in_doubt", _allow),
    "typed: before a key": _patch("a key in spite of this", typist, "_check", lambda _: None),
    "typed: after a limit": _patch("to be typed after", Case, "method", property(_after_anything)),
    "typed: goes on": _patch("may go on by itself", case, "SELF_RESUME", 0.0),
    "typed: once": _patch("typed twice", revivals.Revivals, "_fail_typed", _typed_again),
    "typed: over a restart": _patch("typed twice", revivals.Revivals, "_is_typed", _never_typed),
    "typed: stands": _patch("nobody was called", Ledger, "needs_you", lambda *_, **__: False),
    # Once, over restarts and daemons
    "intent first": _patch("its intent is not on the disk", LedgerFile, "append", _unwritten),
    "adopted": _patch("", FakeWorld, "adopt", lambda *_: None),
    "home lock": _patch(
        "its home is another daemon's", FakeHomeLocks, "keeper_of", lambda *_: True
    ),
    "taken over": _patch(
        "stopped under a daemon of another state directory", Ledger, "kept", lambda *_: None
    ),
    "pause over a restart": _patch("revived while paused", Ledger, "_load", _without_pause),
    "hold over a restart": _patch("revived while on hold", Ledger, "_load", _without_holds),
    # The user's end
    "left": _patch("its user left it", FakeOwners, "has_left", lambda *_: False),
    "a person's prompt": _patch(
        "its user was faster, or it crashed", revivals, "_is_given", lambda *_: None
    ),
    "new id": _patch("goes on under another id", revivals.Revivals, "_continued", lambda *_: False),
    # What a revival is worth
    "exit status": _patch("worked, and nothing shows it", revivals, "_progressed", lambda *_: True),
    "sub-agents": Break(
        "ended while it worked",
        patches=tuple(
            (revivals.Revivals, name, _without_sub_agents(vars(revivals.Revivals)[name]))
            for name in ("_growth", "_growth_of")
        ),
    ),
    "calls of tools": _patch(
        "ended during a call of a tool", revivals.Revivals, "observe", _unseen_calls
    ),
    "killed": _patch("ended, and nobody wrote it down", revivals.Revivals, "_kill", _forget_kill),
    # For the others
    "own children": _patch(
        "owner-alive, and nobody has it", revivals.Revivals, "pids", lambda _: frozenset()
    ),
    "apart": _patch("a tick failed", judge.Judge, "_apart", _together),
    "conversation": Break(
        "a conversation is in the ledger",
        patches=((Case, "stop", property(_with_words)),),
    ),
}
#: The seeds of nights that have noticed a broken rule; they are tried first.
NOTICED = {
    "paused": 8,
    "not-the-keeper": 10,
    "ledger": 14,
    "crashes": 1,
    "on-hold": 10,
    "project": 4,
    "given-up": 35,
    "newer-record": 7,
    "too-old": 2,
    "backlog": 6,
    "windows": 65,
    "spend": 4,
    "not-due": 1,
    "one account": 7,
    "hours": 10,
    "already-running": 2,
    "owner-alive": 1,
    "owner-unknown": 11,
    "directory": 10,
    "attempts": 27,
    "at-once": 1,
    "goes first": 4,
    "hourly-limit": 9,
    "no-binary": 4,
    "takes no message": 41,
    "handed over": 89,
    "typed: pane": 9,
    "typed: empty line": 1,
    "typed: whole line": 1,
    "typed: before the intent": 1,
    "typed: before a key": 99,
    "typed: after a limit": 7,
    "typed: goes on": 6,
    "typed: once": 107,
    "typed: over a restart": 146,
    "typed: stands": 1,
    "adopted": 52,
    "home lock": 10,
    "taken over": 10,
    "pause over a restart": 8,
    "hold over a restart": 10,
    "left": 3,
    "a person's prompt": 2469,
    "new id": 5,
    "sub-agents": 1,
    "calls of tools": 6,
    "killed": 5,
    "own children": 7,
}
