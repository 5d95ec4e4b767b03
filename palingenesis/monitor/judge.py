"""The judge assesses every session, writes down what is news, and starts what is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from palingenesis.monitor.case import (
    Case,
    Circumstances,
    Statement,
    ending_of,
    is_hopeless,
    kind_of,
    newest_resets,
)
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.gate import Assessment, assess, known_reason, owner_matters
from palingenesis.monitor.keeper import Keeper
from palingenesis.monitor.ledger import Ledger
from palingenesis.monitor.needs import needs
from palingenesis.monitor.owners import Owners
from palingenesis.monitor.revivals import Recorded, Revivals
from palingenesis.monitor.revive import Command
from palingenesis.monitor.roster import Roster, Session
from palingenesis.monitor.running_attempt import Running
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import Living, World
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import REVIVABLE, Event, Kind, Owner, Reason, State

#: Seconds between two looks at the processes that only show who has a session that waits.
LOOK = 30.0


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
        self._resets: Mapping[str, Sequence[Statement]] = {}
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
            session.see(living.of(session.home))
        beside = self._beside(running.attempt.stop.directory)
        self._revivals.observe(running, session, beside)

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

        def ask(session: Session) -> None:
            case = self.case_of(session, circumstances)
            waits = shows and self._waits_for_owner(case)
            self.wants_a_look = waits or owner_matters(case)

        for _ in self._each(ask):
            if self.wants_a_look:
                return
            yield

    def _waits_for_owner(self, case: Case) -> bool:
        """Return whether another owner would change what is done for a session, or shown."""
        session = case.session
        return (
            session.state is State.WAITING
            or session.is_open
            or case.lacks_method
            or (case.running is not None and case.running.handed_over)
        )

    def judge_all(self, living: Living | None) -> Iterator[None]:
        """
        Judge every session of which anything can have changed; yield after each.

        :param living: the processes that live; None if nobody looked.
        """
        self._resets = newest_resets(self._roster.sessions.values(), self.settings.margin)
        if living is not None:
            self._looked_at = self._times.monotonic()
        yield from self._each(lambda session: self._judge(session, living))

    def _each(self, do: Callable[[Session], None]) -> Iterator[None]:
        """Do something with every session that is not settled, each apart; yield after each."""
        for session in list(self._roster.sessions.values()):
            if not session.settled:
                with self._apart(session):
                    do(session)
            yield

    @contextmanager
    def _apart(self, session: Session) -> Iterator[None]:
        """Keep a session whose judgement fails from spoiling anything for the others."""
        try:
            yield
        except Exception as error:
            session.kind, session.state, session.due = Kind.UNKNOWN, State.STOPPED, None
            session.needs = None
            reason = f"{type(error).__name__}: {error}"
            self._warn(f"{named(session.name)} cannot be judged, and is left alone: {reason}")

    def _judge(self, session: Session, living: Living | None) -> None:
        circumstances = self.circumstances()
        case = self.case_of(session, circumstances)
        asking = None if living is None else self._look(case, living.of(session.home))
        session.kind = kind_of(case, asking)
        case = self.case_of(session, circumstances)
        keeps = case.is_kept and self._keeper.held
        if keeps and self._record(case):
            case = self.case_of(session, circumstances)
        assessment = assess(case)
        if keeps:
            self._call(case, assessment)
        self._note(case, assessment)
        session.settled = case.is_settled and not case.running

    def _look(self, case: Case, owners: Owners) -> bool:
        """Note what a look at the processes shows of a session; return whether it is asking."""
        session = case.session
        wanted = self._waits_for_owner(case) or owner_matters(case)
        # What grew after it was read is not what the look was for.
        if wanted and self._world.stamp(session.home, session.path) == session.stamp:
            session.see(owners)
        session.wants_permission = owners.wants_permission(session.identity)
        session.left = session.left or owners.has_left(session.identity, session.at)
        return owners.is_asking(session.identity)

    def _record(self, case: Case) -> bool:
        """Write down how a session ended, and return whether that is news."""
        session, history, end = case.session, case.history, case.ending
        if end is None:
            return False
        is_news = session.verdict.key not in (history.key, history.found)
        if is_news:
            if history.open is not None or not case.belongs_in_the_ledger:
                return False
            if end.kind is Kind.USER:
                self._ledger.left(case.stop)
                self._recorded(Event.LEFT, case.stop, "")
                return True
            self._ledger.stopped(case.stop, end.due, fresh=end.fresh)
            self._recorded(Event.STOPPED, case.stop, end.kind)
        if end.kind in REVIVABLE and not end.fresh and is_hopeless(case):
            self._ledger.gave_up(case.stop)
            self._recorded(Event.GAVE_UP, case.stop, f"after {history.attempts} attempts")
        return is_news

    def _call(self, case: Case, assessment: Assessment) -> None:
        """Call a person, once for each stop, if the session needs one."""
        need = needs(case, assessment)
        if need is None or assessment.held is Reason.GIVEN_UP:
            # The entry that gives a session up has called a person already.
            return
        if self._ledger.needs_you(case.stop, need):
            self._recorded(Event.NEEDS_YOU, case.stop, need)

    def gather(self) -> Iterator[None]:
        """Set `ready` to what is due, the longest due first; yield after each session."""
        circumstances = self.circumstances()
        ready = []

        def ask(session: Session) -> None:
            assessment = assess(self.case_of(session, circumstances))
            # A directory that could not be used is asked again.
            if assessment.held in (None, Reason.DIRECTORY):
                ready.append((assessment.due or 0.0, session.name, session.verdict.key))

        yield from self._each(ask)
        self.ready = sorted(ready)

    def still_ready(self, name: tuple[str, str]) -> Session | None:
        """Return a session if nothing that is known without a look at the system holds it."""
        session = self._roster.sessions.get(name)
        if session is None:
            return None
        case = self.case_of(session)
        return session if known_reason(case) is None else None

    def ask_for_the_owner(self, session: Session, living: Living) -> None:
        """Take note of what has a session."""
        with self._apart(session):
            session.see(living.of(session.home))

    def begin(self, planned: Session, key: str, living: Living) -> None:
        """Start the command for a session, if nothing has changed since it was planned."""
        with self._apart(planned):
            self._begin(planned, key, living)

    def _begin(self, planned: Session, key: str, living: Living) -> None:
        session = self._roster.refresh(planned)
        if session is None:
            return
        owners = living.of(session.home)
        if owners.has_left(session.identity, session.at):
            return  # the next tick judges it anew
        circumstances = self.circumstances()
        session.see(owners)
        newer = session is not planned or session.verdict.key != key
        case = replace(self.case_of(session, circumstances), newer_record=newer)
        assessment = assess(case)
        if assessment.kind is not None and assessment.held is None:
            others = frozenset(each.name for each in self._beside(session.identity.directory))
            warning = self._revivals.begin(case, others)
            if warning is not None:
                self._warn(f"{named(session.name)} cannot be revived: {warning}")
            case = self.case_of(session, circumstances)
            assessment = assess(case)
        self._note(case, assessment)

    def to_be_typed_into(self) -> list[Session]:
        """Return the sessions of which it is time to ask whether a prompt can be typed."""
        circumstances = self.circumstances()
        return [
            session
            for session in self._roster.sessions.values()
            if not session.settled
            and circumstances.monotonic - session.doubt_asked >= LOOK
            and session.owner is Owner.PROGRAM
            and self.case_of(session, circumstances).types
        ]

    def reason_against(self, session: Session, living: Living | None = None) -> Reason | None:
        """
        Return what holds a session that a person wants to be revived now.

        :param living: the processes that live; None to ask only what needs no look at them.
        """
        if living is not None:
            session.see(living.of(session.home))
        case = self.case_of(session)
        wished = replace(case.history, asked=session.verdict.key)
        asked = replace(case, history=wished)
        return known_reason(asked) if living is None else assess(asked).held

    def ask(self, session: Session, by: str) -> str | None:
        """Record that a person wants a session to be revived now; return the warning."""
        session.settled = False
        return self._ledger.asked(self.case_of(session).stop, by)

    def circumstances(self) -> Circumstances:
        """Return what holds for all sessions now."""
        return Circumstances(
            now=self._times.wall(),
            monotonic=self._times.monotonic(),
            settings=self.settings,
            paused=self._ledger.paused,
            kept=self.kept,
            may_start=(self._keeper.warning or self._ledger.warning) is None
            and self._revivals.may_start,
            first_at=self._ledger.sums.first_at,
            starts=self._ledger.starts,
            resets=self._resets,
            loads={name: self._revivals.load(name) for name in self.kept},
            finds=self._finds,
        )

    def _finds(self, home: str, command: Command) -> bool:
        """Return whether a command's program is found; a warning says why it is not."""
        try:
            self._world.program(command)
        except CommandError as error:
            self._warn(f"No session of {home} can be revived: {error}")
            return False
        return True

    def case_of(self, session: Session, circumstances: Circumstances | None = None) -> Case:
        """
        Return the case of a session.

        :param circumstances: those of now if None.
        """
        circumstances = circumstances or self.circumstances()
        history = self._ledger.history(*session.name)
        ending = ending_of(session, history, circumstances)
        running = self._revivals.running.get(session.name)
        return Case(session, history, circumstances, ending, running)

    def _note(self, case: Case, assessment: Assessment) -> None:
        session = case.session
        session.state = assessment.state
        session.needs = needs(case, assessment)
        session.due = assessment.until
        if assessment.held is Reason.DIRECTORY:
            self._warn(f"{named(session.name)} cannot be revived: {session.unusable}")

    def unsettle(self) -> None:
        """Have every session judged again."""
        for session in self._roster.sessions.values():
            session.settled = False

    def restate(self) -> None:
        """Assess every session afresh, by what is known already."""
        circumstances = self.circumstances()

        def ask(session: Session) -> None:
            case = self.case_of(session, circumstances)
            self._note(case, assess(case))

        for _ in self._each(ask):
            pass


def named(name: tuple[str, str]) -> str:
    """Name a session by its agent and id, for a line of the log."""
    return f"{name[0]} session {printable(name[1], NAME_LIMIT)}"
