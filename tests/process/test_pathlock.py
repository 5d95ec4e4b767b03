"""A lock on a path, and the children of its holder."""

from __future__ import annotations

import os

from tests.support.pathlocks import PathLockTestCase
from tests.support.users import as_user


class ForkTests(PathLockTestCase):
    """A forked child has a copy of the descriptor."""

    def test_a_child_that_releases_takes_the_lock_from_nobody(self) -> None:
        lock = self.taken()
        self.assertIsNone(as_user(os.geteuid(), lock.release))
        self.assertFalse(self.is_free())

    def test_a_child_that_forgets_takes_the_lock_from_nobody(self) -> None:
        lock = self.taken()
        self.assertIsNone(as_user(os.geteuid(), lock.forget))
        self.assertFalse(self.is_free())

    def test_a_release_frees_the_lock_though_a_child_has_it_open(self) -> None:
        lock = self.taken()
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writable)
            os.read(readable, 1)
            os._exit(0)
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.close, readable)
        self.addCleanup(os.close, writable)
        lock.release()
        self.assertTrue(self.is_free())
