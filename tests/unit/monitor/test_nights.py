"""A few whole nights, and one short one with a kill at every step."""

from __future__ import annotations

import os
import tempfile
from collections import Counter

from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import case
from palingenesis.monitor.case import GATE, Case
from palingenesis.monitor.ledger import LEDGER_NAME
from palingenesis.monitor.service import Monitor
from palingenesis.words import Kind, Reason
from tests.programs.nights import EPOCH, FEW, SETTINGS, SHORT, Broken, Killed, Night, Writes, play
from tests.support.times import StagedTimes
from tests.unit.monitor.fake_world import FakeWorld

#: The short nights that are played here; long ones by ``python -m tests.programs.nights 10000``.
SEEDS = range(80)
#: The nights of which one at least must notice that a rule is broken.
NOTICING = 200
#: Rules of the gate, each of which is broken alone; of the owner, both at once.
#: `Reason.KIND` and `Reason.NEWER_RECORD` are not here: behind each stands another rule, the due
#: time that only a revivable stop has, and the owner who writes the newer record.
RULES = (
    {Reason.PAUSED},
    {Reason.NOT_THE_KEEPER},
    {Reason.ON_HOLD},
    {Reason.TOO_OLD},
    {Reason.NOT_DUE},
    {Reason.ALREADY_RUNNING},
    {Reason.OWNER_ALIVE, Reason.OWNER_UNKNOWN},
    {Reason.HOURLY_LIMIT},
)
#: Every so manieth byte of a line after which the daemon is killed.
STRIDE = int(os.environ.get("PALINGENESIS_TEST_STRIDE", "25"))


HAPPENS = (
    *("started", "killed", "ended", "sleep", "paused", "on hold", "second daemon"),
    *("user came back", "left", "supervised", "sub-agents", "new id", "not started"),
    "handed over",
)


def _allow(_: Case) -> bool:
    return False


class NightTests(SynchronousTestCase):
    def test_no_rule_is_broken_in_any_night(self) -> None:
        counts: Counter[str] = Counter()
        for seed in SEEDS:
            counts += play(seed, FEW, SHORT)
        # Nights in which nothing happens prove nothing.
        for what in HAPPENS:
            self.assertGreater(counts[what], 0, what)

    def test_each_rule_that_is_broken_is_noticed(self) -> None:
        for rules in RULES:
            gate = [(why, _allow if why in rules else forbids) for why, forbids in case.GATE]
            self.patch(case, "GATE", gate)
            self.assertTrue(any(map(self.notices, range(NOTICING))), rules)
            self.patch(case, "GATE", GATE)

    def notices(self, seed: int) -> bool:
        with tempfile.TemporaryDirectory() as directory:
            try:
                Night(seed, directory, FEW, SHORT).play()
            except Broken:
                return True
        return False

    def test_a_broken_rule_is_noticed(self) -> None:
        # In some nights a person resumes before anything is due.
        self.assertTrue(any(self.notices_a_start_while_paused(seed) for seed in range(10)))

    def notices_a_start_while_paused(self, seed: int) -> bool:
        with tempfile.TemporaryDirectory() as directory:
            night = Night(seed, directory, FEW, SHORT)
            night.paused = dict.fromkeys(night.paused, True)
            try:
                night.play()
            except Broken:
                return True
        return False


class ShortNight:
    """
    One session that hits a limit and works again, and a daemon that is killed once.

    :param write: at which write to the ledger it is killed, from 1.
    :param byte: after how many bytes of it.
    """

    def __init__(self, directory: str, write: int, byte: int) -> None:
        self.directory = directory
        self.clock = Clock()
        self.times = StagedTimes(self.now, self.clock.seconds)
        self.world = FakeWorld(self.times)
        self.writes = Writes()
        self.writes.kill = (write, byte)
        self.killed = False

    def now(self) -> float:
        return EPOCH + self.clock.seconds()

    def make(self) -> Monitor:
        publisher = LogPublisher()
        monitor = Monitor(
            SETTINGS,
            self.directory,
            reactor=self.clock,
            world=self.world,
            times=self.times,
            log=Logger("palingenesis.monitor", observer=publisher),
        )
        self.writes.hook(monitor._ledger, self.kill)
        try:
            monitor.startService()
        except Killed:
            monitor.stopService()
            return self.make()
        return monitor

    def kill(self) -> None:
        self.killed = True

    def play(self) -> bool:
        """Play it, and tell whether it came to the kill."""
        monitor = self.make()
        began = False
        for second in range(0, 1200, 10):
            if second == 20:
                self.world.write("s", Kind.LIMIT, reset=self.now() + 100)
            for start in self.world.starts:
                if start.revival.alive and self.now() - start.at > 100:
                    self.world.write("s", Kind.FINISHED, progress=True)
                    start.revival.finish()
            self.clock.advance(10)
            if self.killed and not began:
                began = True
                monitor.stopService()
                self.world.restart()
                monitor = self.make()
        self.events = [entry["event"] for entry in monitor.log(100)]
        monitor.stopService()
        return self.killed


class KillTests(SynchronousTestCase):
    def test_a_kill_after_any_byte_of_any_line_changes_nothing_in_the_end(self) -> None:
        kills = 0
        write, byte = 1, 0
        while True:
            with tempfile.TemporaryDirectory() as directory:
                night = ShortNight(directory, write, byte)
                if not night.play():
                    break
                kills += 1
                where = f"killed at write {write}, byte {byte}: {night.events}"
                starts = len(night.world.starts)
                # An intent that is only half written has started nothing.
                self.assertEqual(starts, 1, where)
                self.assertIn("worked", night.events, where)
                with open(os.path.join(directory, LEDGER_NAME), "rb") as file:
                    self.assertTrue(file.read().endswith(b"\n"), where)
            byte += STRIDE
            if byte > 400:
                write, byte = write + 1, 0
        self.assertGreater(kills, 50)
