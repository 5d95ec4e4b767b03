"""Time that no one can set: deadlines that do not depend on the wall clock."""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_time(reactor: Any) -> None:
    """
    Make a reactor measure delays with the monotonic clock, clock_gettime(2).

    Twisted's reactors measure them with the wall clock (twisted/twisted#2424, #5552). When
    that is set back an hour, no deadline fires for an hour. When it is set forward, all do
    at once.

    To be called first of all: a call that was scheduled earlier never comes.

    :param reactor: any of Twisted's reactors.
    """
    reactor.seconds = time.monotonic
