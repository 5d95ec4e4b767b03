"""The clocks that the monitor reads, as one value."""

from __future__ import annotations

import sys
import time


class Times:
    """The clocks of this machine, in seconds; a test gives a subclass that it sets itself."""

    def wall(self) -> float:
        """Return the time since the epoch, which a person or NTP can set back."""
        return time.time()

    def monotonic(self) -> float:
        """Return the time from any beginning; it never runs backwards."""
        return time.monotonic()

    def suspended(self) -> float:
        """
        Return for how long the machine has slept since it was booted.

        `monotonic` leaves that out, clock_gettime(2) on Linux and clock_gettime(3) on macOS.
        """
        if sys.platform == "darwin":
            awake, both = time.CLOCK_UPTIME_RAW, time.CLOCK_MONOTONIC_RAW
        else:
            awake, both = time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME
        return max(0.0, time.clock_gettime(both) - time.clock_gettime(awake))

    def timer(self) -> float:
        """Return the time from any beginning, as precisely as slices of work need it."""
        return time.perf_counter()
