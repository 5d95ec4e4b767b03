"""The clocks that the monitor reads, as one value."""

from __future__ import annotations

import time


class Times:
    """
    The clocks of this machine; a test gives a subclass that it sets itself.

    All of them but the time of day are in seconds.
    """

    def wall(self) -> float:
        """Return the time since the epoch, which a person or NTP can set back."""
        return time.time()

    def clock(self) -> int:
        """Return the local time of day, in minutes since midnight."""
        local = time.localtime(self.wall())
        return local.tm_hour * 60 + local.tm_min

    def monotonic(self) -> float:
        """Return the time from any beginning; it never runs backwards."""
        return time.monotonic()

    def timer(self) -> float:
        """Return the time from any beginning, as precisely as slices of work need it."""
        return time.perf_counter()
