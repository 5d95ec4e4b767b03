"""The monitor as a service: it scans the sessions at each tick, and acts on what they need."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from threading import Thread
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from palingenesis.monitor import listing
from palingenesis.monitor.case import TOO_FAR
from palingenesis.monitor.forecast import Outlook, outlook
from palingenesis.monitor.homes import Home
from palingenesis.monitor.inspection import inspect
from palingenesis.monitor.judge import Judge, named
from palingenesis.monitor.keeper import Keeper
from palingenesis.monitor.ledger import LEDGER_NAME, Entry, Ledger, Stop
from palingenesis.monitor.notify import Notifier
from palingenesis.monitor.report import SPAN, digest, facts, last_time
from palingenesis.monitor.revivals import Revivals
from palingenesis.monitor.roster import Roster, Session
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import Living, World
from palingenesis.text import MESSAGE_LIMIT, NAME_LIMIT, printable
from palingenesis.words import OK_WORD, Event, Key, Reason, State

#: Seconds by which the two clocks may disagree between two ticks: more is a sleep or a step.
STEP = 60.0
#: Seconds that a file system has to answer.
PATIENCE = 2.0
#: The same for a program's terminal: a tmux is given `tmux.TIMEOUT` for each of its answers.
DOUBT_PATIENCE = 10.0
#: Seconds of work between two turns of the reactor.
SLICE = 0.002
#: Seconds after its time at which a digest that was missed is still sent.
LATE = 6 * 3600.0
#: Different warnings that are logged; further ones are not.
_WARNING_LIMIT = 1000


class SteeringError(Exception):
    """
    What a person wants of a session cannot be done; the text says why, in one line.

    :ivar reason: the gate's reason, if that is why.
    """

    def __init__(self, text: str, reason: Reason | None = None) -> None:
        super().__init__(text)
        self.reason = reason


class Clock(Protocol):
    """What the monitor asks of a reactor, as ``twisted.internet.interfaces.IReactorTime``."""

    def callLater(self, delay: float, call: Callable[..., object], /, *args: object) -> Any:
        """Call something after a number of seconds."""

    def seconds(self) -> float:
        """Return the time, in seconds from any beginning."""


class Monitor(Service):
    """
    Monitors the sessions of agents, and revives those that it may.

    It reports through its attributes and methods, and knows of no socket.

    :param settings: what an operator has set.
    :param state_directory: where the ledger, the keeper's lock and the commands' output are.
    :param reactor: what to run on; the global reactor if None.
    :param times: the clocks; those of this machine if None.
    :param world: the world; that of this user on this machine if None.
    :param umask: the umask of the commands; the daemon's own if negative.
    :param log: where what the monitor does is logged.
    """

    name = "monitor"

    def __init__(
        self,
        settings: Settings,
        state_directory: str,
        *,
        reactor: Clock | None = None,
        times: Times | None = None,
        world: World | None = None,
        umask: int = -1,
        log: Logger | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor as global_reactor

            reactor = global_reactor
        self._clock: Any = reactor
        self._times = times = times or Times()
        self._log = log or Logger("palingenesis.monitor")
        self._warned: set[str] = set()
        self._world = world or World(state_directory, self._warn_of_scan, times, umask=umask)
        self._roster = Roster(self._world, times, self._warn)
        self._ledger = Ledger(state_directory, times)
        self._ledger_file = os.path.join(state_directory, LEDGER_NAME)
        self._ledger_seen: tuple[int, ...] | None = None
        self._keeper = Keeper(state_directory)
        self._kept_by: Mapping[str, bool | int | None] = {}
        self._holder: int | None = None
        self._revivals = Revivals(self._ledger, self._world, times, self._recorded)
        self._judge = Judge(
            settings,
            world=self._world,
            times=times,
            roster=self._roster,
            keeper=self._keeper,
            ledger=self._ledger,
            revivals=self._revivals,
            recorded=self._recorded,
            warn=self._warn,
        )
        self._notifier = Notifier(settings.notify, settings.notify_events)
        self._settings = settings
        self._digested: float | None = None
        self._clocks: tuple[float, float] | None = None
        self._next: Any = None
        self._cooperator: Cooperator | None = None
        self._tick_under_way: Deferred[None] | None = None
        self._logged_warning: str | None = None
        self._failure: str | None = None
        self._scan_warnings: list[str] = []
        self._unanswered: set[str] = set()
        self.state_directory = state_directory
        #: How many sessions are in which state, of those that grew within ``max_age``.
        self.sessions_by_state: Mapping[str, int] = {}
        #: The same by agent and state.
        self.sessions_by_agent: Mapping[tuple[str, str], int] = {}
        #: How long all scans took, in seconds, and how many there were.
        self.scan_seconds, self.scans = 0.0, 0
        #: The transcript of the session that is being revived or grew last; None without one.
        self.current_session: str | None = None
        #: What keeps the scans from being whole, in one line; None if nothing does.
        self.scan_warning: str | None = None
        #: When a session goes on, in seconds since the epoch; None if nothing is planned.
        self.next_revival: float | None = None
        self.needs_you = 0

    # Control

    def startService(self) -> None:
        super().startService()
        self._keep()
        self._cooperator = Cooperator(
            terminationPredicateFactory=self._slice,
            scheduler=lambda work: self._clock.callLater(0, work),
        )
        self._next = self._clock.callLater(0, self._begin_tick)

    def stopService(self) -> Deferred[None] | None:
        """Stop monitoring, and release the keeper's lock. Commands that run go on."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._cooperator is not None:
            self._cooperator.stop()
        if self._tick_under_way is not None:
            self._tick_under_way.cancel()
        self._revivals.forget()
        self._ledger.close()
        self._world.home_locks.release()
        self._keeper.release()
        return None

    def configure(self, settings: Settings) -> None:
        """Apply other settings: every session is assessed afresh, and what runs goes on."""
        self._settings = self._judge.settings = settings
        self._notifier.command = settings.notify
        self._notifier.events = settings.notify_events
        if settings.digest is not None:
            self._digested = last_time(settings.digest, self._times.wall())
        self._judge.unsettle()
        self._judge.restate()
        self._summarize()
        if self._next is not None:
            left = self._next.getTime() - self._clock.seconds()
            self._next.reset(min(settings.interval, max(0.0, left)))

    def pause(self, by: str) -> str | None:
        """
        Pause, for after a restart too.

        :param by: who asks for it.
        :returns: why the pause ends with this daemon, in one line; None if it does not.
        """
        warning = self._ledger.pause(by)
        self._judge.restate()
        self._summarize()
        return warning or self._keeper.warning

    def resume(self, by: str) -> str | None:
        """
        Undo :meth:`pause`.

        :returns: why a restart undoes this, in one line; None if it does not.
        """
        warning = self._ledger.resume(by)
        self._judge.restate()
        self._summarize()
        return warning or self._keeper.warning

    # Steering one session

    def hold(self, beginning: str, by: str) -> None:
        """
        Leave a session alone until :meth:`release`, over restarts too.

        :param beginning: at least four characters of its id, which only one session has.
        :param by: who asks for it.
        :raises SteeringError: if there is no such session, or nothing can be recorded.
        """
        session = self._steered(beginning)
        self._settle(session, self._ledger.hold(*session.name, by))

    def release(self, beginning: str, by: str) -> None:
        """Undo :meth:`hold`; raises what that does."""
        session = self._steered(beginning)
        self._settle(session, self._ledger.release(*session.name, by))

    def end(self, beginning: str, by: str) -> None:
        """
        End the command that revives a session, and leave the session alone from then on.

        :raises SteeringError: if there is no such command, or it is not certainly ours.
        """
        session = self._steered(beginning)
        if (reason := self._revivals.end(session.name, by)) is not None:
            raise SteeringError(f"{named(session.name)}: {reason}")
        self._settle(session, self._ledger.hold(*session.name, by))

    async def revive(self, beginning: str, by: str) -> None:
        """
        Revive a session now, whatever its stop; the rules of safety hold.

        :raises SteeringError: if something forbids it; its reason is the gate's.
        """
        session = self._steered(beginning)
        if session.kind is None:
            running = Reason.ALREADY_RUNNING if session.name in self._revivals.running else None
            why = running or "it has not stopped, as far as is known"
            raise SteeringError(f"{named(session.name)}: {why}", running)
        reason = self._judge.reason_against(session)
        if reason is None:
            directory = session.identity.directory
            session.unusable = await self._patiently(self._world.directory_warning, directory)
            living = await self._see(self._homes())
            # Whether a prompt is typed depends on what has it now.
            self._judge.ask_for_the_owner(session, living)
            await self._ask_for_doubt(session)
            reason = self._judge.reason_against(session, living)
            if reason is None:
                self._settle(session, self._judge.ask(session, by))
                self._judge.begin(session, session.verdict.key, living)
                if session.name in self._revivals.running:
                    self._summarize()
                    return
                why = self._revivals.warning or "see the log"
                raise SteeringError(f"{named(session.name)}: it could not be started; {why}")
        doubt = session.doubt if reason is Reason.OWNER_ALIVE else None
        why = reason if doubt is None else f"{reason}: {doubt}"
        raise SteeringError(f"{named(session.name)}: {why}", reason)

    def _steered(self, beginning: str) -> Session:
        try:
            found = listing.session_named(self._roster.sessions.values(), beginning)
        except listing.QueryError as error:
            raise SteeringError(f"{printable(beginning, NAME_LIMIT)}: {error}") from None
        if self._kept_by.get(found.home.name) is not True:
            raise SteeringError(f"{named(found.name)}: another daemon keeps its home")
        return found

    def _settle(self, session: Session, warning: str | None) -> None:
        session.settled = False
        self._judge.restate()
        self._summarize()
        if warning is not None:
            raise SteeringError(warning)

    # Reports

    @property
    def paused(self) -> bool:
        """Whether sessions are left alone for now."""
        return self._ledger.paused

    @property
    def started(self) -> int:
        """How many commands were really started, ever."""
        return self._ledger.sums.started

    @property
    def worked(self) -> int:
        """How many revivals worked, ever."""
        return self._ledger.sums.worked

    @property
    def recorded(self) -> int:
        """How many entries the ledger has had, ever: the number of the last one."""
        return self._ledger.sums.entries

    @property
    def is_healthy(self) -> bool:
        """Whether the last tick succeeded, and sessions can be revived."""
        return self._failure is None and self.ledger_warning is None

    def observe(self, observer: Callable[[Entry], object]) -> None:
        """Have a function called with each entry that is recorded from now on."""
        self._ledger.observer = observer

    @property
    def keeper(self) -> bool | int | None:
        """
        True if this daemon keeps all homes that it monitors.

        Else it is the pid of a daemon that keeps one, or None if that is unknown.
        """
        if not self._keeper.held:
            return self._holder
        return next((holder for holder in self._kept_by.values() if holder is not True), True)

    @property
    def ledger_warning(self) -> str | None:
        """Why nothing can be recorded or started, in one line; None if everything can."""
        return self._keeper.warning or self._ledger.warning or self._revivals.warning

    def sessions(self, query: listing.SessionsQuery = listing.EVERY) -> list[dict[str, Any]]:
        """Return a page of sessions as ``SESSIONS`` does: the urgent first."""
        return list(islice(self.all_sessions(query), listing.PAGE))

    def all_sessions(
        self, query: listing.SessionsQuery = listing.EVERY
    ) -> Iterator[dict[str, Any]]:
        """Yield the sessions of every page; only those that are taken cost anything."""
        oldest = self._times.wall() - self._settings.max_age
        circumstances = self._judge.circumstances()
        for session in query.chosen(self._roster.sessions.values(), oldest):
            yield listing.session_report(self._judge.case_of(session, circumstances))

    @property
    def known_sessions(self) -> int:
        """How many sessions are monitored."""
        return len(self._roster.sessions)

    def log(self, count: int = listing.COUNT) -> list[dict[str, Any]]:
        """Return the last entries of the ledger as ``LOG`` does, the oldest first."""
        return self._ledger.last(count)

    def inspect(self) -> dict[str, Any]:
        """Return what only the monitor knows about its surroundings."""
        return {
            **inspect(self._settings, self._world, self._kept_by),
            Key.STATE_DIRECTORY: self.state_directory,
            Key.KEEPER: self.keeper,
            Key.LEDGER: self.ledger_warning or OK_WORD,
            Key.SCAN: self.scan_warning or OK_WORD,
            Key.PAUSED: self.paused,
        }

    # One tick

    def _begin_tick(self) -> None:
        self._next = None
        tick = self._tick_under_way = Deferred.fromCoroutine(self._tick())
        tick.addBoth(self._end_tick)

    def _end_tick(self, result: Failure | None) -> None:
        self._tick_under_way = None
        if result is None:
            self._failure = None
            self.scan_warning = next(iter(self._scan_warnings), None)
        elif not result.check(CancelledError, SchedulerStopped):
            # The next tick may succeed; the same failure again is no news.
            text = result.getBriefTraceback()
            if text != self._failure:
                self._log.failure("A tick failed", result)
                self._failure = text
            self.scan_warning = f"a tick failed: {result.getErrorMessage()}"
        if self.running:
            self._next = self._clock.callLater(self._settings.interval, self._begin_tick)

    async def _tick(self) -> None:
        self._scan_warnings = []
        acts = not self._stepped()
        self._keep()
        if self._keeper.held:
            self._revivals.poll(self._settings)
        for warning in self._notifier.poll(self._times.monotonic()):
            self._warn(warning)
        self._send_digest()
        homes = self._homes()
        self._keep_homes(homes)
        began = self._times.monotonic()
        await self._in_slices(self._roster.scan(homes, self._settings.max_age + TOO_FAR))
        self.scan_seconds += self._times.monotonic() - began
        self.scans += 1
        # After the transcripts are read: a user who wrote in one is seen to live.
        ended = self._revivals.any_ended()
        self._judge.observe(await self._see(self._every_home()) if ended else None)
        await self._in_slices(self._judge.consider())
        living = await self._see(homes) if self._judge.wants_a_look else None
        await self._in_slices(self._judge.judge_all(living))
        if living is not None and (open_ones := self._judge.to_be_typed_into()):
            for open_one in open_ones:
                await self._ask_for_doubt(open_one)
            self._judge.restate()
        self._ledger.forget(self._roster.sessions)
        self._summarize()
        if acts:
            await self._in_slices(self._judge.gather())
            for _, name, key in self._judge.ready:
                if (session := self._judge.still_ready(name)) is not None:
                    await self._revive(session, key, homes)
            self._summarize()

    async def _revive(self, session: Session, key: str, homes: Sequence[Home]) -> None:
        directory = session.identity.directory
        session.unusable = await self._patiently(self._world.directory_warning, directory)
        if session.unusable is None:
            living = await self._see(homes)
            # Whether a prompt is typed depends on what has it now.
            self._judge.ask_for_the_owner(session, living)
            await self._ask_for_doubt(session)
            self._judge.begin(session, key, living)
        else:
            self._judge.restate()

    async def _ask_for_doubt(self, session: Session) -> None:
        """Ask whether a prompt can be typed, if that is how a session is brought back."""
        if not self._judge.case_of(session).types:
            return
        home, identity = session.home, session.identity
        session.doubt = await self._patiently(
            lambda _: self._world.doubt_of_typing(home, identity),
            identity.directory,
            DOUBT_PATIENCE,
        )
        session.doubt_asked = self._times.monotonic()

    async def _patiently(
        self, ask: Callable[[str], str | None], path: str, patience: float = PATIENCE
    ) -> str | None:
        """Ask what hangs if a file system does not answer; then that is the answer."""

        def asked() -> str | None:
            try:
                return ask(path)
            except Exception as error:
                return f"{path}: {error}"

        has_threads: bool = IReactorFromThreads.providedBy(self._clock)
        if not has_threads:
            # A clock of a test's, in whose world nothing hangs.
            return asked()
        if path in self._unanswered:
            return f"{path}: its file system does not answer"
        answer: Deferred[str | None] = Deferred()

        def answered(warning: str | None) -> None:
            self._unanswered.discard(path)
            if not answer.called:
                answer.callback(warning)

        def work() -> None:
            self._clock.callFromThread(answered, asked())

        def late(*_: object) -> str:
            self._unanswered.add(path)
            return f"{path}: its file system does not answer within {patience:.0f} seconds"

        # Not the reactor's pool: it waits for its threads when the daemon stops.
        Thread(target=work, daemon=True).start()
        return await answer.addTimeout(patience, self._clock, late)

    def _homes(self) -> list[Home]:
        """Return the homes that are monitored."""
        return self._world.homes(self._settings.agents, self._settings.homes.values())

    def _every_home(self) -> list[Home]:
        """Return the homes that are monitored, and those that may have been until a reload."""
        homes = self._homes()
        known = {home.name for home in homes}
        others = self._world.default_homes().values()
        return [*homes, *(home for home in others if home.name not in known)]

    async def _see(self, homes: Sequence[Home]) -> Living:
        """Return which processes live."""
        commands = self._revivals.pids()
        if self._world.slow:
            living = await deferToThread(self._world.look, homes, commands)
        else:
            living = self._world.look(homes, commands)
        for warning in living.warnings:
            self._warn(warning)
        return living

    def _in_slices(self, work: Iterator[None]) -> Deferred[Iterator[None]]:
        assert self._cooperator is not None  # noqa: S101 - a tick runs only in a started service
        return self._cooperator.coiterate(work)

    def _slice(self) -> Callable[[], bool]:
        end = self._times.timer() + SLICE
        return lambda: self._times.timer() >= end

    def _stepped(self) -> bool:
        """Return whether the machine slept, or a clock was set, since the last tick."""
        wall, monotonic = self._times.wall(), self._times.monotonic()
        before, self._clocks = self._clocks, (wall, monotonic)
        if before is None:
            return False
        step = (wall - before[0]) - (monotonic - before[1])
        if abs(step) <= STEP:
            return False
        self._judge.unsettle()
        self._log.info("The clock moved by {seconds:.0f} seconds: nothing is started", seconds=step)
        return True

    def _keep(self) -> None:
        """Try to be the keeper, and open the ledger accordingly."""
        held = self._keeper.held
        if self._keeper.take():
            if not held:
                self._log.info("This daemon is the keeper: it revives")
            self._ledger.open()
        else:
            if held:
                self._ledger.hand_over()
                self._revivals.forget()
            self._read_as_guest()
            # Asked at each tick, and not at each STATUS: it is in a file.
            self._holder = self._keeper.holder()
            if self._keeper.warning is None:
                self._warn(f"Another daemon is the keeper (pid {self._holder})")
        warning = self.ledger_warning
        if warning != self._logged_warning:
            self._logged_warning = warning
            if warning is None:
                self._log.info("Sessions can be revived again")
            else:
                self._log.error("Nothing is revived: {warning}", warning=warning)

    def _keep_homes(self, homes: Sequence[Home]) -> None:
        """Try to keep each home that is monitored, if this daemon is the keeper at all."""
        before = self._judge.kept.keys()
        locks = self._world.home_locks
        for home in locks.take(homes if self._keeper.held else ()):
            self._ledger.kept(home.directory)
        self._kept_by = {home.name: locks.keeper_of(home) for home in homes}
        since = self._ledger.sums.kept
        # If the state directory itself is unfit, that is the reason, and no other daemon.
        is_unfit = self._keeper.warning is not None
        kept = [home for home in homes if self._kept_by[home.name] is True or is_unfit]
        self._judge.kept = {home.name: since.get(home.directory) for home in kept}
        if self._judge.kept.keys() - before:
            self._judge.unsettle()
        for home in homes:
            if (warning := locks.warning_of(home)) is not None:
                self._warn(f"Nothing is revived in {warning}")

    def _read_as_guest(self) -> None:
        try:
            status = os.stat(self._ledger_file)
        except OSError:
            seen: tuple[int, ...] = ()
        else:
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        if seen != self._ledger_seen:
            self._ledger_seen = seen
            self._ledger.read()

    def _summarize(self) -> None:
        oldest = self._times.wall() - self._settings.max_age
        sessions = self._roster.sessions.values()
        recent = [
            each
            for each in sessions
            if each.since >= oldest or each.state in (State.WAITING, State.REVIVING)
        ]
        by_state = Counter(each.state for each in recent)
        self.sessions_by_state = {each.value: by_state[each] for each in State if by_state[each]}
        self.sessions_by_agent = Counter((each.agent, each.state.value) for each in recent)
        self.needs_you = sum(listing.urgency(each, oldest) == 0 for each in recent)
        dues = (each.due for each in sessions if each.due is not None)
        self.next_revival = min(dues, default=None)
        latest = max(recent, key=lambda session: session.since, default=None)
        self.current_session = None if latest is None else latest.path
        reviving = self._revivals.latest()
        if reviving is not None:
            self.current_session = reviving.stop.transcript

    # Log and notifications

    def _recorded(self, event: Event, stop: Stop, words: str) -> None:
        """Log an event that was recorded, and notify a person if that is wanted."""
        self._log.info(
            "{session}: {event}{words}",
            session=named((stop.agent, stop.session)),
            event=event.value,
            words=f" ({words})" if words else "",
            transcript=stop.transcript,
        )
        entry = self._ledger.last(1)
        if entry and entry[0][Key.EVENT] == event:
            now = self._times.monotonic()
            warning = self._notifier.notify(entry[0], now, stop.directory or None)
            if warning is not None:
                self._warn(warning)

    def night(self, since: float) -> dict[str, Any]:
        """Return the facts of the time since then; see `report.facts`."""
        return facts(
            self._ledger.entries(),
            paused=self.paused,
            since=since,
            now=self._times.wall(),
            forecasts=self._outlook,
            homes=self._settings.homes.values(),
        )

    def _outlook(self, stop: Entry) -> Outlook:
        session = self._roster.sessions.get((stop.agent or "", stop.session or ""))
        if session is None:
            return Outlook("its transcript is gone, or is not monitored", None)
        return outlook(self._judge.case_of(session), stop.key)

    def _send_digest(self) -> None:
        """
        Notify of the night, at the first tick after the time of day that is set.

        A daemon that starts soon after it sends the one that was missed. The ledger knows the
        last one, so that none is sent twice.
        """
        if self._settings.digest is None or not self._keeper.held:
            return
        now = self._times.wall()
        latest, sent = last_time(self._settings.digest, now), self._ledger.sums.digested
        if sent is None or sent > now:
            # There was none, or a clock was wrong: the next one is the first.
            before = latest if self._digested is None else self._digested
        else:
            before = max(sent, self._digested or 0.0, now - LATE)
        # A clock that is set back repeats no digest.
        self._digested = latest if self._digested is None else max(latest, self._digested)
        if latest > before and (sent is None or abs(now - sent) >= SPAN):
            self._ledger.digested()
            event = digest(self.night(now - SPAN))
            warning = self._notifier.digest(event, self._times.monotonic())
            if warning is not None:
                self._warn(warning)

    def _warn_of_scan(self, warning: str) -> None:
        self._scan_warnings.append(warning)
        self._warn(warning)

    def _warn(self, warning: str) -> None:
        """Log a warning, once."""
        if warning not in self._warned and len(self._warned) < _WARNING_LIMIT:
            self._warned.add(warning)
            self._log.warn("{warning}", warning=printable(warning, MESSAGE_LIMIT))
