"""
Nights of a monitor, played with a clock: ``python -m tests.programs.nights 1000 [FIRST [short]]``.

Each night follows from its seed: sessions of two homes that hit limits, crash, finish, are left
in each way and are taken further by their user, by a server or by a supervisor; commands that
work, have sub-agents work, go on under a new id, fail and hang; messages that open programs take
late or never; a machine that sleeps; clocks that are set; PAUSE and RESUME; sessions on hold;
further daemons with the same state directory or another one; and a daemon that is killed, mostly
in the middle of writing a line of its ledger.
Before every command that is started the rules are checked that nothing may break. The checks
share no code with the monitor.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher

from palingenesis.monitor.child import CommandError, ResourceError
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Ledger
from palingenesis.monitor.revive import Command, Revival
from palingenesis.monitor.service import Monitor, SteeringError
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.settings import HomeRevival, Settings
from palingenesis.monitor.world import Living
from palingenesis.words import Kind, Owner
from tests.support.times import StagedTimes
from tests.unit.monitor.fake_world import FakeRevival, FakeWorld

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
SETTINGS = Settings(
    interval=30.0,
    quiet=60.0,
    hourly=6,
    revive={
        "claude": HomeRevival(("claude", "{id}")),
        "codex": HomeRevival(("codex", "{id}"), (QUEUE, "{id}")),
    },
)


class Killed(BaseException):
    """The daemon is killed here."""


class Broken(BaseException):
    """A rule that nothing may break is broken; no code of the monitor's may catch that."""


class Writes:
    """
    The bytes that daemons write to their ledgers, and where one of them is killed.

    :ivar count: how many writes there were.
    :ivar kill: at which write, and after how many of its bytes.
    """

    def __init__(self) -> None:
        self.count = 0
        self.kill: tuple[int, int] | None = None

    def hook(self, ledger: Ledger, killed: Callable[[], None]) -> None:
        """Have a ledger killed where that is due."""
        target = ledger._file
        write = target._write

        def hooked(data: bytes) -> None:
            self.count += 1
            if self.kill is not None and self.kill[0] == self.count:
                os.write(target._opened(), data[: self.kill[1] % (len(data) + 1)])
                killed()
                raise Killed
            write(data)

        target._write = hooked  # type: ignore[method-assign]


class Daemon:
    """A daemon of a night, until it is killed."""

    def __init__(self, night: Night, state: str = STATES[0]) -> None:
        self.dead = False
        self.state = state
        self.began = night.clock.seconds()
        self.world = night.world.view()
        self.world.daemon = self
        publisher = LogPublisher(night.note)  # type: ignore[arg-type]
        self.monitor = Monitor(
            SETTINGS,
            os.path.join(night.directory, state),
            reactor=night.clock,
            world=self.world,
            times=night.times,
            log=Logger("palingenesis.monitor", observer=publisher),
        )
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

    def look(self, homes: Iterable[Home], commands: Container[int]) -> Living:
        living = super().look(homes, commands)
        if self.night.random.random() < 0.1:
            # Perhaps at the very last moment before a revival.
            self.night.come_back(self.night.name(self.night.random.randrange(SESSIONS)))
        return living

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
        hands_over = command.arguments[0] == QUEUE

        def intend_and_check() -> None:
            intend()
            self.night.check(home.agent, session, self.daemon, hands_over=hands_over)
            if self.night.random.random() < 0.02:
                self.daemon.die()
                raise Killed  # just before it starts
            if self.night.random.random() < 0.04:
                self.night.counts["not started"] += 1
                raise self.night.random.choice([CommandError, ResourceError])("on purpose")

        revival = super().start(command, home, session, in_use, keep, intend_and_check)
        assert isinstance(revival, FakeRevival)
        self.night.began(session.id, revival, self.daemon.state, hands_over=hands_over)
        if self.night.random.random() < 0.05:
            self.daemon.die()
            raise Killed  # just after it started, with nothing written down
        return revival


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
        #: Whether the daemons of a state directory are paused; None if that is unknown.
        self.paused: dict[str, bool | None] = dict.fromkeys(STATES, False)
        self.on_hold: dict[tuple[str, str], bool | None] = {}
        self.started: list[tuple[float, tuple[str, str]]] = []
        self.tries: Counter[tuple[str, str]] = Counter()
        #: The last record of a session that its user has left after it, without a trace in it.
        self.left: dict[str, str] = {}
        #: A session's last record, when that was, and which daemons' state kept the home then.
        self.keeper_then: dict[str, tuple[str, float, str]] = {}
        #: When a command last grew, by its pid, and those that are being ended.
        self.grown: dict[int, float] = {}
        self.ending: set[int] = set()
        #: The last message for a session: the record that it is for, and the command's pid.
        self.messages: dict[str, tuple[str, int]] = {}
        #: Until when only the sub-agents of a command work, by its pid.
        self.delegated: dict[int, float] = {}
        #: Until when a command does nothing, by its pid.
        self.hung: dict[int, float] = {}
        #: How many daemons had been killed when a command began, by its pid.
        self.deaths: dict[int, int] = {}
        #: The daemons' state when a command began, by its pid.
        self.states: dict[int, str] = {}
        #: The sessions that go on under another id: the last record, the deaths until then, and
        #: the daemon's state.
        self.moved: dict[str, tuple[str, int, str]] = {}
        self.settled: set[str] = set()
        #: Who wrote the last record of a session: its user, or the command with this pid.
        self.writer: dict[str, int] = {}
        self.daemons: list[Daemon] = []
        self.failures: list[BaseException] = []

    def now(self) -> float:
        return EPOCH + self.clock.seconds() + self.set_by + self.slept

    def note(self, event: Any) -> None:
        failure = event.get("log_failure")
        if failure is not None and not failure.check(Killed):
            self.failures.append(failure.value)
        if "cannot be judged" in event.get("warning", ""):
            self.failures.append(Broken(event["warning"]))

    def play(self) -> Counter[str]:
        """
        Play it.

        :raises Broken: when a rule is broken.
        """
        self.daemons = [Daemon(self)]
        self.clock.advance(1)
        for number in range(self.sessions):
            self.write(self.name(number), None, progress=True)
            self.world.owners[self.agent(number), self.name(number)] = Owner.PROGRAM
            if number % 8:
                self.world.interactive.add(self.name(number))
        for _ in range(self.length // STEP):
            self.clock.advance(STEP)
            self.live()
            self.take_messages()
            self.act()
            self.happen()
            self.bury()
        for daemon in self.daemons:
            daemon.bury()
        return self.counts

    def name(self, number: int) -> str:
        return f"session-{number}"

    def agent(self, number: int) -> str:
        return "codex" if number % 4 == 0 else "claude"

    def agent_of(self, session: str) -> str:
        return self.agent(int(session.rpartition("-")[2]))

    def write(self, session: str, kind: Kind | None, *, by: int = 0, **more: Any) -> None:
        self.writer[session] = by
        self.grown[by] = self.clock.seconds()
        if more.get("progress"):
            for state in STATES:
                self.tries[state, session] = 0
        file = self.world.write(session, kind, agent=self.agent_of(session), **more)
        holder = self.world.holders.get(file.home.directory)
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
            owner = self.world.owners.get((agent, session), Owner.GONE)
            if owner is Owner.PROGRAM:
                self.work(agent, session)
            elif owner is Owner.SERVER and self.random.random() < 0.2:
                # A supervisor goes on with it, or a server lets go of it.
                if self.random.random() < 0.5:
                    self.counts["supervised"] += 1
                    self.world.owners[agent, session] = Owner.PROGRAM
                    self.write(session, None, progress=True)
                else:
                    self.world.owners.pop((agent, session))
            elif self.random.random() < 0.05:
                self.come_back(session)

    def come_back(self, session: str) -> None:
        """Have the user take a session further, in a process of its own."""
        self.counts["user came back"] += 1
        self.world.owners[self.agent_of(session), session] = Owner.PROGRAM
        self.write(session, None)

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
        if chance < (0.3 if session in self.world.interactive else 0.8):
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

    def stop_in(self, session: str, kind: Kind, by: int = 0) -> None:
        reset = None
        if kind is Kind.LIMIT and self.random.random() < 0.8:
            reset = self.now() + self.random.choice([0, 60, 600, 3600, 4 * 3600])
        self.write(session, kind, by=by, reset=reset)

    # The commands

    def began(
        self, session: str, revival: FakeRevival, state: str, *, hands_over: bool = False
    ) -> None:
        self.counts["started"] += 1
        home = self.agent_of(session), state
        self.started.append((self.clock.seconds() + self.slept, home))
        self.tries[state, session] += 1
        self.grown[revival.pid] = self.clock.seconds()
        self.deaths[revival.pid] = self.counts["killed"]
        self.states[revival.pid] = state
        if hands_over:
            self.hand_over(session, revival)
            return
        # It takes along what waits for it.
        self.world.queue[session] = False
        # A command of a daemon that is killed just now runs all the same.
        if self.random.random() < 0.7:
            self.write(session, None, by=revival.pid)

    def hand_over(self, session: str, revival: FakeRevival) -> None:
        """Have a command queue a message for an open program, fail, or lose the message."""
        self.counts["handed over"] += 1
        chance = self.random.random()
        revival.finish(2 if chance < 0.1 else 0)
        if chance > 0.15:
            self.world.queue[session] = True
            self.messages[session] = self.key_of(session), revival.pid

    def take_messages(self) -> None:
        """Have open programs take the messages that wait for them."""
        for session, (_, pid) in self.messages.items():
            owner = self.world.owners.get((self.agent_of(session), session))
            opened = owner in (Owner.PROGRAM, Owner.SERVER)
            if self.world.queue[session] and opened and self.random.random() < 0.3:
                self.world.queue[session] = False
                self.write(session, None, by=pid)
                if self.random.random() < 0.7:
                    self.write(session, None, by=pid, progress=True)

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
            if self.clock.seconds() < self.hung.get(revival.pid, 0.0):
                continue
            if self.clock.seconds() < self.delegated.get(revival.pid, 0.0):
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
                self.delegated[revival.pid] = self.clock.seconds() + 1800
                self.delegate(session, revival.pid)
            elif chance < 0.68:
                self.hung[revival.pid] = self.clock.seconds() + 3600
            elif chance < 0.71:
                self.go_on_elsewhere(session, revival)

    def delegate(self, session: str, pid: int) -> None:
        """Have a sub-agent of a command work: the transcript itself does not grow."""
        self.counts["sub-agents"] += 1
        self.world.below[session] = self.world.below.get(session, 0) + 1
        self.grown[pid] = self.clock.seconds()

    def go_on_elsewhere(self, session: str, revival: FakeRevival) -> None:
        """Have a command finish its work under a new id."""
        if self.clock.seconds() - self.grown[revival.pid] < STEP or session in self.moved:
            return
        self.counts["new id"] += 1
        # A multiple of four, so that it is a session of the same agent.
        other = self.name(int(session.rpartition("-")[2]) + 1000)
        directory = f"/home/{session}"
        self.write(other, Kind.FINISHED, by=revival.pid, progress=True, directory=directory)
        revival.finish(0)
        if self.tries[STATES[0], session] or self.tries[STATES[1], session]:
            deaths, state = self.deaths[revival.pid], self.states[revival.pid]
            self.moved[session] = self.key_of(session), deaths, state

    # The machine, and the daemons

    def happen(self) -> None:
        """Let something happen to the machine, or to a daemon."""
        chance = self.random.random()
        if chance < 0.01:
            self.slept += 6 * 3600
            self.counts["sleep"] += 1
        elif chance < 0.015:
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
            self.paused[daemon.state] = self.told(
                daemon, lambda: daemon.monitor.resume("a person"), False
            )

    def steer(self) -> None:
        """Have a person put a session on hold, or release it."""
        daemon = self.keeper()
        if daemon is None:
            return
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
        """Return whether it is paused then; None where the daemon died before it could tell."""
        try:
            do()
        except Killed:
            return None
        return None if daemon.dead else paused

    def bury(self) -> None:
        """Have a daemon that was killed be followed by another."""
        if self.failures:
            raise self.failures[0]
        for daemon in list(self.daemons):
            if daemon.dead:
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
        self.check_ends()

    # The rules

    def check_ends(self) -> None:
        """Check that no command is ended that works."""
        for start in self.world.starts:
            pid = start.revival.pid
            if start.revival.is_ending and pid not in self.ending:
                self.ending.add(pid)
                self.counts["ended"] += 1
                if self.clock.seconds() - self.grown[pid] < SETTINGS.stall - 2 * STEP:
                    raise Broken(f"{start.session.id}: ended while it worked")

    def check(
        self, agent: str, identity: Identity, daemon: Daemon, *, hands_over: bool = False
    ) -> None:
        """Check that a command may be started now."""
        session, state = identity.id, daemon.state
        file = self.world.files[f"/transcripts/{session}.jsonl"]
        verdict = file.verdict
        owner = self.world.owners.get((agent, session), Owner.GONE)
        if hands_over:
            if owner not in (Owner.PROGRAM, Owner.SERVER) or session not in self.world.interactive:
                raise Broken(f"{session}: handed to what takes no message ({owner.value})")
            if self.messages.get(session, ("",))[0] == verdict.key or self.world.queue.get(session):
                raise Broken(f"{session}: handed over twice")
        elif owner is not Owner.GONE:
            raise Broken(f"{session}: its owner is {owner.value}")
        if self.living_command(session) is not None:
            raise Broken(f"{session}: a command for it lives")
        if self.paused[state]:
            raise Broken(f"{session}: revived while paused")
        if verdict.kind is None and not self.writer[session]:
            raise Broken(f"{session}: its user was faster, or it crashed")
        if verdict.kind not in (None, Kind.LIMIT, Kind.TRANSIENT):
            raise Broken(f"{session}: revived after {verdict.kind}")
        if verdict.reset is not None and self.now() < verdict.reset:
            raise Broken(f"{session}: revived before its limit ends")
        if self.on_hold.get((state, session)):
            raise Broken(f"{session}: revived while on hold")
        if not self.counts["clock set"]:
            if self.left.get(session) == verdict.key:
                raise Broken(f"{session}: its user left it")
            key, at, keeper = self.keeper_then.get(session, ("", 0.0, ""))
            # One that began later cannot know who kept the home before.
            if key == verdict.key and keeper != state and daemon.began < at - 2 * STEP:
                raise Broken(f"{session}: stopped under a daemon of another state directory")
            moved, _, seen_by = self.moved.get(session, ("", 0, ""))
            if session in self.settled and (moved, seen_by) == (verdict.key, state):
                raise Broken(f"{session}: goes on under another id")
        if self.tries[state, session] >= SETTINGS.attempts:
            raise Broken(f"{session}: attempt {self.tries[state, session] + 1} without progress")
        now = self.clock.seconds() + self.slept
        lately = sum(now - at < 3600 and of == (agent, state) for at, of in self.started)
        if not self.counts["clock set"] and lately >= SETTINGS.hourly:
            raise Broken(f"{session}: start {lately + 1} in an hour")


def play(seed: int, sessions: int = SESSIONS, length: int = LENGTH) -> Counter[str]:
    """
    Play the night of a seed.

    :raises Broken: when a rule is broken.
    """
    # Nothing has to survive the loss of this machine's power.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="night-", dir=place) as directory:
        try:
            return Night(seed, directory, sessions, length).play()
        except BaseException:
            print(f"The night of seed {seed} failed", file=sys.stderr)
            raise


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    size = (FEW, SHORT) if "short" in sys.argv else (SESSIONS, LENGTH)
    began = time.monotonic()
    counts: Counter[str] = Counter()
    for seed in range(first, first + number):
        counts += play(seed, *size)
    print(f"{number} nights in {time.monotonic() - began:.0f} s: {dict(counts)}")


if __name__ == "__main__":
    main()
