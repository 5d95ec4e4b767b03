"""A ledger in a directory of its own, and a wall clock that a test sets."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.ledger import LEDGER_NAME, Attempt, Ledger, Stop
from palingenesis.monitor.times import Times
from palingenesis.words import Kind
from tests.support.private import private_path

#: Where the clock begins, in seconds since the epoch.
START = 1_700_000_000.0


def stop(session: str = "one", key: str = "a", kind: Kind = Kind.LIMIT) -> Stop:
    """Return a stop of a session of Claude's."""
    return Stop("claude", session, key, kind, f"/t/{session}.jsonl", "/home/you/app")


class SetTimes(Times):
    """A wall clock that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now


class LedgerTestCase(SynchronousTestCase):
    """Tests of a ledger that its keeper has open."""

    def setUp(self) -> None:
        self.directory = private_path(self)
        self.path = os.path.join(self.directory, LEDGER_NAME)
        self.times = SetTimes(START)
        self.ledger = self.opened()

    def unopened(self) -> Ledger:
        """Return another ledger of the same directory."""
        ledger = Ledger(self.directory, self.times)
        self.addCleanup(ledger.close)
        return ledger

    def opened(self) -> Ledger:
        """Return another one that is open, as after a restart."""
        ledger = self.unopened()
        self.assertIsNone(ledger.open())
        return ledger

    def content(self) -> bytes:
        """Return what is in the file."""
        with open(self.path, "rb") as source:
            return source.read()

    def run_once(self, the_stop: Stop, outcome: str = "failed", **known: Any) -> Attempt:
        """Record an attempt from its intent to its outcome."""
        attempt = self.ledger.intent(the_stop)
        self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
        getattr(self.ledger, outcome)(attempt, **known)
        return attempt
