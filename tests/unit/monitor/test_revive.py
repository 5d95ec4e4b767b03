"""When a command that another daemon started counts as hung, by a clock that the tests set."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.processes import look_at
from palingenesis.monitor.revive import Revival
from tests.support.times import StagedTimes


class StallTests(SynchronousTestCase):
    """This very process stands for the command: one that is not certain is never signalled."""

    def setUp(self) -> None:
        self.clock = Clock()

    def adopted(self, quiet: float) -> Revival:
        found = look_at(os.getpid())
        assert found is not None
        times = StagedTimes(self.clock.seconds, self.clock.seconds)
        return Revival(found.pid, found.began, None, times, quiet=quiet, is_certain=False)

    def ends_after(self, revival: Revival) -> float:
        """Return after how many seconds it is ended that may be quiet for a hundred."""
        began = self.clock.seconds()
        while not revival.is_ending:
            self.assertIsNone(revival.poll(100.0))
            self.clock.advance(1)
        return self.clock.seconds() - began - 1

    def test_the_time_before_its_adoption_counts(self) -> None:
        self.assertEqual(self.ends_after(self.adopted(quiet=40.0)), 60)

    def test_growth_in_the_future_gives_no_more_time(self) -> None:
        self.assertEqual(self.ends_after(self.adopted(quiet=-40.0)), 100)
        revival = self.adopted(quiet=0.0)
        revival.grew(ago=-40.0)
        self.assertEqual(self.ends_after(revival), 100)

    def test_growth_gives_it_time_again(self) -> None:
        revival = self.adopted(quiet=99.0)
        revival.grew(ago=30.0)
        revival.grew(ago=90.0)
        self.assertEqual(self.ends_after(revival), 70)
