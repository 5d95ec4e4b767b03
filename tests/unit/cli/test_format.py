"""What people see on a terminal, made of values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.format import in_words


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
