"""The clocks that the monitor reads, as one value."""

from __future__ import annotations

import time


class Times:
    """The clocks of this machine, in seconds; a test gives a subclass that it sets itself."""

    def wall(self) -> float:
        """Return the time since the epoch, which a person or NTP can set back."""
        return time.time()

    def monotonic(self) -> float:
        """Return the time from any beginning; it never runs backwards."""
        return time.monotonic()

    def timer(self) -> float:
        """Return the time from any beginning, as precisely as slices of work need it."""
        return time.perf_counter()
