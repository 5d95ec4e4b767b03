"""The judgement of every session: how it ended, what is done about it, and what is written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from palingenesis.monitor import plan
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.gate import reason_not_to_revive
from palingenesis.monitor.keeper import Keeper
from palingenesis.monitor.ledger import History, Ledger
from palingenesis.monitor.look import SLICE
from palingenesis.monitor.plan import Circumstances, Ending
from palingenesis.monitor.revivals import Revivals, Tell, stop_of
from palingenesis.monitor.roster import Roster, Session
from palingenesis.monitor.sessions import REVIVABLE, Kind, Owner, Reason, State
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.stops import ended
from palingenesis.monitor.world import Living, World
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import Event


class Judge:
    """
    Judges sessions by all that is known, and acts on it.

    :param wall: tells the time in seconds since the epoch.
    :param monotonic: tells seconds, from any beginning, that never run backwards.
    :param tell: called for each event that is recorded.
    :param say: called with one line for everything that a person should mend.
    :param timer: tells seconds, to measure slices of work with.
    :ivar settings: what an operator has set.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        world: World,
        roster: Roster,
        keeper: Keeper,
        ledger: Ledger,
        revivals: Revivals,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        tell: Tell,
        say: Callable[[str], None],
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.settings = settings
        self._world = world
        self._roster = roster
        self._keeper = keeper
        self._ledger = ledger
        self._revivals = revivals
        self._wall = wall
        self._monotonic = monotonic
        self._told = tell
        self._say = say
        self._timer = timer

    def observe(self, living: Living | None) -> None:
        """
        Judge the revivals under way by their transcripts as they are now.

        :param living: the processes that live; None where no command has ended.
        """
        now, monotonic = self._wall(), self._monotonic()
        for name, running in list(self._revivals.running.items()):
            known = session = self._roster.sessions.get(name)
            if known is not None:
                session = self._roster.refresh(known, now, monotonic)
            elif running.ended is not None:
                stop = running.attempt.stop
                session = self._roster.find(stop.agent, stop.transcript, now, monotonic)
            if running.ended is not None and known is not None and session is not known:
                # It grew after its command had ended: the next look tells by whom.
                continue
            owner = Owner.UNKNOWN
            if session is not None and living is not None:
                owner = living.owner(session.agent, session.identity, session.path)
            self._revivals.observe(running, session, owner, now, monotonic)

    def wants_a_look(self) -> bool:
        """Tell whether it matters now for any session if its process lives."""
        circumstances = self.circumstances()
        return any(
            self._needs_owner(session, circumstances)
            for session in self._roster.sessions.values()
            if not session.settled
        )

    def _needs_owner(self, session: Session, circumstances: Circumstances) -> bool:
        history = self._ledger.history(*session.name)
        running = session.name in self._revivals.running
        told = session.verdict.kind is not None or plan.goes_on(session, history)
        if session.kind is None and (told or running):
            return False
        end = plan.ending(session, history, circumstances)
        return plan.needs_owner(session, history, end, circumstances, running)

    def judge_all(self, living: Living | None) -> Iterator[None]:
        """
        Judge every session of which anything can have changed.

        It yields wherever about `SLICE` seconds of work are done.

        :param living: the processes that live; None where none was looked for.
        """
        began = self._timer()
        for session in list(self._roster.sessions.values()):
            if not session.settled:
                self._judge(session, living)
            if self._timer() - began >= SLICE:
                yield
                began = self._timer()

    def _judge(self, session: Session, living: Living | None) -> None:
        circumstances = self.circumstances()
        history = self._ledger.history(*session.name)
        self._see_owner(session, living, circumstances)
        session.kind = self._kind(session, history, living, circumstances)
        end = plan.ending(session, history, circumstances)
        if end is not None and self._keeper.held:
            self._record(session, end, circumstances)
            history = self._ledger.history(*session.name)
        held = self._held(session, history, end, circumstances)
        self._set_state(session, history, end, held, circumstances)
        if session.name not in self._revivals.running:
            session.settled = plan.is_settled(session, end, circumstances)

    def _see_owner(
        self,
        session: Session,
        living: Living | None,
        circumstances: Circumstances,
    ) -> None:
        if living is None or not self._needs_owner(session, circumstances):
            return
        if self._world.stamp(session.path) != session.stamp:
            # It grew after it was read, so the look says nothing about what was read.
            return
        session.owner = living.owner(session.agent, session.identity, session.path)

    def _kind(
        self,
        session: Session,
        history: History,
        living: Living | None,
        circumstances: Circumstances,
    ) -> Kind | None:
        if not plan.is_quiet(session, circumstances):
            return None
        if plan.goes_on(session, history):
            return history.kind
        if session.verdict.kind is not None:
            return session.verdict.kind
        if session.name in self._revivals.running:
            # The command that revives it lives, whatever its name.
            return None
        if session.kind is not None or living is None or session.owner is None:
            return session.kind
        asking = living.asking(session.agent, session.identity)
        return ended(session.verdict, session.owner, asking)

    def _record(self, session: Session, end: Ending, circumstances: Circumstances) -> None:
        """Write down how a session ended, where that is news."""
        history = self._ledger.history(*session.name)
        if session.verdict.key in (history.key, history.found):
            if end.kind in REVIVABLE and not end.fresh:
                attempts = self.settings.attempts
                self._revivals.give_up_if_hopeless(stop_of(session, end), history, attempts)
            return
        if history.open is not None or not plan.belongs_in_the_ledger(end, circumstances):
            return
        stop = stop_of(session, end)
        if end.kind is Kind.USER:
            self._ledger.left(stop)
            self._told(Event.LEFT, stop, "")
            return
        self._ledger.stopped(stop, end.due, fresh=end.fresh)
        self._told(Event.STOPPED, stop, end.kind)
        if end.kind in REVIVABLE and not end.fresh:
            history = self._ledger.history(*session.name)
            self._revivals.give_up_if_hopeless(stop, history, self.settings.attempts)

    def ready(self) -> list[tuple[float, tuple[str, str], str]]:
        """Tell what is due, the longest due first: when, which session, and its record's key."""
        circumstances = self.circumstances()
        ready = []
        for session in self._roster.sessions.values():
            if session.settled or session.state is not State.WAITING:
                continue
            _, end, held = self._weigh(session, circumstances)
            if end is not None and held is None:
                ready.append((end.due or 0.0, session.name, session.verdict.key))
        return sorted(ready)

    def begin(self, name: tuple[str, str], key: str, living: Living) -> None:
        """Start the command for a session, if nothing has changed since it was planned."""
        planned = self._roster.sessions.get(name)
        if planned is None:
            return
        session = self._roster.refresh(planned, self._wall(), self._monotonic())
        if session is None:
            return
        circumstances = self.circumstances()
        history = self._ledger.history(*name)
        newer = session is not planned or session.verdict.key != key
        session.owner = living.owner(session.agent, session.identity, session.path)
        end = plan.ending(session, history, circumstances)
        held = self._held(session, history, end, circumstances, newer=newer)
        if held is None and end is not None:
            command = self.settings.revive[session.agent]
            trouble = self._revivals.begin(session, end, command, self._monotonic())
            if trouble is not None:
                self._say(f"{_named(name)} cannot be revived: {trouble}")
        self._set_state(session, self._ledger.history(*name), end, held, circumstances)

    def circumstances(self) -> Circumstances:
        """Tell what holds for all sessions now."""
        return Circumstances(
            self._wall(),
            self._monotonic(),
            self.settings,
            self._ledger.paused,
            self._keeper.held,
            self._ledger.trouble is None,
            self._ledger.sums.first_at,
            self._ledger.starts(),
        )

    def _held(
        self,
        session: Session,
        history: History,
        end: Ending | None,
        circumstances: Circumstances,
        *,
        newer: bool = False,
    ) -> Reason | None:
        return reason_not_to_revive(
            plan.facts(
                session,
                history,
                end,
                circumstances,
                running=session.name in self._revivals.running,
                newer_record=newer,
                owner=lambda: session.owner or Owner.GONE,
                directory=lambda: self._can_use(session),
                binary=lambda: self._has_program(session.agent),
            )
        )

    def _weigh(
        self, session: Session, circumstances: Circumstances
    ) -> tuple[History, Ending | None, Reason | None]:
        """Tell what is known of a session's end, and what holds it now."""
        history = self._ledger.history(*session.name)
        end = plan.ending(session, history, circumstances)
        return history, end, self._held(session, history, end, circumstances)

    def _can_use(self, session: Session) -> bool:
        trouble = self._world.directory_trouble(session.identity.directory)
        if trouble is not None:
            self._say(f"{_named(session.name)} cannot be revived: {trouble}")
        return trouble is None

    def _has_program(self, agent: str) -> bool:
        try:
            self._world.program(self.settings.revive[agent])
        except CommandError as error:
            self._say(f"No session of {agent} can be revived: {error}")
            return False
        return True

    def _state(
        self,
        session: Session,
        history: History,
        end: Ending | None,
        held: Reason | None,
        circumstances: Circumstances,
    ) -> State:
        reviving = self._revivals.reviving(session.name)
        return plan.state(session, history, end, held, circumstances, reviving=reviving)

    def _set_state(
        self,
        session: Session,
        history: History,
        end: Ending | None,
        held: Reason | None,
        circumstances: Circumstances,
    ) -> None:
        session.state = self._state(session, history, end, held, circumstances)
        waits = session.state is State.WAITING
        session.due = end.due if waits and end is not None else None

    def unsettle(self) -> None:
        """Have every session judged again."""
        for session in self._roster.sessions.values():
            session.settled = False

    def restate(self) -> None:
        """Make every plan afresh, of what is known already."""
        circumstances = self.circumstances()
        for session in self._roster.sessions.values():
            if session.settled:
                continue
            history, end, held = self._weigh(session, circumstances)
            self._set_state(session, history, end, held, circumstances)

    def told(self, session: Session, circumstances: Circumstances) -> dict[str, Any]:
        """Tell a session as ``SESSIONS`` does."""
        history, end, held = self._weigh(session, circumstances)
        acts = end is not None and end.kind in REVIVABLE
        return {
            "agent": session.agent,
            "id": session.identity.id,
            "directory": session.identity.directory,
            "transcript": session.path,
            "state": self._state(session, history, end, held, circumstances).value,
            "kind": None if end is None else end.kind.value,
            "since": session.since,
            "due": None if end is None else end.due,
            "attempts": history.attempts if end is None else end.attempts,
            "held": held.value if acts and held is not None else None,
        }


def _named(name: tuple[str, str]) -> str:
    return f"{name[0]} session {printable(name[1], NAME_LIMIT)}"
