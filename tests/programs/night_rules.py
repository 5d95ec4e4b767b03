"""
The rules of a night that nothing may break, as one who knows everything checks them.

They share no code with the monitor: what a rule needs is what the player did, and what the
daemon wrote and shows.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from palingenesis.words import Event, Kind, Method, Owner

if TYPE_CHECKING:
    from palingenesis.monitor.homes import Home
    from palingenesis.monitor.ledger import Entry
    from palingenesis.monitor.sessions import Identity, Verdict
    from tests.programs.night_terminals import NightTyping, Terminal
    from tests.programs.nights import Daemon, Night
    from tests.unit.monitor.fake_world import FakeRevival

#: Seconds by which the monitor may be behind what happens: a few of its ticks.
LATE = 120.0
#: Seconds for which the first revival after a reset goes ahead.
LEAD = 60.0
#: Bytes that the entries after an intent may need.
ROOM = 2000
#: Seconds after a reset within which an open program goes on by itself.
SELF = 600.0
#: Seconds ahead beyond which no reset is waited for.
TOO_FAR = 8 * 86400.0


class Broken(BaseException):
    """A rule that nothing may break is broken; no code of the monitor's may catch that."""


class Started(NamedTuple):
    """
    A command that was started.

    :ivar at: when, in seconds of the clock that is never set, with all sleep.
    :ivar leads: whether it is the first of its home after a reset.
    """

    at: float
    session: str
    home: str
    daemon: Daemon
    pid: int
    leads: bool


class Rules:
    """The rules of one night."""

    def __init__(self, night: Night) -> None:
        self._night = night
        self._started: list[Started] = []
        #: Commands since the agent's last progress, by state directory and session.
        self._tries: Counter[tuple[str, str]] = Counter()
        #: The stops for which a command was to be started, whether it was or not.
        self._intended: set[tuple[str, str]] = set()
        #: The stops after which a session was brought back since a person wrote in it.
        self._windows: dict[tuple[str, str], set[str]] = {}
        self._kinds: dict[tuple[str, str], Kind] = {}
        #: The status of the failures at once in a row, how many, and the deaths until then.
        self._at_once: dict[tuple[str, str], tuple[int | None, int, int]] = {}
        #: When a command failed at once.
        self._failed: dict[str, float] = {}
        #: The newest reset after which a daemon let a session of a home go first.
        self._led: dict[tuple[Daemon, str], float] = {}
        #: The step in which a session last made progress.
        self._progress: dict[str, float] = {}
        #: The commands that are being ended, and those of which a ledger says that.
        self._ending: set[int] = set()
        self._killed: set[str] = set()
        #: When a command was last seen to live, by its pid.
        self._alive: dict[int, float] = {}
        self._states: set[str] = set()
        #: The stops for which a text was typed, by state directory.
        self._typed: set[tuple[str, str]] = set()
        #: When a daemon has typed a text that it has not sent, and has called nobody yet.
        self._stands: dict[tuple[Daemon, str], float] = {}

    # What happens

    def progressed(self, session: str) -> None:
        """Note that the agent did something in a session."""
        self._progress[session] = self._night.clock.seconds()
        for state, name in list(self._tries):
            if name == session:
                self._tries[state, name] = 0
        for state, name in list(self._at_once):
            if name == session:
                del self._at_once[state, name]

    def person_wrote(self, session: str) -> None:
        """Note that a person wrote in a session."""
        for state, name in list(self._windows):
            if name == session:
                del self._windows[state, name]
        # It hides how a command has ended that nobody has looked at yet.
        for state, name in list(self._at_once):
            if name == session and self._failed[session] > self._night.clock.seconds() - LATE / 2:
                del self._at_once[state, name]

    def began(self, session: str, pid: int, daemon: Daemon) -> None:
        """Note that a command was started, or a prompt is to be typed into a program."""
        home, verdict = self._night.home(self._night.number_of(session)), self._verdict(session)
        self._tries[daemon.state, session] += 1
        if verdict.kind is not None:
            # Else it is another attempt for the same stop.
            self._windows.setdefault((daemon.state, session), set()).add(verdict.key)
            self._kinds[session, verdict.key] = verdict.kind
        leads = False
        if verdict.kind is Kind.LIMIT and verdict.reset is not None:
            leads = verdict.reset > self._led.get((daemon, home.name), 0.0)
            if leads:
                self._led[daemon, home.name] = verdict.reset
        self._started.append(Started(self._now, session, home.name, daemon, pid, leads))

    def failed_at_once(self, session: str, revival: FakeRevival, daemon: Daemon) -> None:
        """Note that a command failed as soon as it was started."""
        name, deaths = (daemon.state, session), self._night.counts["killed"]
        self._failed[session] = self._night.clock.seconds()
        status, times, before = self._at_once.get(name, (None, 0, deaths))
        same = status == revival.exit and before == deaths
        self._at_once[name] = revival.exit, times + 1 if same else 1, deaths

    def state_of(self, pid: int) -> str:
        """Return the state directory of the daemon that started a command."""
        return next(each.daemon.state for each in self._started if each.pid == pid)

    def _is_recorded(self, pid: int, state: str) -> bool:
        """Return whether a ledger tells that a command runs."""
        return any(each.get("pid") == pid for each in self._lines(state))

    def was_tried(self, session: str) -> bool:
        """Return whether a command was started since the agent's last progress."""
        return any(tries and name == session for (_, name), tries in self._tries.items())

    @property
    def _now(self) -> float:
        return self._night.clock.seconds() + self._night.slept

    def _verdict(self, session: str) -> Verdict:
        return self._night.world.files[f"/transcripts/{session}.jsonl"].verdict

    # Before each start

    def check_start(self, home: Home, identity: Identity, daemon: Daemon, method: Method) -> None:
        """Check that a command may be started now, or a prompt be typed soon."""
        session = identity.id
        self._states.add(daemon.state)
        try:
            if method is Method.QUEUE:
                self._check_message(session, daemon)
            elif method is Method.TYPE_INTO:
                self._check_terminal(session)
            elif (owner := self._night.owner_of(session)) is not Owner.GONE:
                raise Broken(f"its owner is {owner.value}")
            self._check_home(home, session, daemon)
            if method is not Method.TYPE_INTO and self._night.no_program:
                raise Broken("its program is missing")
            self._check_wishes(identity, daemon)
            self._check_stop(session, daemon)
            self._check_times(home, session, daemon)
            self._check_bounds(home, session, daemon)
            self._check_ledger(session, daemon)
            self._intended.add((daemon.state, self._verdict(session).key))
        except Broken as broken:
            raise Broken(f"{session}: {broken}") from None

    def _check_message(self, session: str, daemon: Daemon) -> None:
        """Check that an open program takes a message, and has not been handed it before."""
        night, owner = self._night, self._night.owner_of(session)
        is_open = owner in (Owner.PROGRAM, Owner.SERVER)
        if not is_open or session not in night.world.interactive:
            raise Broken(f"handed to what takes no message ({owner.value})")
        key, _, pid = night.messages.get(session, ("", "", 0))
        # Only the queue tells the daemons of another state directory.
        is_known = key and (night.tells_queue or self.state_of(pid) == daemon.state)
        waits = is_known and night.world.queue.get(session)
        is_lost = key == self._verdict(session).key and self.state_of(pid) == daemon.state
        # A daemon that was killed before it recorded its command has left no word of it.
        if waits or (is_lost and self._is_recorded(pid, daemon.state)):
            raise Broken("handed over twice")

    def _check_terminal(self, session: str) -> None:
        """Check that a prompt may be typed into the terminal of a session's program."""
        night, verdict = self._night, self._verdict(session)
        if (trouble := self._trouble(session)) is not None:
            raise Broken(f"to be typed in spite of this: {trouble}")
        if verdict.kind is not Kind.LIMIT:
            raise Broken(f"to be typed after {verdict.kind}")
        if verdict.goes_on and verdict.reset is not None and night.now() < verdict.reset + SELF:
            raise Broken("to be typed while it may go on by itself")

    def _trouble(self, session: str) -> str | None:
        """Return why a session's program must not get a key now; None if it may."""
        terminal = self._night.terminals.of(session)
        if terminal is None:
            return "no program"
        if not terminal.in_tmux:
            return "no tmux"
        return terminal.trouble(self._night.now())

    def check_text(self, typing: NightTyping, terminal: Terminal) -> None:
        """Check that the text of a prompt may be typed now."""
        self._check_key(typing)
        if terminal.text and not terminal.is_deaf:
            raise Broken(f"{typing.session}: typed behind what a person typed")
        if (typing.daemon.state, typing.key) in self._typed:
            raise Broken(f"{typing.session}: typed twice for one stop")
        self._typed.add((typing.daemon.state, typing.key))

    def check_enter(self, typing: NightTyping, terminal: Terminal) -> None:
        """Check that Enter may be pressed now."""
        self._check_key(typing)
        if terminal.text != typing.prompt:
            raise Broken(f"{typing.session}: sent what it has not typed")
        if terminal.is_deaf:
            raise Broken(f"{typing.session}: sent what does not stand in its line")

    def stopped_typing(self, typing: NightTyping) -> None:
        """Note what has become of a prompt."""
        outcome, session, daemon = typing.outcome, typing.session, typing.daemon
        if outcome is not None and not outcome.typed and not daemon.dead:
            # No key was pressed: that was no attempt, and no start.
            self._night.counts["not typed"] += 1
            self._tries[daemon.state, session] = max(0, self._tries[daemon.state, session] - 1)
            mine = [
                each for each in self._started if (each.session, each.daemon) == (session, daemon)
            ]
            self._started.remove(mine[-1])
        if outcome is not None and outcome.typed and not outcome.sent:
            self._night.counts["not sent"] += 1
            self._stands[typing.daemon, typing.session] = self._night.clock.seconds()

    def _check_calls(self) -> None:
        """Check that a person is called for each text that stands in a terminal."""
        for (daemon, session), at in list(self._stands.items()):
            if daemon.dead:
                # The next one calls for a prompt that nobody knows of.
                del self._stands[daemon, session]
            elif daemon.monitor.ledger_warning is not None:
                self._stands[daemon, session] = self._night.clock.seconds()
            elif self._night.clock.seconds() - at > LATE:
                raise Broken(f"{session}: a text stands in its terminal, and nobody was called")

    def _check_key(self, typing: NightTyping) -> None:
        night, session, state = self._night, typing.session, typing.daemon.state
        trouble = self._trouble(session)
        if trouble is None and typing.daemon.dead:
            trouble = "its daemon is dead"
        if trouble is None and night.key_of(session) != typing.key:
            trouble = "a newer record"
        if trouble is None and night.paused[state]:
            trouble = "the monitor is paused"
        if trouble is None and night.on_hold.get((state, session)):
            trouble = "it is on hold"
        if trouble is not None:
            raise Broken(f"{session}: a key in spite of this: {trouble}")

    def _check_home(self, home: Home, session: str, daemon: Daemon) -> None:
        night = self._night
        if night.living_command(session) is not None:
            raise Broken("a command for it lives")
        if night.world.holders.get(home.directory) is not daemon.world.home_locks:
            raise Broken("its home is another daemon's")
        if home.name not in night.settings.revive:
            raise Broken("nobody has named a command for its home")

    def _check_wishes(self, identity: Identity, daemon: Daemon) -> None:
        """Check what a person wants."""
        night, session, state = self._night, identity.id, daemon.state
        if night.paused[state]:
            raise Broken("revived while paused")
        if night.on_hold.get((state, session)):
            raise Broken("revived while on hold")
        if identity.directory == "/home/session-2":
            raise Broken("its project is not to be revived")
        if identity.directory in night.world.bad_directories:
            raise Broken("its directory cannot be used")
        if not night.counts["clock set"] and night.left.get(session) == self._verdict(session).key:
            raise Broken("its user left it")
        if night.settings.hours is not None:
            begin, end = night.settings.hours
            local = time.localtime(night.now())
            if (local.tm_hour * 60 + local.tm_min - begin) % 1440 >= (end - begin) % 1440:
                raise Broken("outside of the hours")

    def _check_stop(self, session: str, daemon: Daemon) -> None:
        """Check that the session has stopped so that it is brought back."""
        night, verdict = self._night, self._verdict(session)
        if verdict.kind is None and not night.writer[session] and not night.settings.crashes:
            raise Broken("its user was faster, or it crashed")
        if verdict.kind is None and night.written[session] > night.clock.seconds() - 60.0:
            raise Broken("it was written just now")
        if verdict.kind not in (None, Kind.LIMIT, Kind.TRANSIENT) and not self._is_cut(session):
            raise Broken(f"revived after {verdict.kind}")
        if verdict.spends and not night.settings.spend:
            raise Broken("it costs more than its plan")
        if session == night.unfit and isinstance(verdict.reset, str):
            raise Broken("it cannot be judged")
        if not night.counts["clock set"]:
            key, _, state = night.moved.get(session, ("", 0, ""))
            if session in night.settled and (key, state) == (verdict.key, daemon.state):
                raise Broken("goes on under another id")

    def _is_cut(self, session: str) -> bool:
        """Return whether the turn of a message was cut off before any answer."""
        verdict, taken = self._verdict(session), self._night.taken.get(session)
        if verdict.kind is not Kind.USER or taken is None or verdict.last_prompt_at != taken:
            return False
        return verdict.progress is None or verdict.progress < taken

    def _check_times(self, home: Home, session: str, daemon: Daemon) -> None:
        night, verdict = self._night, self._verdict(session)
        if verdict.reset is not None and night.now() < verdict.reset:
            raise Broken("revived before its limit ends")
        if night.counts["clock set"]:
            return
        if verdict.kind is Kind.LIMIT:
            self._check_account(home, session)
        if verdict.kind in (Kind.LIMIT, Kind.TRANSIENT):
            since = verdict.at if verdict.reset is None else verdict.reset
            # An attempt that failed moves the time at which the session is due.
            tried = (daemon.state, verdict.key) in self._intended
            tried = tried or self._tries[daemon.state, session] > 0
            oldest = night.now() - night.settings.max_age - LATE
            if since is not None and not tried and since < oldest:
                raise Broken("its stop is too old")
        if night.settings.backlog:
            return
        key, at, keeper = night.keeper_then.get(session, ("", 0.0, ""))
        if key != verdict.key:
            return
        # One that began later cannot know who kept the home before.
        if keeper != daemon.state and daemon.began < at - LATE / 2:
            raise Broken("stopped under a daemon of another state directory")
        if at < night.first_began[daemon.state]:
            raise Broken("stopped before its daemon's first start")

    def _check_account(self, home: Home, session: str) -> None:
        """Check that no session of the home has stated since that the limit goes on."""
        night = self._night
        files = [each for each in night.world.files.values() if each.home.name == home.name]
        if any(night.written[each.identity.id] == night.clock.seconds() for each in files):
            return  # what is written during a tick hides what was stated before
        stated = [
            (night.written[each.identity.id], each.verdict.reset)
            for each in files
            if each.verdict.kind is Kind.LIMIT and each.verdict.reset is not None
        ]
        newest = max((at for at, _ in stated), default=0.0)
        # Of several statements in one moment, any may be the newest.
        reset = min((reset for at, reset in stated if at == newest), default=0.0)
        if newest > night.written[session] and night.now() < reset:
            raise Broken("revived before the limit of its account ends")

    def _check_bounds(self, home: Home, session: str, daemon: Daemon) -> None:
        night, settings, verdict = self._night, self._night.settings, self._verdict(session)
        name = daemon.state, session
        if verdict.reset is not None and self._tries[name] >= settings.attempts:
            raise Broken(f"attempt {self._tries[name] + 1} without progress")
        _, times, deaths = self._at_once.get(name, (None, 0, 0))
        if times >= 2 and deaths == night.counts["killed"]:
            raise Broken("it has failed at once twice, in the same way")
        ours = [each for each in self._started if each.home == home.name]
        ours = [each for each in ours if each.daemon.state == daemon.state]
        commands = night.world.commands
        running = [each for each in ours if each.pid in commands and commands[each.pid].alive]
        if len(running) >= settings.at_once:
            raise Broken(f"{len(running)} others of its home run")
        if night.counts["clock set"]:
            return
        before = self._windows.get(name, set()) - {verdict.key}
        windows = [key for key in before if self._kinds[session, key] is Kind.LIMIT]
        if verdict.kind is Kind.LIMIT and len(windows) >= settings.windows:
            raise Broken(f"brought back after {len(windows)} limits, and no person wrote")
        lately = sum(self._now - each.at < 3600 for each in ours)
        if lately >= settings.hourly_of(home.name):
            raise Broken(f"start {lately + 1} in an hour")
        if verdict.kind is not Kind.LIMIT or verdict.reset is None:
            return
        for each in running:
            proven = self._progress.get(each.session, -1.0) >= each.at - night.slept
            if each.leads and each.daemon is daemon and self._now - each.at < LEAD and not proven:
                raise Broken(f"{each.session} goes first, and has not shown that the limit ended")

    def _check_ledger(self, session: str, daemon: Daemon) -> None:
        """Check that the intent is on the disk, and that there is room for what follows it."""
        room = self._night.writes.room
        if room is not None and room < ROOM:
            raise Broken("the disk has no room for what becomes of it")
        told = [each for each in self._lines(daemon.state) if each.get("session") == session]
        if not told or told[-1]["event"] != "intent":
            raise Broken("its intent is not on the disk")

    def _lines(self, state: str) -> list[dict[str, Any]]:
        """Return the entries in a ledger's file."""
        path = os.path.join(self._night.directory, state, "ledger.jsonl")
        found = []
        with open(path, "rb") as file:
            for line in file:
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue  # a daemon was killed in the middle of it
        return found

    # What the daemons do besides

    def check_entry(self, entry: Entry, state: str) -> None:
        """Check what a daemon with this state directory records."""
        session = entry.session or ""
        if entry.event is Event.WORKED:
            starts = [each for each in self._started if each.session == session]
            starts = [each for each in starts if each.daemon.state == state]
            # A new id in its directory may be that of any session there.
            beside = [session, *self._night.moved_in(self._night.directory_of(session))]
            grown = max(self._progress.get(each, -1.0) for each in beside)
            # If a daemon was killed just before a start, what a person does seems to be its work.
            if starts and grown < starts[-1].at - self._night.slept:
                self._night.failures.append(Broken(f"{session}: worked, and nothing shows it"))
        if entry.event is Event.KILLED:
            self._killed.add(session)
        if entry.event is Event.NEEDS_YOU:
            for daemon, name in list(self._stands):
                if (daemon.state, name) == (state, session):
                    del self._stands[daemon, name]

    def check_ends(self, *, has_died: bool) -> None:
        """
        Check that no command is ended that works, and that the ledger says what is ended.

        :param has_died: whether a daemon was killed just now, which could not say it any more.
        """
        night = self._night
        for start in night.world.starts:
            pid, session = start.revival.pid, start.session.id
            if not start.revival.is_ending or pid in self._ending:
                continue
            self._ending.add(pid)
            night.counts["ended"] += 1
            now = night.clock.seconds()
            if now - night.grown[pid] < night.settings.stall - LATE / 2:
                raise Broken(f"{session}: ended while it worked")
            # What its user writes meanwhile hides the call.
            if now < night.calling.get(pid, 0.0) and self._verdict(session).calling:
                raise Broken(f"{session}: ended during a call of a tool")
            if session not in self._killed and not has_died:
                raise Broken(f"{session}: ended, and nobody wrote it down")

    def check_shown(self) -> None:
        """Check what the keeper shows of sessions in which nothing has happened lately."""
        night = self._night
        self._check_calls()
        daemon, now = night.keeper(), night.clock.seconds()
        for pid, command in night.world.commands.items():
            if command.alive:
                self._alive[pid] = now
        if daemon is None or now - daemon.began < LATE or night.random.random() > 0.1:
            return
        try:
            sessions = daemon.monitor.sessions()
        except Exception as error:
            raise Broken(f"nothing is shown: {error!r}") from error
        # While it was paused, nobody asked who has a session.
        is_fresh = now - night.resumed.get(daemon.state, -LATE) >= LATE
        for shown in sessions:
            session, held = shown["id"], shown["held"]
            if now - night.written[session] < LATE:
                continue
            if night.owner_of(session) is Owner.GONE and now - night.owned.get(session, 0.0) > LATE:
                ours = {each.pid for each in self._started if each.daemon.state == daemon.state}
                alive = {pid for pid, at in self._alive.items() if now - at < LATE}
                is_held = is_fresh and held in ("owner-alive", "owner-unknown")
                if is_held and alive <= ours:
                    raise Broken(f"{session}: {held}, and nobody has it")
            reset = self._verdict(session).reset
            far = isinstance(reset, float) and reset - night.now() > TOO_FAR + LATE
            if far and shown["state"] == "waiting":
                raise Broken(f"{session}: waits for what is too far away")

    def check_ledgers(self) -> None:
        """Check that no ledger has a word of a conversation."""
        for state in self._states:
            if any("words of a person" in str(each) for each in self._lines(state)):
                raise Broken("a conversation is in the ledger")
