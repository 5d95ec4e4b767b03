"""Deadlines that do not depend on the wall clock."""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_time(reactor: Any) -> None:
    """
    Make a reactor measure delays with the monotonic clock, clock_gettime(2).

    Twisted's reactors measure them with the wall clock (twisted/twisted#2424, #5552). If that
    is set back an hour, no deadline fires for an hour. If it is set forward, all fire at once.

    Call it before anything is scheduled: an earlier call would never be made.

    :param reactor: any of Twisted's reactors.
    """
    reactor.seconds = time.monotonic
