"""The clocks of this machine."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.times import Times


class TimesTests(SynchronousTestCase):
    def test_the_sleep_of_the_machine_is_what_its_clocks_differ_by(self) -> None:
        readings = {1: 500.0, 2: 740.0}
        names = ("CLOCK_MONOTONIC", 1), ("CLOCK_BOOTTIME", 2)
        for name, number in (*names, ("CLOCK_UPTIME_RAW", 1), ("CLOCK_MONOTONIC_RAW", 2)):
            if hasattr(time, name):
                self.patch(time, name, number)
        self.patch(time, "clock_gettime", readings.__getitem__)
        self.assertEqual(Times().suspended(), 240.0)
        readings[2] = 499.0
        self.assertEqual(Times().suspended(), 0.0)

    def test_the_machine_says_how_long_it_slept(self) -> None:
        self.assertGreaterEqual(Times().suspended(), 0.0)
