"""Clocks that a test sets."""

from __future__ import annotations

from collections.abc import Callable

from palingenesis.monitor.times import Times


class StagedTimes(Times):
    """
    Clocks that a test sets; by default no work takes any time.

    :param wall: returns seconds since the epoch.
    :param monotonic: returns seconds of a clock that is never set back.
    :param timer: returns seconds, to measure slices of work with.
    :ivar slept: for how many seconds the machine has slept.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        timer: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._wall, self._monotonic, self._timer = wall, monotonic, timer
        self.slept = 0.0

    def wall(self) -> float:
        return self._wall()

    def monotonic(self) -> float:
        return self._monotonic()

    def suspended(self) -> float:
        return self.slept

    def timer(self) -> float:
        return self._timer()
