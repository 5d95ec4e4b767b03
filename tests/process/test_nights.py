"""A few nights, and nights in which a rule is broken on purpose: too slow for the unit tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.gate import GATE
from tests.programs.broken_rules import BREAKS, NOTICED
from tests.programs.nights import FEW, SHORT, play, play_broken, play_on

#: The short nights that are played here; more of them, and long ones, by
#: ``python -m tests.programs.nights``.
SEEDS = range(100)
#: The nights of which one at least must notice that a rule is broken.
NOTICING = 200
#: What happens in nights; only with `OUTAGES` in those in which a daemon is killed.
HAPPENS = (
    *("started", "ended", "user came back", "left", "supervised", "sub-agents", "new id"),
    *("handed over", "taken", "calls", "typed", "typed and taken", "not sent"),
    *("typed by a person", "went on by itself"),
)
OUTAGES = (
    *("killed", "sleep", "paused", "on hold", "second daemon", "not started", "full disk"),
    "clock set",
)


class NightTests(SynchronousTestCase):
    def assert_no_rule_is_broken(self, seeds: Iterable[int], happens: Iterable[str]) -> None:
        """Play nights; those in which nothing happens prove nothing."""
        counts: Counter[str] = Counter()
        for seed in seeds:
            counts += play(seed, FEW, SHORT)
        self.assertEqual([what for what in happens if not counts[what]], [])

    def test_no_rule_is_broken_in_any_night_in_which_daemons_go_on(self) -> None:
        self.assert_no_rule_is_broken(SEEDS[1::2], HAPPENS)

    def test_no_rule_is_broken_in_any_night_in_which_daemons_are_killed(self) -> None:
        self.assert_no_rule_is_broken(SEEDS[::2], (*HAPPENS, *OUTAGES))

    def test_each_rule_that_is_broken_is_noticed(self) -> None:
        for name in BREAKS:
            # The night that noticed it when its seed was written down comes first.
            seeds = (NOTICED.get(name, 0), *range(NOTICING))
            self.assertIsNotNone(next(play_broken(name, seeds), None), name)

    def test_each_reason_of_the_gate_is_broken(self) -> None:
        self.assertLessEqual({reason.value for reason, _ in GATE}, BREAKS.keys())

    def test_nights_that_were_played_are_not_played_again(self) -> None:
        path = self.mktemp()
        for last in (2, 3):
            outcomes = play_on(range(last), FEW, SHORT // 10, path)
            self.assertEqual([each["seed"] for each in outcomes], list(range(last)))
        with open(path, encoding="utf-8") as file:
            self.assertEqual(len(file.readlines()), 3)
