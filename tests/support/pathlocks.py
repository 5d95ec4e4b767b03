"""A test case for a lock on a path."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.pathlock import PathLock


class PathLockTestCase(SynchronousTestCase):
    """
    A test of one lock.

    :ivar directory: a private one.
    :ivar path: the path of the lock file, in it.
    """

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="pal-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "x.lock")

    def lock(self) -> PathLock:
        """Make a lock; it is released at the end of the test."""
        lock = PathLock(self.path)
        self.addCleanup(lock.release)
        return lock

    def taken(self) -> PathLock:
        """Make a lock and take it."""
        lock = self.lock()
        lock.take()
        return lock

    def is_free(self) -> bool:
        """Return whether another process could have the lock now."""
        with open(self.path, "a", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True
