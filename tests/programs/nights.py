"""
Nights of a monitor, played with a clock: ``python -m tests.programs.nights 1000 [FIRST [short]]``.

With ``--log FILE`` the outcome of each night is a line of that file, and nights that have one are
not played again.

Each night follows from its seed: the settings; sessions of four homes, one of them named and one
without a command, that hit limits, crash, finish, are left in each way and are taken further by
their user, by a server or by a supervisor; commands that work, call tools, have sub-agents work,
go on under a new id, fail, fail at once, hang and cannot be started; messages that open programs
take late or never; terminals (`night_terminals`) in which prompts are typed; directories and
programs that are missing; a disk that is full; a session that cannot be judged; a machine that
sleeps; clocks that are set; PAUSE and RESUME; sessions on hold; further daemons with the same state
directory or another one; and a daemon that is killed, mostly in the middle of writing a line of its
ledger.
`night_rules` checks the rules that nothing may break, and shares no code with the monitor.

``python -m tests.programs.nights --broken NAME`` breaks a rule of `broken_rules` on purpose, plays
short nights, and prints the seeds of those that notice it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher, formatEvent

from palingenesis.monitor.child import CommandError, ResourceError
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Ledger, Stop
from palingenesis.monitor.revive import Command, Revival
from palingenesis.monitor.service import Monitor, SteeringError
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.settings import HomeRevival, Project, Settings
from palingenesis.monitor.typist import Typist
from palingenesis.monitor.world import Living
from palingenesis.words import Kind, Method, Owner
from tests.programs.broken_rules import BREAKS
from tests.programs.night_rules import Broken, Rules
from tests.programs.night_terminals import Killed, NightTyping, Terminals
from tests.support.times import StagedTimes
from tests.unit.monitor.fake_world import FakeLiving, FakeRevival, FakeWorld, home_of

EPOCH = 1_800_000_000.0
SESSIONS = 40
#: Sessions of a short night, and its seconds.
FEW, SHORT = 16, 5400
#: The state directories of the daemons.
STATES = ("one", "other")
#: Seconds of a night, and between two things that happen in it.
LENGTH = 10 * 3600
STEP = 30
#: The program that hands a message to an open one.
QUEUE = "queue"
WORK = Home("work", "claude", "/home/.work", is_named=True)


class NightSettings(Settings):
    """Settings that know how the sessions of a directory are brought back once they were asked."""

    @cached_property
    def _revivals(self) -> dict[tuple[str, str], HomeRevival | None]:
        return {}

    def revival_of(self, home: str, directory: str) -> HomeRevival | None:
        name = home, directory
        if name not in self._revivals:
            self._revivals[name] = super().revival_of(home, directory)
        return self._revivals[name]


SETTINGS = NightSettings(
    interval=30.0,
    quiet=60.0,
    hourly=6,
    homes={"work": WORK},
    revive={
        "claude": HomeRevival(("claude", "{id}", "{prompt}"), type_into=True),
        "codex": HomeRevival(("codex", "{id}", "{prompt}"), (QUEUE, "{id}", "{prompt}")),
        "work": HomeRevival(("claude", "{id}", "{prompt}"), hourly=4),
    },
)
#: The text of each prompt of a person's.
WORDS = "the words of a person"


def settings_of(seed: int) -> Settings:
    """Return the settings of a night."""
    chance = random.Random(f"settings {seed}")
    begin = chance.randrange(24 * 60)
    claude = replace(SETTINGS.revive["claude"], type_into=seed % 4 != 0)
    return replace(
        SETTINGS,
        revive={**SETTINGS.revive, "claude": claude},
        attempts=chance.choice([2, 3, 5]),
        windows=chance.choice([1, 2, 5]),
        at_once=chance.choice([1, 2, 4]),
        max_age=chance.choice([1800.0, 43_200.0]),
        hours=chance.choice([None, None, None, (begin, (begin + 12 * 60) % (24 * 60))]),
        crashes=chance.random() < 0.3,
        spend=chance.random() < 0.3,
        backlog=chance.random() < 0.2,
        projects=(
            Project("/home/session-2", revive=False),
            Project("/home/session-5", prompt="on"),
        ),
    )


def hands_over(command: Command) -> bool:
    """Return whether a command hands a message to an open program."""
    return command.arguments[0] == QUEUE


class Writes:
    """
    The bytes that daemons write to their ledgers, and where one of them is killed.

    :ivar count: how many writes there were.
    :ivar kill: at which write, and after how many of its bytes.
    :ivar room: bytes that the disk has room for; None if it has enough.
    """

    def __init__(self) -> None:
        self.count = 0
        self.kill: tuple[int, int] | None = None
        self.room: int | None = None

    def hook(self, ledger: Ledger, killed: Callable[[], None]) -> None:
        """Kill the daemon at its write to a ledger, if that is due."""
        target = ledger._file
        write = target._write

        def hooked(data: bytes) -> None:
            self.count += 1
            if self.kill is not None and self.kill[0] == self.count:
                os.write(target._opened(), data[: self.kill[1] % (len(data) + 1)])
                killed()
                raise Killed
            if self.room is not None:
                if len(data) > self.room:
                    os.write(target._opened(), data[: self.room])
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.room -= len(data)
            write(data)

        target._write = hooked  # type: ignore[method-assign]


class Daemon:
    """A daemon of a night, until it is killed."""

    def __init__(self, night: Night, state: str = STATES[0]) -> None:
        self.dead = False
        self.state = state
        self.began = night.clock.seconds()
        night.first_began.setdefault(state, self.began)
        self.world = night.world.view()
        self.world.daemon = self
        publisher = LogPublisher(night.note)  # type: ignore[arg-type]
        self.monitor = Monitor(
            night.settings,
            os.path.join(night.directory, state),
            reactor=night.clock,
            world=self.world,
            times=night.times,
            log=Logger("palingenesis.monitor", observer=publisher),
        )
        self.monitor.observe(lambda entry: night.rules.check_entry(entry, state))
        night.writes.hook(self.monitor._ledger, self.die)
        with contextlib.suppress(Killed):
            self.monitor.startService()

    def die(self) -> None:
        self.dead = True

    def bury(self) -> None:
        """Take away what a killed process loses."""
        self.monitor.stopService()


class NightWorld(FakeWorld):
    """The world of a night, which checks every command that is started."""

    night: Night
    daemon: Daemon

    def look(
        self,
        homes: Iterable[Home],  # noqa: ARG002
        commands: Container[int],
    ) -> Living:
        told, interactive = dict(self.owners), set(self.interactive)
        for start in self.starts:
            pid = start.revival.pid
            if self.night.unseen.get(pid) == self.daemon.state:
                continue
            if start.revival.alive and pid not in commands:
                # What runs in a directory can have each of its sessions.
                for file in self.files.values():
                    if file.identity.directory == start.session.directory:
                        told[file.home.agent, file.identity.id] = Owner.PROGRAM
                        interactive.discard(file.identity.id)
        queue = self.queue if self.night.tells_queue else dict.fromkeys(self.queue)
        living = FakeLiving(told, self.waiting, self.exits, interactive, queue)
        chance = self.night.random.random()
        if chance < 0.12:
            # Perhaps at the very last moment before a revival.
            session = self.night.name(self.night.random.randrange(self.night.sessions))
            self.night.come_back(session)
            if chance < 0.02:
                self.night.go_away(session)
        return living

    def home_of(self, stop: Stop) -> Home:
        return self.files[stop.transcript].home

    def last_prompt(self, home: Home, transcript: str) -> tuple[str | None, float | None]:  # noqa: ARG002
        verdict = self.files[transcript].verdict
        return verdict.last_prompt, verdict.last_prompt_at

    def program(self, command: Command) -> str:
        self.no_program = self.night.no_program
        return super().program(command)

    def start(
        self,
        command: Command,
        home: Home,
        session: Identity,
        in_use: Iterable[str],
        keep: int,
        intend: Callable[[], object],
    ) -> Revival:
        if self.daemon.dead:
            raise Broken("a dead daemon acts")

        def intend_and_check() -> None:
            intend()
            method = Method.QUEUE if hands_over(command) else Method.COMMAND
            self.night.rules.check_start(home, session, self.daemon, method)
            if self.night.chance() < 0.02:
                self.daemon.die()
                raise Killed  # just before it starts
            if self.night.chance() < 0.04:
                self.night.counts["not started"] += 1
                raise self.night.random.choice([CommandError, ResourceError])("on purpose")

        revival = super().start(command, home, session, in_use, keep, intend_and_check)
        assert isinstance(revival, FakeRevival)
        self.night.began(session.id, revival, command, self.daemon)
        if self.night.chance() < 0.05:
            self.daemon.die()
            raise Killed  # just after it started, with nothing written down
        return revival

    def doubt_of_typing(self, home: Home, session: Identity) -> str | None:
        return Typist(home, session, {}, self.night.now).doubt()

    def type(
        self, home: Home, session: Identity, prompt: str, forbids: Callable[[], str | None]
    ) -> NightTyping:
        night = self.night
        if self.daemon.dead:
            raise Broken("a dead daemon acts")
        night.rules.check_start(home, session, self.daemon, Method.TYPE_INTO)
        typist = Typist(home, session, {}, night.now)
        typing = NightTyping(night, self.daemon, session.id, prompt, typist, forbids)
        night.rules.began(session.id, night.terminals.open[session.id].pid, self.daemon)
        night.terminals.type(typing)
        if night.chance() < 0.02:
            self.daemon.die()
            raise Killed  # its thread dies with it
        return typing


class Night:
    """
    One night.

    :param seed: all that happens follows from it.
    :param directory: an empty directory for the monitor's state.
    :param sessions: how many there are.
    :param length: seconds.
    :ivar counts: how often what has happened.
    """

    def __init__(
        self, seed: int, directory: str, sessions: int = SESSIONS, length: int = LENGTH
    ) -> None:
        self.random = random.Random(seed)
        self.settings = settings_of(seed)
        self.sessions, self.length = sessions, length
        self.directory = directory
        self.clock = Clock()
        self.times = StagedTimes(self.now, self.clock.seconds)
        self.set_by = 0.0
        self.slept = 0.0
        self.world = NightWorld(self.times)
        self.world.night = self
        self.writes = Writes()
        self.counts: Counter[str] = Counter()
        self.rules = Rules(self)
        self.terminals = Terminals(self)
        #: Whether the daemons of a state directory are paused; None if that is unknown.
        self.paused: dict[str, bool | None] = dict.fromkeys(STATES, False)
        #: When those of a state directory were resumed, in seconds of the clock.
        self.resumed: dict[str, float] = {}
        self.on_hold: dict[tuple[str, str], bool | None] = {}
        #: When the first daemon of a state directory began.
        self.first_began: dict[str, float] = {}
        #: When a session was last written, and when somebody had it last.
        self.written: dict[str, float] = {}
        self.owned: dict[str, float] = {}
        #: The last record of a session that its user has left after it, without a trace in it.
        self.left: dict[str, str] = {}
        #: A session's last record, when that was, and which daemons' state kept the home then.
        self.keeper_then: dict[str, tuple[str, float, str]] = {}
        #: When a command last grew, by its pid, and until when a call of a tool runs.
        self.grown: dict[int, float] = {}
        self.calling: dict[int, float] = {}
        #: The last message for a session: the record that it is for, its text, and the pid of the
        #: command that handed it over.
        self.messages: dict[str, tuple[str, str, int]] = {}
        #: When an open program took the last message for a session, as its transcript says.
        self.taken: dict[str, float] = {}
        #: The prompts that programs take late: their texts, and the programs' pids.
        self.late: dict[str, tuple[str, int]] = {}
        #: Until when only the sub-agents of a command work, by its pid.
        self.delegated: dict[int, float] = {}
        #: Until when a command does nothing, by its pid.
        self.hung: dict[int, float] = {}
        #: The commands that the daemons of a state directory can only adopt: no look tells
        #: their processes from others.
        self.unseen: dict[int, str] = {}
        #: When a command began, by its pid.
        self.since: dict[int, float] = {}
        #: How many daemons had been killed when a command began, by its pid.
        self.deaths: dict[int, int] = {}
        #: The sessions that go on under another id: the last record, the deaths until then, and
        #: which state directory's daemon knows it.
        self.moved: dict[str, tuple[str, int, str]] = {}
        self.settled: set[str] = set()
        #: Who wrote the last record of a session: its user, or the command with this pid.
        self.writer: dict[str, int] = {}
        #: Whether what waits in the queue is known; else its tables are not as expected.
        self.tells_queue = seed % 7 != 0
        #: Whether an agent's records say of a prompt that it was typed.
        self.tells_typed = seed % 5 < 3
        #: Whether nothing happens to the machine and the daemon.
        self.is_calm = seed % 2 == 1
        #: The session that cannot be judged; its record is unfit.
        self.unfit = self.name(self.random.randrange(sessions)) if seed % 3 == 0 else None
        self.no_program = False
        self.daemons: list[Daemon] = []
        self.failures: list[BaseException] = []

    def chance(self) -> float:
        """Return a number from 0 to 1, as small as a misfortune is likely; 1 in a calm night."""
        chance = self.random.random()
        return 1.0 if self.is_calm else chance

    def now(self) -> float:
        return EPOCH + self.clock.seconds() + self.set_by + self.slept

    def note(self, event: Any) -> None:
        """Take note of a line of a daemon's log."""
        failure = event.get("log_failure")
        if failure is not None and not failure.check(Killed):
            told = f"a tick failed: {failure.getErrorMessage()}"
            self.failures.append(failure.value if failure.check(Broken) else Broken(told))
        warning = event.get("warning", "")
        if "cannot be judged" in warning and f" {self.unfit} " not in warning:
            self.failures.append(Broken(warning))
        if WORDS in str(formatEvent(event)):
            self.failures.append(Broken("a conversation is in the log"))

    def play(self) -> Counter[str]:
        """
        Play it.

        :raises Broken: when a rule is broken.
        """
        with self.terminals.staged():
            self._play()
        self.rules.check_ledgers()
        return self.counts

    def _play(self) -> None:
        self.daemons = [Daemon(self)]
        self.clock.advance(1)
        for number in range(self.sessions):
            self.write(self.name(number), None, progress=True)
            self.open(self.name(number))
            if self.agent(number) == "codex" and number % 16:
                self.world.interactive.add(self.name(number))
        for _ in range(self.length // STEP):
            self.clock.advance(STEP)
            self.rules.check_ends(has_died=any(daemon.dead for daemon in self.daemons))
            self.live()
            self.terminals.type_all()
            self.take_messages()
            self.go_on_by_themselves()
            self.act()
            self.terminals.happen()
            self.happen()
            self.bury()
        for daemon in self.daemons:
            daemon.bury()

    def name(self, number: int) -> str:
        return f"session-{number}"

    def agent(self, number: int) -> str:
        return self.home(number).agent

    def home(self, number: int) -> Home:
        if number % 4 == 0:
            return home_of("codex")
        return {1: WORK, 7: home_of("copilot")}.get(number % 8, home_of("claude"))

    def number_of(self, session: str) -> int:
        return int(session.rpartition("-")[2])

    def agent_of(self, session: str) -> str:
        return self.agent(self.number_of(session))

    def owner_of(self, session: str) -> Owner:
        return self.world.owners.get((self.agent_of(session), session), Owner.GONE)

    def directory_of(self, session: str) -> str:
        """Return the directory of a session; some have one in common."""
        number = self.number_of(session)
        return f"/home/session-{number - (number % 8 == 6)}"

    def types_into(self, session: str) -> bool:
        """Return whether prompts are typed into a session's program."""
        home = self.home(self.number_of(session)).name
        return home in self.settings.revive and self.settings.revive[home].type_into

    def open(self, session: str) -> None:
        """Have a program of its user's have a session."""
        self.world.owners[self.agent_of(session), session] = Owner.PROGRAM
        if self.types_into(session):
            self.terminals.open_program(session)

    def write(self, session: str, kind: Kind | None, *, by: int = 0, **more: Any) -> None:
        """Write a record to a session: its user's, or a command's."""
        self.writer[session] = by
        self.written[session] = self.grown[by] = self.clock.seconds()
        if more.get("progress"):
            self.rules.progressed(session)
        if not by and "prompt" not in more and not more.get("progress"):
            more["prompt"] = WORDS
            more["typed"] = self.tells_typed and self.agent_of(session) == "claude"
        if not by:
            self.rules.person_wrote(session)
        number = self.number_of(session)
        more.setdefault("directory", self.directory_of(session))
        home = self.home(number)
        file = self.world.write(session, kind, agent=home.agent, home=home, **more)
        holder = self.world.holders.get(home.directory)
        for daemon in self.daemons:
            if daemon.world.home_locks is holder:
                at = self.clock.seconds()
                self.keeper_then[session] = file.verdict.key, at, daemon.state

    # The sessions, and their users

    def act(self) -> None:
        """Let something happen in some sessions."""
        for number in self.random.sample(range(self.sessions), 2):
            session, agent = self.name(number), self.agent(number)
            if self.living_command(session) is not None:
                continue
            owner = self.owner_of(session)
            if owner is Owner.PROGRAM:
                # One that has stopped mostly waits for its person, or for a message.
                if not self.is_waiting(session) or self.random.random() < 0.1:
                    self.work(agent, session)
            elif owner is Owner.SERVER and self.random.random() < 0.2:
                # A supervisor goes on with it, or a server lets go of it.
                if self.random.random() < 0.5:
                    self.counts["supervised"] += 1
                    self.open(session)
                    self.write(session, None, progress=True)
                else:
                    self.world.owners.pop((agent, session))
            elif self.random.random() < 0.05:
                self.come_back(session)

    def is_waiting(self, session: str) -> bool:
        """Return whether an open program that takes prompts has stopped."""
        return self.takes_prompts(session) and self.kind_of(session) is not None

    def takes_prompts(self, session: str) -> bool:
        """Return whether an open program takes messages, or what is typed."""
        return session in self.world.interactive or self.terminals.of(session) is not None

    def limit_an_account(self) -> None:
        """Have all open sessions of a home stop at the same limit, and their programs end."""
        home = self.home(self.random.randrange(self.sessions))
        reset = self.now() + self.random.choice([60, 600])
        for number in range(self.sessions):
            session = self.name(number)
            if self.home(number) == home and self.owner_of(session) is Owner.PROGRAM:
                self.write(session, Kind.LIMIT, reset=reset, prompt=None)
                self.terminals.show_anything(session)
                if not self.types_into(session) or self.random.random() < 0.5:
                    self.world.owners.pop((home.agent, session))

    def come_back(self, session: str) -> None:
        """Have the user take a session further, in a process of its own."""
        self.counts["user came back"] += 1
        self.open(session)
        self.write(session, None)

    def go_away(self, session: str) -> None:
        """Have the user's process end at once, most often at a limit."""
        if self.random.random() < 0.7:
            self.stop_in(session, Kind.LIMIT)
        self.world.owners.pop((self.agent_of(session), session), None)

    def work(self, agent: str, session: str) -> None:
        chance = self.random.random()
        if chance < 0.4:
            self.write(session, None, progress=True)
            return
        kind = self.random.choice(
            [Kind.LIMIT, Kind.LIMIT, Kind.TRANSIENT, Kind.FINISHED, Kind.USER, Kind.REFUSED, None]
        )
        if kind is None:
            self.world.owners.pop((agent, session))  # it crashed
            return
        self.stop_in(session, kind)
        chance = self.random.random()
        if self.takes_prompts(session) and chance < 0.7:
            return  # it is open
        if chance < 0.8:
            self.world.owners.pop((agent, session))
            if self.random.random() < 0.2:
                self.leave(session)
        elif chance < 0.85:
            self.world.owners[agent, session] = Owner.UNKNOWN
        elif chance < 0.92:
            self.world.owners[agent, session] = Owner.SERVER

    def leave(self, session: str) -> None:
        """Have the user leave a session in a way that its transcript does not show."""
        self.counts["left"] += 1
        self.world.exits[session] = self.now() + 1
        self.left[session] = self.key_of(session)

    def key_of(self, session: str) -> str:
        return self.world.files[f"/transcripts/{session}.jsonl"].verdict.key

    def kind_of(self, session: str) -> Kind | None:
        return self.world.files[f"/transcripts/{session}.jsonl"].verdict.kind

    def stop_in(self, session: str, kind: Kind, by: int = 0) -> None:
        reset: Any = None
        if session == self.unfit and kind is Kind.TRANSIENT:
            reset = "an unfit value"
        is_typed = not by and self.terminals.of(session) is not None
        if kind is Kind.LIMIT and self.random.random() < 0.8:
            later = [] if is_typed else [600, 3600, 4 * 3600, 9 * 86400]
            reset = self.now() + self.random.choice([0, 60, 60, 600, *later])
        spends = kind is Kind.LIMIT and self.random.random() < 0.1
        goes_on = is_typed and isinstance(reset, float) and self.random.random() < 0.2
        # What the agent writes is no prompt.
        self.write(session, kind, by=by, reset=reset, spends=spends, goes_on=goes_on, prompt=None)
        self.terminals.show_anything(session)

    # The commands

    def began(self, session: str, revival: FakeRevival, command: Command, daemon: Daemon) -> None:
        self.counts["started"] += 1
        self.rules.began(session, revival.pid, daemon)
        self.since[revival.pid] = self.grown[revival.pid] = self.clock.seconds()
        self.deaths[revival.pid] = self.counts["killed"]
        if hands_over(command):
            self.hand_over(session, revival, command, daemon)
            return
        chance = self.random.random()
        if chance < 0.1 or session == "session-3":
            # It fails at once, without a trace, and mostly in the same way.
            revival.finish(2 if chance < 0.03 else 1, soon=True)
            self.rules.failed_at_once(session, revival, daemon)
            return
        if chance < 0.2:
            self.unseen[revival.pid] = daemon.state
        # It takes along what waits for it.
        self.world.queue[session] = False
        # A command of a daemon that is killed just now runs all the same.
        if self.random.random() < 0.7:
            self.write(session, None, by=revival.pid, prompt=command.prompt)

    def hand_over(
        self, session: str, revival: FakeRevival, command: Command, daemon: Daemon
    ) -> None:
        """Have a command queue a message for an open program, fail, or lose the message."""
        self.counts["handed over"] += 1
        chance = self.random.random()
        if chance < 0.1:
            revival.finish(2, soon=True)
            self.rules.failed_at_once(session, revival, daemon)
            return
        revival.finish(0, soon=True)
        self.world.queue[session] = chance > 0.15
        self.messages[session] = self.key_of(session), command.prompt, revival.pid

    def take_messages(self) -> None:
        """Have open programs take the messages that wait for them."""
        for session, (_, prompt, pid) in self.messages.items():
            is_open = self.owner_of(session) in (Owner.PROGRAM, Owner.SERVER)
            if self.world.queue[session] and is_open and self.random.random() < 0.3:
                self.counts["taken"] += 1
                if self.random.random() < 0.15:
                    # A person was faster: the message follows.
                    self.write(session, None)
                    self.write(session, None, progress=True)
                self.world.queue[session] = False
                self.taken[session] = self.now()
                self.write(session, None, by=pid, prompt=prompt)
                if self.random.random() < 0.7:
                    self.write(session, None, by=pid, progress=True)

    def submit(self, session: str, text: str, pid: int) -> None:
        """Have a program get a prompt that was typed."""
        self.counts["typed"] += 1
        chance = self.random.random()
        if chance < 0.8:
            self.take_typed(session, text, pid)
        elif chance < 0.9:
            self.late[session] = text, pid

    def take_typed(self, session: str, text: str, pid: int) -> None:
        """Have a program begin a turn with a prompt that was typed."""
        self.write(session, None, by=pid, prompt=text, typed=self.tells_typed)
        if self.random.random() < 0.7:
            self.counts["typed and taken"] += 1
            self.write(session, None, by=pid, progress=True)

    def go_on_by_themselves(self) -> None:
        """Have open programs take late prompts, and go on by themselves after a limit."""
        for session, terminal in self.terminals.open.items():
            if self.terminals.of(session) is None or self.random.random() > 0.2:
                continue
            text, pid = self.late.pop(session, ("", 0))
            if pid == terminal.pid:
                self.take_typed(session, text, pid)
            verdict = self.world.files[f"/transcripts/{session}.jsonl"].verdict
            if verdict.goes_on and verdict.reset is not None and self.now() > verdict.reset + 100:
                self.counts["went on by itself"] += 1
                self.write(session, None, progress=True)

    def living_command(self, session: str) -> FakeRevival | None:
        for start in self.world.starts:
            if start.session.id == session and start.revival.alive:
                return start.revival
        return None

    def live(self) -> None:
        """Let the commands that run do something."""
        for start in self.world.starts:
            revival, session = start.revival, start.session.id
            if not revival.alive:
                continue
            now = self.clock.seconds()
            if now < max(self.hung.get(revival.pid, 0.0), self.calling.get(revival.pid, 0.0)):
                continue
            if now < self.delegated.get(revival.pid, 0.0):
                self.delegate(session, revival.pid)
                continue
            chance = self.random.random()
            if chance < 0.3:
                self.write(session, None, by=revival.pid, progress=True)
            elif chance < 0.4:
                self.write(session, Kind.FINISHED, by=revival.pid, progress=True)
                revival.finish(0)
            elif chance < 0.5:
                self.stop_in(session, self.random.choice([Kind.LIMIT, Kind.TRANSIENT]), revival.pid)
                revival.finish(1)
            elif chance < 0.6:
                revival.finish(self.random.choice([0, 1, 2]))
            elif chance < 0.62:
                self.stop_in(session, Kind.LIMIT, revival.pid)  # and it lives on
            elif chance < 0.66:
                self.delegated[revival.pid] = now + 1800
                self.delegate(session, revival.pid)
            elif chance < 0.68:
                self.hung[revival.pid] = now + 3600
            elif chance < 0.71:
                self.go_on_elsewhere(session, revival)
            elif chance < 0.74:
                self.counts["calls"] += 1
                self.calling[revival.pid] = now + 1800
                self.write(session, None, by=revival.pid, progress=True, calling=True)

    def delegate(self, session: str, pid: int) -> None:
        """Have a sub-agent of a command work: the transcript itself does not grow."""
        self.counts["sub-agents"] += 1
        self.world.below[session] = self.world.below.get(session, 0) + 1
        self.grown[pid] = self.clock.seconds()

    def go_on_elsewhere(self, session: str, revival: FakeRevival) -> None:
        """Have a command finish its work under a new id."""
        # A multiple of eight, so that it is a session of the same home.
        other = self.name(self.number_of(session) + 1000)
        if self.clock.seconds() - self.grown[revival.pid] < STEP or other in self.written:
            return
        self.counts["new id"] += 1
        directory = self.directory_of(session)
        self.write(other, Kind.FINISHED, by=revival.pid, progress=True, directory=directory)
        revival.finish(0)
        # What its user wrote since it began is a stop of its own.
        by_user = not self.writer[session] and self.written[session] > self.since[revival.pid]
        if self.rules.was_tried(session) and not by_user:
            state = self.rules.state_of(revival.pid)
            self.moved[session] = self.key_of(session), self.deaths[revival.pid], state

    def moved_in(self, directory: str) -> list[str]:
        """Return the new ids under which sessions of a directory may go on."""
        numbers = [each + 1000 for each in range(self.sessions)]
        return [
            self.name(each)
            for each in numbers
            if self.directory_of(self.name(each - 1000)) == directory
        ]

    # The machine, and the daemons

    def happen(self) -> None:
        """Let something happen to the machine, or to a daemon."""
        if self.random.random() < 0.02:
            self.limit_an_account()
        chance = self.chance()
        if chance < 0.01:
            self.slept += 6 * 3600
            self.counts["sleep"] += 1
        elif chance < 0.013:
            self.set_by += self.random.choice([-7200, -90, 90, 7200])
            self.counts["clock set"] += 1
        elif chance < 0.03:
            self.pause()
        elif chance < 0.06:
            self.resume()
        elif chance < 0.08:
            self.writes.kill = (
                self.writes.count + self.random.randint(1, 5),
                self.random.randint(0, 400),
            )
        elif chance < 0.09:
            self.random.choice(self.daemons).die()
        elif chance < 0.10 and len(self.daemons) == 1:
            self.daemons.append(Daemon(self, self.random.choice(STATES)))
            self.counts["second daemon"] += 1
        elif chance < 0.15:
            self.steer()
        elif chance < 0.16:
            self.no_program = True
        elif chance < 0.20:
            self.no_program = False
        elif chance < 0.21:
            # A full disk has room for a few lines at most.
            self.writes.room = self.random.choice([0, 300, 1000])
            self.counts["full disk"] += 1
        elif chance < 0.28:
            self.writes.room = None
        elif chance < 0.30:
            self.world.bad_directories ^= {
                self.directory_of(self.name(self.random.randrange(self.sessions)))
            }

    def keeper(self) -> Daemon | None:
        for daemon in self.daemons:
            if daemon.monitor.keeper is True and not daemon.dead and daemon.monitor._keeper.held:
                return daemon
        return None

    def pause(self) -> None:
        daemon = self.keeper()
        if daemon is not None:
            self.paused[daemon.state] = self.told(
                daemon, lambda: daemon.monitor.pause("a person"), True
            )
            self.counts["paused"] += 1

    def resume(self) -> None:
        daemon = self.keeper()
        if daemon is not None:
            self.resumed[daemon.state] = self.clock.seconds()
            self.paused[daemon.state] = self.told(
                daemon, lambda: daemon.monitor.resume("a person"), False
            )

    def steer(self, session: str | None = None) -> None:
        """Have a person put a session on hold, or release it."""
        daemon = self.keeper()
        if daemon is None:
            return
        if session is None:
            session = self.name(self.random.randrange(self.sessions))
        name, monitor = (daemon.state, session), daemon.monitor
        holds = not self.on_hold.get(name, False)
        steer = monitor.hold if holds else monitor.release
        try:
            self.on_hold[name] = self.told(daemon, lambda: steer(session, "a person"), holds)
            self.counts["on hold"] += holds
        except SteeringError:
            self.on_hold[name] = None

    def told(self, daemon: Daemon, do: Callable[[], object], paused: bool) -> bool | None:
        """Return whether it is paused then; None if nobody can know."""
        try:
            warning = do()
        except Killed:
            return None
        # A warning says that a restart undoes it.
        return None if daemon.dead or warning is not None else paused

    def bury(self) -> None:
        """Have a daemon that was killed be followed by another."""
        if self.failures:
            raise self.failures[0]
        for daemon in [daemon for daemon in self.daemons if daemon.dead]:
            self.counts["killed"] += 1
            daemon.bury()
            self.daemons.remove(daemon)
        if not self.daemons:
            state = STATES[0] if self.random.random() < 0.8 else STATES[1]
            self.daemons.append(Daemon(self, state))
        for session, (_, deaths, _) in list(self.moved.items()):
            if session in self.settled:
                continue
            if deaths != self.counts["killed"]:
                # A daemon that did not see it begin cannot know.
                del self.moved[session]
            else:
                self.settled.add(session)
        for (_, session), owner in self.world.owners.items():
            if owner is not Owner.GONE:
                self.owned[session] = self.clock.seconds()
        self.rules.check_shown()


def place() -> tempfile.TemporaryDirectory[str]:
    """Return a place for a night, which need not survive the loss of this machine's power."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="night-", dir=memory)


def play(seed: int, sessions: int = SESSIONS, length: int = LENGTH) -> Counter[str]:
    """
    Play the night of a seed.

    :raises Broken: when a rule is broken.
    """
    with place() as directory:
        try:
            return Night(seed, directory, sessions, length).play()
        except BaseException:
            print(f"The night of seed {seed} failed", file=sys.stderr)
            raise


def notices(seed: int) -> str | None:
    """Return what a short night notices; None if no rule is broken in it."""
    with place() as directory:
        try:
            Night(seed, directory, FEW, SHORT).play()
        except Broken as broken:
            return str(broken)
    return None


def play_broken(name: str, seeds: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Play short nights while a rule is broken, and yield the seeds of those that notice it."""
    with BREAKS[name].broken():
        for seed in seeds:
            noticed = notices(seed)
            if noticed is not None and BREAKS[name].noticed in noticed:
                yield seed, noticed


def outcome_of(seed: int, sessions: int, length: int) -> dict[str, Any]:
    """Play the night of a seed, and return how often what has happened, or what was broken."""
    try:
        return {"seed": seed, "counts": play(seed, sessions, length)}
    except (Broken, Exception) as error:
        return {"seed": seed, "broken": f"{type(error).__name__}: {error}"}


def play_on(
    seeds: Iterable[int], sessions: int, length: int, path: str | None
) -> list[dict[str, Any]]:
    """
    Play the nights of which a file has no outcome yet, and return all outcomes.

    :param path: the file, which gets the outcomes, one a line; None for no file.
    """
    outcomes = []
    if path is not None and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            outcomes = [json.loads(line) for line in file]
    known = {each["seed"] for each in outcomes}
    for seed in seeds:
        if seed not in known:
            outcomes.append(outcome_of(seed, sessions, length))
            if path is not None:
                with open(path, "a", encoding="utf-8") as file:
                    file.write(json.dumps(outcomes[-1]) + "\n")
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description="Play nights of a monitor.")
    parser.add_argument("number", type=int, nargs="?", default=1000, help="nights")
    parser.add_argument("first", type=int, nargs="?", default=0, help="the first seed")
    parser.add_argument("short", nargs="?", choices=["short"], help="play short ones")
    parser.add_argument("--log", metavar="FILE", help="where the outcome of each night is kept")
    parser.add_argument("--broken", metavar="NAME", help="the rule to break on purpose")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.number)
    if options.broken == "all":
        for name in BREAKS:
            seed = next((seed for seed, _ in play_broken(name, seeds)), None)
            print(f"{name}: {'not noticed' if seed is None else seed}", flush=True)
        return
    if options.broken:
        for seed, noticed in play_broken(options.broken, seeds):
            print(f"seed {seed}: {noticed}")
        return
    size = (FEW, SHORT) if options.short else (SESSIONS, LENGTH)
    began = time.monotonic()
    outcomes = play_on(seeds, *size, options.log)
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.get("counts", {}))
    broken = [each["seed"] for each in outcomes if "broken" in each]
    print(f"{len(outcomes)} nights, {time.monotonic() - began:.0f} s: {dict(counts)}")
    print(f"A rule was broken in {len(broken)} of them{': ' if broken else ''}{broken or ''}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
