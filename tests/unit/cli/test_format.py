"""What people see on a terminal, made of values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.format import from_now, in_words, is_time


class UptimeTests(SynchronousTestCase):
    def test_uptime_is_told_in_the_two_largest_units(self) -> None:
        for seconds, words in (
            (0, "0 seconds"),
            (1, "1 second"),
            (61, "1 minute 1 second"),
            (3600, "1 hour"),
            (3601, "1 hour"),
            (7380, "2 hours 3 minutes"),
            (86_400 * 400 + 3600, "400 days 1 hour"),
            (10**30, "11574074074074074074074074 days 1 hour"),
        ):
            self.assertEqual(in_words(seconds), words)


class TimeTests(SynchronousTestCase):
    def test_a_time_is_told_as_seen_from_now(self) -> None:
        for at, words in (
            (1060.9, "in 1 minute"),
            (1000.9, "now"),
            (999.1, "now"),
            (940.0, "1 minute ago"),
        ):
            self.assertEqual(from_now(at, 1000.0), words)

    def test_what_no_clock_shows_is_no_time(self) -> None:
        for value in (None, True, "1", 0, -1.0, float("nan"), float("inf"), 10**30, [1]):
            self.assertFalse(is_time(value), value)

    def test_a_number_of_seconds_since_the_epoch_is_a_time(self) -> None:
        for value in (1, 1_789_837_200.5, 253_402_300_799):
            self.assertTrue(is_time(value), value)
