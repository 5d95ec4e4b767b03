"""The project's loggers, and the level below which they say nothing."""

from __future__ import annotations

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)

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
