"""The revivals under way: from the intent in the ledger to the outcome in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from palingenesis.monitor.child import CommandError
from palingenesis.monitor.ledger import Attempt, History, Ledger, LedgerError, Stop
from palingenesis.monitor.plan import Ending
from palingenesis.monitor.revive import QUICK_LIMIT, Command, Ended, Revival
from palingenesis.monitor.roster import Session
from palingenesis.monitor.sessions import Owner
from palingenesis.monitor.stops import trusted
from palingenesis.monitor.transcript import Stamp
from palingenesis.monitor.world import World
from palingenesis.words import Event

#: Called with an event that has been recorded, its stop, and a few words about it.
Tell = Callable[[Event, Stop, str], None]

_GONE = Ended(None, False, False)


@dataclass(slots=True)
class Running:
    """
    An attempt whose outcome is open, or whose command still runs.

    :ivar revival: its command; None where that was gone when a daemon came back.
    :ivar began_here: whether this daemon started it, so that ``before`` is known.
    :ivar before: the agent's last progress before it started, as the transcript tells it.
    :ivar stamp: what the transcript was like when it was last looked at.
    :ivar worked: whether it has worked: its outcome is recorded then.
    :ivar ended: how its command ended; None while it runs.
    """

    attempt: Attempt
    revival: Revival | None
    began_here: bool = False
    before: float | None = None
    stamp: Stamp | None = None
    worked: bool = False
    ended: Ended | None = None


class Revivals:
    """
    Starts commands, looks after them, and records what becomes of them.

    :param tell: called for each event that is recorded.
    :ivar running: by agent and session.
    """

    def __init__(self, ledger: Ledger, world: World, tell: Tell) -> None:
        self._ledger = ledger
        self._world = world
        self._tell = tell
        self._recovered = False
        self.running: dict[tuple[str, str], Running] = {}

    def reviving(self, name: tuple[str, str]) -> bool:
        """Tell whether a session is being revived, and its revival has not worked yet."""
        running = self.running.get(name)
        return running is not None and not running.worked

    def latest(self) -> Attempt | None:
        """Tell the attempt that began last, of those that have not worked yet."""
        attempts = [each.attempt for each in self.running.values() if not each.worked]
        return max(attempts, key=lambda attempt: attempt.at, default=None)

    def any_ended(self) -> bool:
        """Tell whether a command has ended whose attempt is still to be judged."""
        return any(each.ended is not None for each in self.running.values())

    def forget(self) -> None:
        """Leave everything to another daemon, which is the keeper."""
        self.running.clear()
        self._recovered = False

    def poll(self, monotonic: float, stall: float) -> None:
        """
        Look which commands live.

        That is done before any transcript is read, so that all that a command has written is
        known when its end is judged.

        :param monotonic: the time, in seconds of a clock that is never set back.
        :param stall: seconds without growth until a command is ended.
        """
        self._recover(monotonic)
        for running in self.running.values():
            if running.revival is not None and running.ended is None:
                running.ended = running.revival.poll(monotonic, stall)

    def begin(
        self, session: Session, end: Ending, command: Command, monotonic: float
    ) -> str | None:
        """
        Start the command for a session; the intent is on disk before.

        :return: why nothing was started, in one line; None where it was.
        """
        stop = stop_of(session, end)
        try:
            attempt = self._ledger.intent(stop, end.due)
        except LedgerError as error:
            return str(error)
        in_use = [
            each.revival.output
            for each in self.running.values()
            if each.revival is not None and each.revival.output is not None
        ]
        try:
            revival = self._world.start(command, session.agent, session.identity, monotonic, in_use)
        except (CommandError, OSError) as error:
            self._fail(attempt, None, found=found_in(session))
            return str(error)
        self.running[session.name] = Running(
            attempt,
            revival,
            began_here=True,
            before=session.verdict.progress,
            stamp=session.stamp,
        )
        self._ledger.started(attempt, revival.pid, revival.began, revival.output or "")
        self._tell(Event.STARTED, stop, f"attempt {attempt.attempt}, pid {revival.pid}")
        return None

    def observe(
        self,
        running: Running,
        session: Session | None,
        owner: Owner,
        now: float,
        monotonic: float,
    ) -> None:
        """
        Judge an attempt by its transcript, which was read after its command was looked at.

        :param session: the session; None where its transcript is gone.
        :param owner: whether another process of the session lives, once the command has ended.
        :param now: the time, in seconds since the epoch.
        """
        if session is not None:
            if running.revival is not None and session.stamp != running.stamp:
                running.revival.grew(monotonic)
            running.stamp = session.stamp
            if not running.worked and _progressed(running, session, now):
                running.worked = True
                self._ledger.worked(running.attempt)
                self._tell(Event.WORKED, running.attempt.stop, f"attempt {running.attempt.attempt}")
        if running.ended is not None:
            stop = running.attempt.stop
            del self.running[stop.agent, stop.session]
            if not running.worked:
                self._end(running, session, owner)

    def _end(self, running: Running, session: Session | None, owner: Owner) -> None:
        ended = running.ended or _GONE
        same = session is None or session.verdict.key == running.attempt.stop.key
        # A prompt may be the user's where nobody saw the command run, or somebody is back.
        ours = same or (running.revival is not None and owner is Owner.GONE)
        prompt = found_in(session) if session is not None and ours else None
        self._fail(
            running.attempt,
            ended.exit,
            quick=ended.quick and (prompt is not None or same),
            found=prompt,
            stalled=ended.stalled,
        )

    def _fail(
        self,
        attempt: Attempt,
        status: int | None,
        *,
        quick: bool = False,
        found: str | None = None,
        stalled: bool = False,
    ) -> None:
        self._ledger.failed(attempt, status, quick=quick, found=found)
        how = "ended, since nothing grew" if stalled else f"exit {_shown(status)}"
        self._tell(Event.FAILED, attempt.stop, f"attempt {attempt.attempt}, {how}")

    def give_up_if_hopeless(self, stop: Stop, history: History, attempts: int) -> bool:
        """
        Give a session up whose last attempt failed, where another would be one too many.

        :param attempts: attempts for one stop, without progress.
        """
        if history.given_up or history.open is not None or history.failed_at is None:
            return False
        if history.quick < QUICK_LIMIT and history.attempts < attempts:
            return False
        self._ledger.gave_up(stop)
        self._tell(Event.GAVE_UP, stop, f"after {history.attempts} attempts")
        return True

    def _recover(self, monotonic: float) -> None:
        """Find again what a daemon before this one has started, or intended to."""
        for attempt in self._ledger.unfinished():
            name = attempt.stop.agent, attempt.stop.session
            if name in self.running:
                continue
            revival = self._world.adopt(attempt, monotonic)
            self.running[name] = Running(attempt, revival, ended=_GONE if revival is None else None)
            if revival is not None and attempt.pid is None:
                self._ledger.started(attempt, revival.pid, revival.began, revival.output or "")
        if not self._recovered:
            self._recovered = True
            for name, history in self._ledger.sums.sessions.items():
                last = history.last
                if last is None or last.pid is None or name in self.running:
                    continue
                revival = self._world.adopt(last, monotonic)
                if revival is not None:
                    self.running[name] = Running(last, revival, worked=True)


def stop_of(session: Session, end: Ending) -> Stop:
    """Make the ledger's word for how a session ended."""
    return Stop(
        session.agent,
        session.identity.id,
        session.verdict.key,
        end.kind,
        session.path,
        session.identity.directory,
    )


def found_in(session: Session) -> str | None:
    """Tell the key of the record in which a transcript ends, where that is no stop of its own."""
    return session.verdict.key if session.verdict.kind is None else None


def _progressed(running: Running, session: Session, now: float) -> bool:
    """Tell whether the agent has written a record since the attempt began, that is no error."""
    progress = trusted(session.verdict, now).progress
    if progress is None or session.verdict.key == running.attempt.stop.key:
        return False
    if running.began_here:
        return progress != running.before
    return progress > running.attempt.at


def _shown(status: int | None) -> str:
    return "unknown" if status is None else str(status)
