"""A test case for the lock of the daemon that revives."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.keeper import Keeper


class KeeperTestCase(SynchronousTestCase):
    """
    A test of a state directory that several want to keep.

    :ivar directory: where it is to be.
    """

    def setUp(self) -> None:
        self.directory = os.path.join(os.path.abspath(self.mktemp()), "state")

    def keeper(self) -> Keeper:
        """Make one that wants to be the keeper; it lets go at the end of the test."""
        keeper = Keeper(self.directory)
        self.addCleanup(keeper.release)
        return keeper
