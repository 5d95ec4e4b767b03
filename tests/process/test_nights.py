"""A few nights, and nights in which a rule is broken on purpose: too slow for the unit tests."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.case import GATE
from tests.programs.broken_rules import BREAKS, NOTICED
from tests.programs.nights import FEW, SHORT, notices, play

#: The short nights that are played here; long ones by ``python -m tests.programs.nights 10000``.
SEEDS = range(16)
#: The nights of which one at least must notice that a rule is broken.
NOTICING = 200
HAPPENS = (
    *("started", "killed", "ended", "sleep", "paused", "on hold", "second daemon"),
    *("user came back", "left", "supervised", "sub-agents", "new id", "not started"),
    *("handed over", "taken", "calls", "full disk", "clock set"),
)


class NightTests(SynchronousTestCase):
    def test_no_rule_is_broken_in_any_night(self) -> None:
        counts: Counter[str] = Counter()
        for seed in SEEDS:
            counts += play(seed, FEW, SHORT)
        # Nights in which nothing happens prove nothing.
        for what in HAPPENS:
            self.assertGreater(counts[what], 0, what)

    def test_each_rule_that_is_broken_is_noticed(self) -> None:
        for name, each in BREAKS.items():
            with each.broken():
                # The night that noticed it when its seed was written down comes first.
                noticed = map(notices, (NOTICED.get(name, 0), *range(NOTICING)))
                self.assertTrue(any(each.noticed in (told or "") for told in noticed if told), name)

    def test_each_reason_of_the_gate_is_broken(self) -> None:
        self.assertLessEqual({reason.value for reason, _ in GATE}, BREAKS.keys())
