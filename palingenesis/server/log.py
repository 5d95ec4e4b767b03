"""The project's loggers, and the level below which they say nothing."""

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

#: Seconds in which what happens again is counted, not told.
REPEATS_INTERVAL = 60.0

_threshold = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
_observer = FilteringLogObserver(globalLogPublisher, [_threshold])


def get_logger(namespace: str) -> Logger:
    """Make the logger of a module; what passes the level goes where Twisted's log goes."""
    return Logger(namespace, observer=_observer)


def set_log_level(level: str) -> None:
    """
    Set the lowest level that is logged, for every module of this process's palingenesis.

    An embedding application's own loggers are not affected.

    :param level: ``debug``, ``info``, ``warn``, ``error`` or ``critical``.
    """
    _threshold.setLogLevelForNamespace("palingenesis", LogLevel.levelWithName(level))


class Repeats:
    """
    Counts what happens again and again, so that the log has two lines for it and not a flood.

    The first time is told at once. What follows within `REPEATS_INTERVAL` seconds is told
    as one number at the end of them.

    :param clock: what the interval is measured with.
    :param tell: called with the last of what happened, and how many times it did.
    """

    def __init__(self, clock: Clock, tell: Callable[[Any, int], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._last: Any = None
        self._count = 0
        self._call: Any = None

    def happened(self, what: object) -> None:
        """Count something, and tell it if it is the first of an interval."""
        if self._call is None:
            self._tell(what, 1)
            self._call = self._clock.callLater(REPEATS_INTERVAL, self.tell)
        else:
            self._last = what
            self._count += 1

    def tell(self) -> None:
        """End the interval, and tell what has been counted in it."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        count, self._count = self._count, 0
        if count:
            self._tell(self._last, count)
