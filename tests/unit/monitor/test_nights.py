"""A short night with a kill after any byte of the ledger."""

from __future__ import annotations

import os
import tempfile

from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.ledger import LEDGER_NAME
from palingenesis.monitor.service import Monitor
from palingenesis.words import Kind
from tests.programs.night_terminals import Killed
from tests.programs.nights import EPOCH, SETTINGS, Writes
from tests.support.times import StagedTimes
from tests.unit.monitor.fake_world import FakeWorld

#: Every so manieth byte of a line after which the daemon is killed.
STRIDE = int(os.environ.get("PALINGENESIS_TEST_STRIDE", "25"))


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
