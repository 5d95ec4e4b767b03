"""A test case for the lock of the daemon that revives."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.keeper import Keeper
from tests.support.private import private_path


class KeeperTestCase(SynchronousTestCase):
    """
    A test of a state directory that several want to keep.

    :ivar directory: where it is to be.
    """

    def setUp(self) -> None:
        self.directory = private_path(self)

    def keeper(self) -> Keeper:
        """Make one that wants to be the keeper; it lets go at the end of the test."""
        keeper = Keeper(self.directory)
        self.addCleanup(keeper.release)
        return keeper
