"""The revivals under way: from the intent in the ledger to the outcome in the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from palingenesis.monitor.case import Case, Load
from palingenesis.monitor.child import CommandError, ResourceError
from palingenesis.monitor.ledger import Attempt, Ledger, LedgerError, Name, Stop
from palingenesis.monitor.revive import Ended, Revival
from palingenesis.monitor.roster import Session
from palingenesis.monitor.running_attempt import Running
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.settings import PROMPT, HomeRevival, Settings
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Growth
from palingenesis.monitor.typist import Typed
from palingenesis.monitor.world import World
from palingenesis.words import Event, Kind, Method, Owner

#: Called with an event that has been recorded, its stop, and a few words about it.
Recorded = Callable[[Event, Stop, str], None]

#: Seconds for which the first revival after a reset goes ahead of the others of its home.
LEAD = 60.0
#: Seconds for which nothing has a session until what was handed over there has failed.
GONE = 120.0
#: What a command left in the transcript in place of an answer, in words.
_STOPS = {
    Kind.LIMIT: "a usage limit",
    Kind.TRANSIENT: "an error of the service or of the network",
    Kind.CONTEXT: "the context is full",
    Kind.REFUSED: "the service refused",
}
#: Seconds from Enter within which the agent has to write a record.
RECORD = 30.0
#: Seconds after which a start is tried again if any command lacked something, and if only this
#: session's could not be executed.
RETRY = 60.0
RETRY_OF_ONE = 600.0
_GONE = Ended(None, False, False)


class Revivals:
    """
    Starts commands, looks after them, and records what becomes of them.

    :param recorded: called for each event that is recorded.
    :ivar running: by agent and session.
    """

    def __init__(self, ledger: Ledger, world: World, times: Times, recorded: Recorded) -> None:
        self._ledger = ledger
        self._world = world
        self._times = times
        self._recorded = recorded
        self._recovered = False
        #: The newest reset after which a session of each home went first, by the home's name.
        self._led: dict[str, float] = {}
        self._retry_at = 0.0
        #: Why no output can be kept, and what the last command lacked, each in one line.
        self._output_warning: str | None = None
        self._lacking: str | None = None
        self.running: dict[tuple[str, str], Running] = {}

    @property
    def warning(self) -> str | None:
        """What any command lacks, in one line; None if nothing is known to be missing."""
        return self._output_warning or self._lacking

    @property
    def may_start(self) -> bool:
        """Whether it is worth a try to start a command."""
        return self._output_warning is None and self._times.monotonic() >= self._retry_at

    def latest(self) -> Attempt | None:
        """Return the attempt that began last, of those that have not worked yet."""
        attempts = [each.attempt for each in self.running.values() if not each.worked]
        return max(attempts, key=lambda attempt: attempt.at, default=None)

    def any_ended(self) -> bool:
        """Return whether a command has ended whose attempt is still to be judged."""
        return any(not each.runs for each in self.running.values())

    def forget(self) -> None:
        """Leave everything to another daemon, which is the keeper."""
        self.running.clear()
        self._recovered = False
        self._lacking = self._output_warning = None

    def load(self, home: str) -> Load:
        """Return what is being revived in a home; a message that nothing comes of is left out."""
        now = self._times.monotonic()
        there = [
            each
            for each in self.running.values()
            if each.home == home
            and each.runs
            and not (each.handed_over and now - each.grown >= each.stall)
        ]
        return Load(len(there), any(now < each.leads_until and not each.worked for each in there))

    def pids(self) -> frozenset[int]:
        """Return the pids of the commands."""
        revivals = [each.revival for each in self.running.values()]
        return frozenset(each.pid for each in revivals if each is not None)

    def poll(self, settings: Settings) -> None:
        """
        Look which commands live.

        That is done before any transcript is read, so that all that a command has written is
        known when its end is judged.
        """
        if self._times.monotonic() >= self._retry_at + RETRY:
            self._lacking = None
        self._output_warning = self._world.output_warning()
        self._recover(settings)
        for running in self.running.values():
            revival = running.revival
            running.stall = stall = settings.stall_tool if running.calling else settings.stall
            if revival is None or running.ended is not None:
                continue
            if running.growth is not None:
                growth = self._growth_of(running.attempt)
                if growth != running.growth and growth.at >= running.growth.at:
                    # Since the last tick: the transcripts are not read yet.
                    revival.grew()
            was_ending = revival.is_ending
            # What a daemon before this one has started may have grown, or call a tool.
            running.ended = revival.poll(stall if running.observed else math.inf)
            if revival.is_ending and not was_ending:
                self._kill(running.attempt, f"nothing new came for {_length(stall)}")

    def _kill(self, attempt: Attempt, reason: str, by: str | None = None) -> None:
        self._ledger.killed(attempt, reason, by)
        self._recorded(Event.KILLED, attempt.stop, f"attempt {attempt.attempt}, {reason}")

    def begin(self, case: Case, others: frozenset[Name]) -> str | None:
        """
        Start what the session's method runs; the intent is on disk before.

        A start that cannot be is not an attempt.

        :param others: the sessions in the same directory.
        :returns: why nothing was started, in one line; None if it was.
        """
        session, stop, command = case.session, case.stop, case.command

        def intend() -> None:
            home, person = session.home.name, case.has_person
            self._ledger.intent(stop, case.due, home=home, method=case.method, person=person)

        try:
            if command is None:
                intend()
                self._type(case)
                return None
            in_use = [each.output for each in self.running.values() if each.output is not None]
            revival = self._world.start(
                command, session.home, session.identity, in_use, case.settings.outputs, intend
            )
        except (CommandError, LedgerError) as error:
            now, reason = self._times.monotonic(), str(error)
            attempt = self._ledger.history(*session.name).open
            if isinstance(error, ResourceError):
                self._retry_at, self._lacking = now + RETRY, reason
            elif attempt is not None:
                session.unstartable_until = now + RETRY_OF_ONE
            if attempt is not None:
                self._ledger.not_started(attempt, session.home.name, reason, prompt_in(session))
                self._recorded(Event.FAILED, stop, f"not started: {reason}")
            return reason
        self._lacking = None
        attempt = self._begin(case, revival, others).attempt
        self._ledger.started(attempt, revival.pid, revival.began, revival.output or "")
        self._recorded(Event.STARTED, stop, f"attempt {attempt.attempt}, pid {revival.pid}")
        return None

    def _begin(
        self, case: Case, revival: Revival | None = None, others: frozenset[Name] = frozenset()
    ) -> Running:
        session, now = case.session, self._times.monotonic()
        attempt = self._ledger.history(*session.name).open
        assert attempt is not None  # noqa: S101 - its intent was just written down
        running = self.running[session.name] = Running(
            attempt,
            revival,
            case.revival,
            began_here=True,
            grown=now,
            before=session.verdict.progress,
            growth=self._growth(session),
            home=session.home.name,
            leads_until=now + LEAD if self._goes_first(case) else 0.0,
            others=others,
        )
        return running

    def _type(self, case: Case) -> None:
        """Begin to type the prompt of an attempt; a thread presses the keys."""
        session, running = case.session, self._begin(case)

        def forbids() -> str | None:
            """Return what has changed since the intent, just before a key."""
            if self._ledger.paused:
                return "the monitor was paused"
            if self._ledger.history(*session.name).on_hold:
                return "the session was put on hold"
            if self.running.get(session.name) is not running:
                return "the daemon stops"
            try:
                found = self._world.read(session.home, session.path, session.identity)
            except OSError as error:
                return f"{session.path}: {error.strerror}"
            if found is None or found[1].key != session.verdict.key:
                return "the transcript has a newer record"
            return None

        prompt = PROMPT if running.named is None else running.named.prompt
        running.typing = self._world.type(session.home, session.identity, prompt, forbids)

    def _goes_first(self, case: Case) -> bool:
        """Return whether a session is the first of its home to be brought back after a reset."""
        reset, home = case.session.verdict.reset, case.session.home.name
        if not case.is_after_reset or reset is None or reset <= self._led.get(home, 0.0):
            return False
        self._led[home] = reset
        return True

    def end(self, name: Name, by: str) -> str | None:
        """
        End the command that revives a session.

        :param by: who asks for it.
        :returns: why nothing is ended, in one line; None if it is.
        """
        running = self.running.get(name)
        if running is None or running.revival is None or running.ended is not None:
            return "no revival of it runs"
        if not running.revival.is_certain:
            return "it cannot be proven that the process is its revival; end it yourself"
        running.revival.end()
        self._kill(running.attempt, "ended at a person's wish", by)
        return None

    def observe(
        self, running: Running, session: Session | None, successors: Iterable[Session]
    ) -> None:
        """
        Judge an attempt by its transcript, which was read after its command was looked at.

        :param session: the session, and what has it as last seen; None if its transcript is gone.
        :param successors: the sessions in the same directory, one of which may be what the
            command has begun in the place of this one.
        """
        attempt = running.attempt
        running.observed = True
        if attempt.method is Method.TYPE_INTO and running.ended is None:
            if not self._is_typed(running, session):
                return
            running.ended, running.handed_over = _GONE, True
        if session is not None:
            growth = self._growth(session)
            if growth != running.growth:
                ago = self._times.wall() - growth.at if running.growth is None else 0.0
                running.grown = self._times.monotonic() - max(0.0, ago)
                if running.revival is not None:
                    running.revival.grew(ago)
            running.growth, running.calling = growth, session.verdict.calling
            progressed = _progressed(running, session, self._times.wall())
            if not running.worked and progressed and self._is_ours(running, session):
                running.worked = True
                self._ledger.worked(attempt)
                self._recorded(Event.WORKED, attempt.stop, f"attempt {attempt.attempt}")
        if running.ended is not None and not self._goes_on(running, running.ended, session):
            del self.running[attempt.stop.agent, attempt.stop.session]
            if running.worked:
                # Until its last growth: when it ended may not have been seen.
                seconds = 0.0 if session is None else max(0.0, session.since - attempt.at)
                self._ledger.ended(attempt, running.ended.exit, seconds)
                self._recorded(Event.ENDED, attempt.stop, f"attempt {attempt.attempt}")
            # Only a command may have begun another session.
            elif attempt.method or not self._continued(running, session, successors):
                self._end(running, running.ended, session)

    def _is_ours(self, running: Running, session: Session) -> bool:
        """Return whether the agent goes on because of an attempt, and not of a person's prompt."""
        if running.attempt.method is None:
            return True
        given = running.has_given(*self._world.last_prompt(session.home, session.path))
        return given is not False

    def _goes_on(self, running: Running, ended: Ended, session: Session | None) -> bool:
        """
        Return whether an attempt is open although its command has ended.

        It is while a living program has the prompt, or may have it: a command that handed it over
        ends at once. A message in a queue may be taken late, and is never sent again.
        """
        attempt = running.attempt
        if session is None or ended.exit or ended.stalled or attempt.killed is not None:
            return False
        is_message = attempt.method is Method.QUEUE
        # How long a command took that another daemon started is not known.
        soon = ended.quick or running.revival is None or not running.began_here
        running.handed_over = running.handed_over or is_message or (session.is_open and soon)
        if not running.handed_over:
            return False
        is_new = session.verdict.key != attempt.stop.key
        if is_new and session.verdict.kind is not None:
            return False
        now = self._times.monotonic()
        if session.owner is Owner.GONE:
            running.gone = now if running.gone is None else running.gone
            return not running.worked and now - running.gone < GONE
        if session.owner is not None:
            running.gone = None
        if not is_message:
            return now - running.grown < running.stall
        # A daemon ended before it sent the message, or its command did.
        return is_new or attempt.pid is not None or session.is_queued is not False

    def _is_typed(self, running: Running, session: Session | None) -> bool:
        """Return whether a prompt was typed and a record came of it; record it if it is not."""
        attempt, now = running.attempt, self._times.monotonic()
        if running.typing is not None:
            outcome = running.typing.outcome
            if outcome is None:
                return False
            running.typing = None
            if not outcome.typed:
                self._leave_untyped(running, outcome.doubt or "", session)
                return False
            if not outcome.sent:
                self._fail_typed(attempt, outcome)
                return False
            self._ledger.started(attempt)
            self._recorded(Event.STARTED, attempt.stop, f"attempt {attempt.attempt}, typed")
        if running.sent_at is None:
            # After a restart nobody knows whether a key was pressed: it counts as pressed.
            running.sent_at = now
        if session is not None and session.verdict.key != attempt.stop.key:
            return True
        if now - running.sent_at > RECORD:
            why = f"no record came of it within {RECORD:.0f} seconds"
            self._fail_typed(attempt, Typed(True, True, why))
        return False

    def _leave_untyped(self, running: Running, doubt: str, session: Session | None) -> None:
        """
        Record that no key was pressed, so that it was no attempt.

        The doubt holds for a while, as the reason does for which a command could not be executed.
        """
        attempt = running.attempt
        stop = attempt.stop
        del self.running[stop.agent, stop.session]
        if session is not None and session.verdict.key == stop.key:
            session.doubt = doubt
            session.doubt_asked = self._times.monotonic() + RETRY_OF_ONE
        left = self._ledger.history(stop.agent, stop.session).found
        found = left if left == stop.key else None
        self._ledger.not_started(attempt, running.home, doubt, found)
        self._recorded(Event.FAILED, stop, f"not started: {doubt}")

    def _fail_typed(self, attempt: Attempt, outcome: Typed) -> None:
        """
        Record that an attempt failed, since its prompt was not sent, or no record came of it.

        What may stand in a terminal is not typed a second time.
        """
        stop = attempt.stop
        del self.running[stop.agent, stop.session]
        # First: a daemon that is killed in between must not type again.
        self._ledger.gave_up(stop)
        self._recorded(Event.GAVE_UP, stop, f"after {attempt.attempt} attempts")
        what = "was typed" if outcome.sent else "stands in its terminal, and was not sent"
        need = f"its prompt {what}: {outcome.doubt}"
        self._ledger.needs_you(stop, need, again=True)
        self._recorded(Event.NEEDS_YOU, stop, need)
        self._fail(attempt, _GONE, reason=outcome.doubt)

    def _growth_of(self, attempt: Attempt) -> Growth:
        stop, home = attempt.stop, self._world.home_of(attempt.stop)
        return self._world.growth(home, Identity(stop.session, stop.directory), stop.transcript)

    def _growth(self, session: Session) -> Growth:
        return self._world.growth(session.home, session.identity, session.path)

    def _continued(
        self, running: Running, known: Session | None, successors: Iterable[Session]
    ) -> bool:
        """Record under which id a session goes on, if the command has begun another one."""
        attempt = running.attempt
        if not running.began_here and known is not None and known.verdict.key != attempt.stop.key:
            return False
        for session in successors:
            if session.name in running.others or not self._may_be_new(running, session):
                continue
            progress = session.verdict.believed(self._times.wall()).progress
            if progress is not None and progress >= attempt.at:
                # The command may have written its prompt before.
                prompt = None if known is None else prompt_in(known)
                stop = replace(attempt.stop, key=prompt or attempt.stop.key)
                # First: a daemon that is killed in between must not try the session again.
                self._ledger.continued(stop, session.identity.id)
                self._recorded(Event.CONTINUED, attempt.stop, f"as {session.identity.id}")
                self._ledger.worked(attempt)
                self._recorded(Event.WORKED, attempt.stop, f"attempt {attempt.attempt}")
                return True
        return False

    def _may_be_new(self, running: Running, session: Session) -> bool:
        """Return whether a command may have begun a session, if a daemon before this one ran it."""
        if running.began_here:
            return True
        history = self._ledger.history(*session.name)
        stopped_at = history.stopped_at
        is_older = history.left or (stopped_at is not None and stopped_at < running.attempt.at)
        return not is_older and session.name not in self.running

    def _end(self, running: Running, ended: Ended, session: Session | None) -> None:
        same = session is None or session.verdict.key == running.attempt.stop.key
        # A prompt may be the user's if nobody saw the command run, if it is not what the command
        # was given, or if somebody is back; the prompt of a command that was killed together with
        # its daemon is known by its text. So is that of a message, and what was typed: a person
        # may have written after it.
        found = None
        if session is not None:
            given = _is_given(session, running.named)
            is_ours = given or (given is None and running.revival is not None)
            if running.attempt.method is not None:
                is_ours = self._is_ours(running, session)
            if same or (is_ours and session.owner is Owner.GONE):
                found = prompt_in(session)
        quick = ended.quick and (found is not None or same)
        if running.handed_over:
            quick = False
            if session is not None and _is_cut(running, session):
                found, quick = session.verdict.key, True
        self._fail(
            running.attempt,
            ended,
            quick=quick,
            found=found,
            reason=_why(running, session),
            waited=running.handed_over and running.gone is not None,
        )

    def _fail(
        self,
        attempt: Attempt,
        ended: Ended,
        *,
        quick: bool = False,
        found: str | None = None,
        reason: str | None = None,
        waited: bool = False,
    ) -> None:
        self._ledger.failed(
            attempt, ended.exit, quick=quick, found=found, reason=reason, waited=waited
        )
        how = "ended, since nothing new came" if ended.stalled else _shown(ended.exit)
        if reason is not None:
            how = f"{reason}, {how}" if ended.exit else reason
        self._recorded(Event.FAILED, attempt.stop, f"attempt {attempt.attempt}, {how}")

    def _recover(self, settings: Settings) -> None:
        """Find again what a daemon before this one has started, or intended to."""
        for attempt in self._ledger.unfinished():
            self._adopt(attempt, settings, worked=False)
        if not self._recovered:
            self._recovered = True
            for history in self._ledger.sums.sessions.values():
                if history.last is not None:
                    self._adopt(history.last, settings, worked=True)

    def _adopt(self, attempt: Attempt, settings: Settings, *, worked: bool) -> None:
        """Look after an attempt, unless that is done already."""
        stop, method = attempt.stop, attempt.method
        if (stop.agent, stop.session) in self.running:
            return
        home = self._world.home_of(stop).name
        named = settings.revival_of(home, stop.directory)
        command = None if named is None else named.run_for(method or Method.COMMAND)
        revival = self._world.adopt(attempt, command)
        # A prompt may have been typed: the records show whether it was.
        gone = revival is None and (worked or method is not Method.TYPE_INTO)
        ended = _GONE if gone else None
        self.running[stop.agent, stop.session] = Running(
            attempt, revival, named, home=home, worked=worked, ended=ended
        )
        if revival is not None and attempt.pid is None and not worked:
            self._ledger.started(attempt, revival.pid, revival.began, revival.output or "")


def prompt_in(session: Session) -> str | None:
    """Return the key of the prompt that a transcript ends with; None if it ends otherwise."""
    return session.verdict.key if session.verdict.kind is None else None


def _is_given(session: Session, named: HomeRevival | None) -> bool | None:
    """
    Return whether a command has given the prompt that a transcript ends with.

    None if it cannot be known; what was typed is a person's.
    """
    prompt = session.verdict.prompt
    if prompt is None or named is None:
        return False if session.verdict.last_typed else None
    return named.gives(Method.COMMAND, prompt)


def _progressed(running: Running, session: Session, now: float) -> bool:
    """Return whether the agent has written a record since the attempt began, and no error."""
    progress = session.verdict.believed(now).progress
    if progress is None or session.verdict.key == running.attempt.stop.key:
        return False
    if running.began_here:
        return progress != running.before
    return progress > running.attempt.at


def _is_cut(running: Running, session: Session) -> bool:
    """
    Return whether a turn of our own message was cut off before any answer.

    Codex does that itself if it runs without a person (openai/codex#41060): it is no user's end.
    """
    verdict = session.verdict
    given_at = verdict.last_prompt_at
    return (
        running.attempt.method is Method.QUEUE
        and verdict.kind is Kind.USER
        and running.has_given(verdict.last_prompt, given_at) is True
        and (verdict.progress is None or given_at is None or verdict.progress < given_at)
    )


def _why(running: Running, session: Session | None) -> str | None:
    """Return why an attempt has failed; None if that is not known, or the daemon ended it."""
    if not running.handed_over:
        if running.attempt.method is Method.QUEUE and running.ended:
            return "its queue took no message; its version may have none"
        return _why_by_records(running.attempt, session)
    if session is not None and session.verdict.key != running.attempt.stop.key:
        progress = session.verdict.progress
        if progress is not None and progress > running.attempt.at:
            return "a person went on with it"
        return "it was taken, and no answer came"
    if running.gone is not None:
        return "its program ended before it took the message"
    return "its message was not sent" if running.attempt.method else "nothing new came"


def _why_by_records(attempt: Attempt, session: Session | None) -> str | None:
    """Return why a command has brought no answer, by what it left in the transcript."""
    if session is None or attempt.killed is not None:
        return None
    if session.verdict.key == attempt.stop.key:
        return "it ended before it wrote anything in the session"
    if session.verdict.kind is None:
        return "its prompt has no answer"
    return _STOPS.get(session.verdict.kind)


def _length(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _shown(status: int | None) -> str:
    return "exit unknown" if status is None else f"exit {status}"
