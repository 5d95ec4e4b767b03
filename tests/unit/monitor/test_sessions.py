from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.sessions import CLOCK_SLACK, Verdict
from palingenesis.words import Kind

NOW = 1789966800.0


class BelievedTests(SynchronousTestCase):
    def test_a_record_of_the_future_loses_its_times(self) -> None:
        later = NOW + 3600
        verdict = Verdict(Kind.LIMIT, "k", later, later + 5, progress=later).believed(NOW)
        self.assertEqual((verdict.at, verdict.reset, verdict.progress), (None, later + 5, None))

    def test_a_clock_that_is_a_little_ahead_is_believed(self) -> None:
        latest = NOW + CLOCK_SLACK
        verdict = Verdict(None, "k", latest, progress=latest)
        self.assertEqual(verdict.believed(NOW), verdict)

    def test_no_times_are_none(self) -> None:
        self.assertEqual(Verdict(None, "k").believed(NOW), Verdict(None, "k"))
