"""The loggers, and the level below which they say nothing."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import InvalidLogLevelError, Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.server.log import Repeats, get_logger, set_log_level

LEVELS = ("debug", "info", "warn", "error", "critical")


class LevelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(set_log_level, "info")

    def logged(self, logger: Logger) -> list[str]:
        """Log a line of each level; the levels of those that came through."""
        with capturedLogs() as events:
            for level in LEVELS:
                logger.emit(LogLevel.levelWithName(level), "a line")
        # A failed expectation is not what these are about.
        self.flushLoggedErrors()
        return [event["log_level"].name for event in events]

    def test_details_are_not_logged_at_first(self) -> None:
        self.assertEqual(self.logged(get_logger("palingenesis.x")), list(LEVELS[1:]))

    def test_each_level_lets_through_itself_and_what_is_above(self) -> None:
        logger = get_logger("palingenesis.x")
        for position, level in enumerate(LEVELS):
            set_log_level(level)
            with self.subTest(level=level):
                self.assertEqual(self.logged(logger), list(LEVELS[position:]))

    def test_the_level_holds_for_every_module(self) -> None:
        loggers = [get_logger("palingenesis"), get_logger("palingenesis.a.b")]
        set_log_level("critical")
        self.assertEqual([self.logged(logger) for logger in loggers], [["critical"]] * 2)

    def test_the_application_s_own_loggers_are_left_alone(self) -> None:
        set_log_level("critical")
        self.assertEqual(self.logged(Logger("application")), list(LEVELS))

    def test_an_unknown_level_changes_nothing(self) -> None:
        set_log_level("error")
        self.assertRaises(InvalidLogLevelError, set_log_level, "loud")
        self.assertEqual(self.logged(get_logger("palingenesis.x")), ["error", "critical"])

    def test_a_line_says_which_module_it_is_from(self) -> None:
        with capturedLogs() as events:
            get_logger("palingenesis.x").info("{what}", what="a line")
        self.assertEqual([event["log_namespace"] for event in events], ["palingenesis.x"])


class RepeatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[object, int]] = []
        self.repeats = Repeats(self.clock, lambda what, count: self.told.append((what, count)))

    def test_the_first_event_is_reported_at_once(self) -> None:
        self.repeats.add("a")
        self.assertEqual(self.told, [("a", 1)])

    def test_a_single_event_is_reported_once(self) -> None:
        self.repeats.add("a")
        self.clock.advance(3600)
        self.assertEqual(self.told, [("a", 1)])

    def test_further_events_within_a_minute_are_reported_together(self) -> None:
        for what in "abcd":
            self.repeats.add(what)
        self.clock.advance(59.9)
        self.assertEqual(self.told, [("a", 1)])
        self.clock.advance(0.1)
        self.assertEqual(self.told, [("a", 1), ("d", 3)])

    def test_an_event_after_a_minute_is_reported_at_once(self) -> None:
        for what in "ab":
            self.repeats.add(what)
            self.clock.advance(60)
        self.assertEqual(self.told, [("a", 1), ("b", 1)])

    def test_counted_events_can_be_reported_before_the_minute_is_over(self) -> None:
        for what in "abc":
            self.repeats.add(what)
        self.repeats.flush()
        self.assertEqual(self.told, [("a", 1), ("c", 2)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_flushing_without_events_reports_nothing(self) -> None:
        self.repeats.flush()
        self.assertEqual(self.told, [])
