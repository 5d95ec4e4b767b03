"""The project's loggers, and the lowest level that they log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)

from palingenesis.server.interfaces import Clock

#: Seconds in which further events are counted instead of logged.
REPEATS_INTERVAL = 60.0

_threshold = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
_observer = FilteringLogObserver(globalLogPublisher, [_threshold])


def get_logger(namespace: str) -> Logger:
    """Return the logger of a module; Twisted's log gets its events from the set level on."""
    return Logger(namespace, observer=_observer)


def set_log_level(level: str) -> None:
    """
    Set the lowest level that is logged, for all modules of palingenesis in this process.

    An embedding application's own loggers are not affected.

    :param level: ``debug``, ``info``, ``warn``, ``error`` or ``critical``.
    """
    _threshold.setLogLevelForNamespace("palingenesis", LogLevel.levelWithName(level))


class Repeats:
    """
    Counts repeated events, so that the log gets two lines instead of a flood.

    The first event is reported at once. Those that follow within `REPEATS_INTERVAL` seconds
    are reported together at the end of the interval.

    :param clock: what the interval is measured with.
    :param report: called with the last event, and the number of events.
    """

    def __init__(self, clock: Clock, report: Callable[[Any, int], None]) -> None:
        self._clock = clock
        self._report = report
        self._last: Any = None
        self._count = 0
        self._call: Any = None

    def add(self, event: object) -> None:
        """Count an event, and report it if it is the first of an interval."""
        if self._call is None:
            self._report(event, 1)
            self._call = self._clock.callLater(REPEATS_INTERVAL, self.flush)
        else:
            self._last = event
            self._count += 1

    def flush(self) -> None:
        """End the interval, and report the events that were counted in it."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        count, self._count = self._count, 0
        if count:
            self._report(self._last, count)
