"""The judge assesses every session, writes down what is news, and starts what is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from palingenesis.monitor.case import (
    PERMISSIVE,
    Assessment,
    Case,
    Circumstances,
    Statement,
    assess,
    ending_of,
    kind_of,
    owner_matters,
    shown_reason,
)
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.forecast import Outlook, outlook
from palingenesis.monitor.keeper import Keeper
from palingenesis.monitor.ledger import Entry, Ledger
from palingenesis.monitor.needs import needs
from palingenesis.monitor.revivals import Recorded, Revivals, Running, stop_of
from palingenesis.monitor.revive import Command
from palingenesis.monitor.roster import Roster, Session
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import Living, World
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import REVIVABLE, Event, Key, Kind, Method, Owner, Reason, State

#: Seconds between two looks at the processes that only show who has a session that waits.
LOOK = 30.0
#: Characters of an id that name a session.
SHORTEST = 4


class Judge:
    """
    Assesses sessions by all known facts, and acts on the result.

    :param recorded: called for each event that is recorded.
    :param warn: called with one line for each problem that a person should solve.
    :ivar settings: what an operator has set.
    :ivar wants_a_look: whether the processes are to be looked at; see :meth:`consider`.
    :ivar ready: what is due: when, which session, and its record's key; see :meth:`gather`.
    :ivar kept: the homes that this daemon keeps; see `Circumstances`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        world: World,
        times: Times,
        roster: Roster,
        keeper: Keeper,
        ledger: Ledger,
        revivals: Revivals,
        recorded: Recorded,
        warn: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.kept: Mapping[str, float | None] = {}
        self._resets: Mapping[str, Statement] = {}
        self._looked_at = -LOOK
        self.wants_a_look = False
        self.ready: list[tuple[float, tuple[str, str], str]] = []
        self._world = world
        self._times = times
        self._roster = roster
        self._keeper = keeper
        self._ledger = ledger
        self._revivals = revivals
        self._recorded = recorded
        self._warn = warn

    def observe(self, living: Living | None) -> None:
        """
        Judge the revivals under way by their transcripts as they are now.

        :param living: the processes that live; None if no command has ended.
        """
        for name, running in list(self._revivals.running.items()):
            known = self._roster.sessions.get(name)
            if known is None:
                self._observe(running, None, living)
            else:
                with self._apart(known):
                    self._observe(running, known, living)

    def _observe(self, running: Running, known: Session | None, living: Living | None) -> None:
        session = None
        if known is not None:
            session = self._roster.refresh(known)
        elif running.ended is not None:
            stop = running.attempt.stop
            session = self._roster.find(self._world.home_of(stop), stop.transcript)
        if running.ended is not None and known is not None and session is not known:
            # It grew after its command had ended: the next tick learns by whom.
            return
        if session is not None and living is not None:
            _ask_for_the_owner(session, living)
        stop = running.attempt.stop
        revival = self.settings.revival_of(self._world.home_of(stop).name, stop.directory)
        prompt = None if revival is None else revival.prompt
        self._revivals.observe(running, session, prompt, self._beside(stop.directory))

    def _beside(self, directory: str) -> list[Session]:
        """Return the sessions in a directory."""
        sessions = self._roster.sessions.values()
        return [session for session in sessions if session.identity.directory == directory]

    def consider(self) -> Iterator[None]:
        """
        Decide whether to look at the processes, and set `wants_a_look`; yield after each session.

        It matters for a session who has it if nothing else keeps it from being revived; of one
        that waits, a person wants to know it before.
        """
        self.wants_a_look = False
        circumstances = self.circumstances()
        shows = circumstances.monotonic - self._looked_at >= LOOK
        for session in self._roster.sessions.values():
            if not session.settled:
                with self._apart(session):
                    case = self._case(session, circumstances)
                    waits = shows and self._waits_for_owner(case)
                    self.wants_a_look = waits or owner_matters(case)
            if self.wants_a_look:
                return
            yield

    def _waits_for_owner(self, case: Case) -> bool:
        """Return whether another owner would change what is done for a session, or shown."""
        session = case.session
        return (
            session.state is State.WAITING
            or case.wants_another_owner
            or self._revivals.is_handed_over(session.name)
        )

    def judge_all(self, living: Living | None) -> Iterator[None]:
        """
        Judge every session of which anything can have changed; yield after each.

        :param living: the processes that live; None if nobody looked.
        """
        self._resets = self._newest_resets()
        if living is not None:
            self._looked_at = self._times.monotonic()
        for session in list(self._roster.sessions.values()):
            if not session.settled:
                with self._apart(session):
                    self._judge(session, living)
            yield

    @contextmanager
    def _apart(self, session: Session) -> Iterator[None]:
        """Keep a session whose judgement fails from spoiling anything for the others."""
        try:
            yield
        except Exception as error:
            session.kind, session.state, session.due = Kind.UNKNOWN, State.STOPPED, None
            reason = f"{type(error).__name__}: {error}"
            self._warn(f"{named(session.name)} cannot be judged, and is left alone: {reason}")

    def _judge(self, session: Session, living: Living | None) -> None:
        circumstances = self.circumstances()
        case = self._case(session, circumstances)
        asking = None
        if living is not None:
            # What grew after it was read is not what the look was for.
            wanted = self._waits_for_owner(case) or owner_matters(case)
            if wanted and self._world.stamp(session.home, session.path) == session.stamp:
                _ask_for_the_owner(session, living)
            asking = living.asking(session.home, session.identity)
            session.wants_permission = living.wants_permission(session.home, session.identity)
            session.left = session.left or _has_left(session, living)
        session.kind = kind_of(case, asking)
        case = self._case(session, circumstances)
        keeps = case.is_kept and self._keeper.held
        if keeps:
            self._record(case)
            case = self._case(session, circumstances)
        assessment = assess(case)
        if keeps:
            self._call(case, assessment)
        self._note(session, assessment)
        session.settled = case.is_settled and not case.running

    def _record(self, case: Case) -> None:
        """Write down how a session ended, if that is news."""
        session, history, end = case.session, case.history, case.ending
        if end is None:
            return
        if session.verdict.key not in (history.key, history.found):
            if history.open is not None or not case.belongs_in_the_ledger:
                return
            stop = stop_of(case)
            if end.kind is Kind.USER:
                self._ledger.left(stop)
                self._recorded(Event.LEFT, stop, "")
                return
            self._ledger.stopped(stop, end.due, fresh=end.fresh)
            self._recorded(Event.STOPPED, stop, end.kind)
        if end.kind in REVIVABLE and not end.fresh:
            self._revivals.give_up_if_hopeless(self._case(session, case.circumstances))

    def _call(self, case: Case, assessment: Assessment) -> None:
        """Call a person, once for each stop, if the session needs one."""
        need = needs(case, assessment)
        if need is None or assessment.held is Reason.GIVEN_UP:
            # The entry that gives a session up has called a person already.
            return
        if self._ledger.needs_you(stop_of(case), need):
            self._recorded(Event.NEEDS_YOU, stop_of(case), need)

    def gather(self) -> Iterator[None]:
        """Set `ready` to what is due, the longest due first; yield after each session."""
        circumstances = self.circumstances()
        ready = []
        for session in self._roster.sessions.values():
            if session.settled:
                continue
            with self._apart(session):
                assessment = assess(self._case(session, circumstances))
                # A directory that could not be used is asked again.
                if assessment.held in (None, Reason.DIRECTORY):
                    ready.append((assessment.due or 0.0, session.name, session.verdict.key))
            yield
        self.ready = sorted(ready)

    def still_ready(self, name: tuple[str, str]) -> Session | None:
        """Return a session if nothing that is known without a look at the system holds it."""
        session = self._roster.sessions.get(name)
        if session is None:
            return None
        case = self._case(session, self.circumstances())
        return session if assess(replace(case, system=PERMISSIVE)).held is None else None

    def ask_for_the_owner(self, session: Session, living: Living) -> None:
        """Take note of what has a session."""
        with self._apart(session):
            _ask_for_the_owner(session, living)

    def begin(self, planned: Session, key: str, living: Living) -> None:
        """Start the command for a session, if nothing has changed since it was planned."""
        with self._apart(planned):
            self._begin(planned, key, living)

    def _begin(self, planned: Session, key: str, living: Living) -> None:
        session = self._roster.refresh(planned)
        if session is None:
            return
        if _has_left(session, living):
            return  # the next tick judges it anew
        circumstances = self.circumstances()
        _ask_for_the_owner(session, living)
        newer = session is not planned or session.verdict.key != key
        case = self._case(session, circumstances, newer_record=newer)
        assessment = assess(case)
        if assessment.kind is not None and assessment.held is None:
            others = frozenset(each.name for each in self._beside(session.identity.directory))
            warning = self._revivals.begin(case, others)
            if warning is not None:
                self._warn(f"{named(session.name)} cannot be revived: {warning}")
            assessment = assess(self._case(session, circumstances))
        self._note(session, assessment)

    def to_be_typed_into(self) -> list[Session]:
        """Return the sessions of which it is time to ask whether a prompt can be typed."""
        circumstances = self.circumstances()
        return [
            session
            for session in self._roster.sessions.values()
            if not session.settled
            and circumstances.monotonic - session.doubt_asked >= LOOK
            and session.owner is Owner.PROGRAM
            and self.types_into(session, circumstances)
        ]

    def types_into(self, session: Session, circumstances: Circumstances) -> bool:
        """Return whether a prompt is to be typed into a session's program, now or later."""
        case = self._case(session, circumstances)
        return (
            case.method is Method.TYPE_INTO
            and case.kind is Kind.LIMIT
            and case.is_kept
            and not case.running
            and not case.is_given_up
        )

    def find(self, beginning: str) -> Session | str:
        """
        Return the session whose id begins so; a line that says why there is no such one.

        :param beginning: at least `SHORTEST` characters of an id.
        """
        if len(beginning) < SHORTEST:
            return f"give at least {SHORTEST} characters of the id"
        sessions = self._roster.sessions.values()
        found = [each for each in sessions if each.identity.id.startswith(beginning)]
        whole = [each for each in found if each.identity.id == beginning]
        if len(whole or found) == 1:
            return (whole or found)[0]
        if not found:
            return "no session has an id that begins so"
        ids = ", ".join(sorted(each.identity.id for each in found)[:5])
        return f"{len(found)} sessions have an id that begins so: {ids}"

    def reason_against(self, session: Session, living: Living | None = None) -> Reason | None:
        """
        Return what holds a session that a person wants to be revived now.

        :param living: the processes that live; None to ask only what needs no look at them.
        """
        if living is not None:
            _ask_for_the_owner(session, living)
        case = self._case(session, self.circumstances())
        wished = replace(case.history, asked=session.verdict.key)
        system = PERMISSIVE if living is None else case.system
        return assess(replace(case, history=wished, system=system)).held

    def ask(self, session: Session, by: str) -> str | None:
        """Record that a person wants a session to be revived now; return the warning."""
        session.settled = False
        return self._ledger.asked(stop_of(self._case(session, self.circumstances())), by)

    def circumstances(self) -> Circumstances:
        """Return what holds for all sessions now."""
        return Circumstances(
            self._times.wall(),
            self._times.monotonic(),
            self.settings,
            self._ledger.paused,
            self.kept,
            (self._keeper.warning or self._ledger.warning) is None and self._revivals.may_start,
            self._ledger.sums.first_at,
            self._ledger.starts,
            self._resets,
            {name: self._revivals.load(name) for name in self.kept},
            self._times.clock(),
        )

    def outlook(self, session: Session, stop: Entry) -> Outlook:
        """
        Return what becomes of a session that has stopped.

        :param stop: the ledger's entry of its last stop.
        """
        case = self._case(session, self.circumstances())
        known = (stop.key, case.history.found)
        return outlook(replace(case, newer_record=session.verdict.key not in known))

    def _newest_resets(self) -> dict[str, Statement]:
        """Return the newest statement of each home's limit, by the home's name."""
        newest: dict[str, Statement] = {}
        for session in self._roster.sessions.values():
            verdict = session.verdict
            if verdict.kind is Kind.LIMIT and verdict.at is not None and verdict.reset is not None:
                statement = Statement(verdict.at, verdict.reset + self.settings.margin)
                known = newest.get(session.home.name)
                if known is None or known.at < statement.at:
                    newest[session.home.name] = statement
        return newest

    def _case(
        self, session: Session, circumstances: Circumstances, *, newer_record: bool = False
    ) -> Case:
        history = self._ledger.history(*session.name)
        return Case(
            session,
            history,
            circumstances,
            ending_of(session, history, circumstances),
            running=session.name in self._revivals.running,
            reviving=self._revivals.reviving(session.name),
            newer_record=newer_record,
            system=_System(session, self._world, self._warn),
        )

    def _note(self, session: Session, assessment: Assessment) -> None:
        session.state = assessment.state
        session.due = assessment.due if assessment.state is State.WAITING else None

    def unsettle(self) -> None:
        """Have every session judged again."""
        for session in self._roster.sessions.values():
            session.settled = False

    def restate(self) -> None:
        """Assess every session afresh, by what is known already."""
        circumstances = self.circumstances()
        for session in self._roster.sessions.values():
            if not session.settled:
                with self._apart(session):
                    self._note(session, assess(self._case(session, circumstances)))

    def session_report(self, session: Session, circumstances: Circumstances) -> dict[str, Any]:
        """Return a session as the reply to ``SESSIONS`` has it."""
        case = self._case(session, circumstances)
        assessment = assess(case)
        shows_reason = assessment.kind in REVIVABLE
        return {
            Key.AGENT: session.agent,
            Key.ID: session.identity.id,
            Key.DIRECTORY: session.identity.directory,
            Key.TRANSCRIPT: session.path,
            Key.STATE: assessment.state,
            Key.KIND: assessment.kind,
            Key.SINCE: session.since,
            Key.DUE: assessment.due,
            Key.ATTEMPTS: case.history.attempts if case.ending is None else case.ending.attempts,
            Key.HELD: shown_reason(case) if shows_reason else None,
            Key.NEEDS: needs(case, assessment),
            Key.HOME: session.home.name,
            Key.OWNER: session.owner,
            Key.WHO: session.who,
            Key.METHOD: assessment.method,
            Key.DOUBT: _doubt(case),
            Key.OUTPUT: self._revivals.output_of(session.name),
        }


class _System:
    """What a look at the system answers about one session, as `case.System` asks it."""

    def __init__(self, session: Session, world: World, warn: Callable[[str], None]) -> None:
        self._session = session
        self._world = world
        self._warn = warn

    def owner(self) -> Owner | None:
        return self._session.owner

    def doubt(self) -> str | None:
        return self._session.doubt

    def directory(self) -> bool:
        unusable = self._session.unusable
        if unusable is not None:
            self._warn(f"{named(self._session.name)} cannot be revived: {unusable}")
        return unusable is None

    def program(self, command: Command) -> bool:
        try:
            self._world.program(command)
        except CommandError as error:
            self._warn(f"No session of {self._session.home.name} can be revived: {error}")
            return False
        return True


def named(name: tuple[str, str]) -> str:
    """Name a session by its agent and id, for a line of the log."""
    return f"{name[0]} session {printable(name[1], NAME_LIMIT)}"


def _doubt(case: Case) -> str | None:
    """Return why a session's open program is not given its prompt, in words."""
    if case.method is Method.TYPE_INTO:
        return case.session.doubt
    return "it is not known to take a message" if case.takes_no_message else None


def _ask_for_the_owner(session: Session, living: Living) -> None:
    witness = living.witness(session.home, session.identity, session.path)
    session.owner, session.who = witness.owner, witness.who
    session.is_interactive = witness.is_interactive
    session.is_queued = living.is_queued(session.home, session.identity)


def _has_left(session: Session, living: Living) -> bool:
    at = session.verdict.at
    return living.has_left(session.home, session.identity, session.since if at is None else at)
