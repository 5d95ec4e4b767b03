"""
Nights of a monitor, played with a clock: ``python -m tests.programs.nights 1000 [FIRST]``.

Each night follows from its seed: forty sessions that hit limits, crash, finish and are taken
further by their user; commands that work, fail and hang; a machine that sleeps; clocks that are
set; PAUSE and RESUME; a second daemon; and a daemon that is killed, mostly in the middle of
writing a line of its ledger. Before every command that is started the rules are checked that
nothing may break.
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

from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import HOUR, Ledger
from palingenesis.monitor.revive import Command, Revival
from palingenesis.monitor.service import Monitor
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.world import Living
from palingenesis.words import Kind, Owner
from tests.support.times import StagedTimes
from tests.unit.monitor.fake_world import FakeRevival, FakeWorld

EPOCH = 1_800_000_000.0
SESSIONS = 40
#: Seconds of a night, and between two things that happen in it.
LENGTH = 10 * 3600
STEP = 30
SETTINGS = Settings(
    interval=30.0,
    quiet=60.0,
    hourly=6,
    revive={"claude": Command(("claude", "{id}")), "codex": Command(("codex", "{id}"))},
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

    def __init__(self, night: Night) -> None:
        self.dead = False
        self.world = night.world.view()
        self.world.daemon = self
        publisher = LogPublisher(night.note)  # type: ignore[arg-type]
        self.monitor = Monitor(
            SETTINGS,
            night.directory,
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
    ) -> Revival:
        if self.daemon.dead:
            raise Broken("a dead daemon acts")
        self.night.check(home.agent, session)
        if self.night.random.random() < 0.02:
            self.daemon.die()
            raise Killed  # just before it starts
        revival = super().start(command, home, session, in_use, keep)
        assert isinstance(revival, FakeRevival)
        self.night.began(session.id, revival)
        if self.night.random.random() < 0.05:
            self.daemon.die()
            raise Killed  # just after it started, with nothing written down
        return revival


class Night:
    """
    One night.

    :param seed: all that happens follows from it.
    :param directory: an empty directory for the monitor's state.
    :ivar counts: how often what has happened.
    """

    def __init__(self, seed: int, directory: str) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.clock = Clock()
        self.times = StagedTimes(self.now, self.clock.seconds)
        self.set_by = 0.0
        self.slept = 0.0
        self.world = NightWorld(self.times)
        self.world.night = self
        self.writes = Writes()
        self.counts: Counter[str] = Counter()
        self.paused: bool | None = False
        self.started: list[tuple[float, str]] = []
        self.tries: Counter[str] = Counter()
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
        for number in range(SESSIONS):
            self.write(self.name(number), None, progress=True)
            self.world.owners[self.agent(number), self.name(number)] = Owner.PROGRAM
        for _ in range(LENGTH // STEP):
            self.clock.advance(STEP)
            self.live()
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
        if more.get("progress"):
            self.tries[session] = 0
        self.world.write(session, kind, agent=self.agent_of(session), **more)

    # The sessions, and their users

    def act(self) -> None:
        """Let something happen in some sessions."""
        for number in self.random.sample(range(SESSIONS), 2):
            session, agent = self.name(number), self.agent(number)
            if self.living_command(session) is not None:
                continue
            owner = self.world.owners.get((agent, session), Owner.GONE)
            if owner is Owner.PROGRAM:
                self.work(agent, session)
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
        if chance < 0.8:
            self.world.owners.pop((agent, session))
        elif chance < 0.85:
            self.world.owners[agent, session] = Owner.UNKNOWN

    def stop_in(self, session: str, kind: Kind, by: int = 0) -> None:
        reset = None
        if kind is Kind.LIMIT and self.random.random() < 0.8:
            reset = self.now() + self.random.choice([0, 60, 600, 3600, 4 * 3600])
        self.write(session, kind, by=by, reset=reset)

    # The commands

    def began(self, session: str, revival: FakeRevival) -> None:
        self.counts["started"] += 1
        self.started.append((self.clock.seconds() + self.slept, self.agent_of(session)))
        self.tries[session] += 1
        # A command of a daemon that is killed just now runs all the same.
        if self.random.random() < 0.7:
            self.write(session, None, by=revival.pid)

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
            self.daemons.append(Daemon(self))
            self.counts["second daemon"] += 1

    def keeper(self) -> Daemon | None:
        for daemon in self.daemons:
            if daemon.monitor.keeper is True and not daemon.dead and daemon.monitor._keeper.held:
                return daemon
        return None

    def pause(self) -> None:
        daemon = self.keeper()
        if daemon is not None:
            self.paused = self.told(daemon, lambda: daemon.monitor.pause("a person"), True)
            self.counts["paused"] += 1

    def resume(self) -> None:
        daemon = self.keeper()
        if daemon is not None:
            self.paused = self.told(daemon, lambda: daemon.monitor.resume("a person"), False)

    def told(self, daemon: Daemon, do: Callable[[], str | None], paused: bool) -> bool | None:
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
            self.daemons.append(Daemon(self))

    # The rules

    def check(self, agent: str, identity: Identity) -> None:
        """Check that a command may be started now."""
        session = identity.id
        file = self.world.files[f"/transcripts/{session}.jsonl"]
        verdict = file.verdict
        owner = self.world.owners.get((agent, session), Owner.GONE)
        if owner is not Owner.GONE:
            raise Broken(f"{session}: its owner is {owner.value}")
        if self.living_command(session) is not None:
            raise Broken(f"{session}: a command for it lives")
        if self.paused:
            raise Broken(f"{session}: revived while paused")
        if verdict.kind is None and not self.writer[session]:
            raise Broken(f"{session}: its user was faster, or it crashed")
        if verdict.kind not in (None, Kind.LIMIT, Kind.TRANSIENT):
            raise Broken(f"{session}: revived after {verdict.kind}")
        if verdict.reset is not None and self.now() < verdict.reset:
            raise Broken(f"{session}: revived before its limit ends")
        if self.tries[session] >= SETTINGS.attempts:
            raise Broken(f"{session}: attempt {self.tries[session] + 1} without progress")
        now = self.clock.seconds() + self.slept
        lately = sum(now - at < HOUR and of == agent for at, of in self.started)
        if not self.counts["clock set"] and lately >= SETTINGS.hourly:
            raise Broken(f"{session}: start {lately + 1} in an hour")


def play(seed: int) -> Counter[str]:
    """
    Play the night of a seed.

    :raises Broken: when a rule is broken.
    """
    # Nothing has to survive the loss of this machine's power.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="night-", dir=place) as directory:
        try:
            return Night(seed, directory).play()
        except BaseException:
            print(f"The night of seed {seed} failed", file=sys.stderr)
            raise


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began = time.monotonic()
    counts: Counter[str] = Counter()
    for seed in range(first, first + number):
        counts += play(seed)
    print(f"{number} nights in {time.monotonic() - began:.0f} s: {dict(counts)}")


if __name__ == "__main__":
    main()
