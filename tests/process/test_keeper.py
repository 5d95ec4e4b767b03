"""The keeper's lock, and other processes that hold it or inherit it."""

from __future__ import annotations

import subprocess
import time

from tests.support.keepers import KeeperTestCase
from tests.support.patience import PATIENCE
from tests.support.processes import program


class KeeperProcessTests(KeeperTestCase):
    def test_a_killed_holder_leaves_nothing_behind(self) -> None:
        with subprocess.Popen(
            program("keeper", self.directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            self.assertEqual(other.stdout.readline(), b"True\n")
            keeper = self.keeper()
            self.assertFalse(keeper.take())
            self.assertEqual(keeper.holder(), other.pid)
            other.kill()
        self.assertTrue(keeper.take())

    def test_a_command_that_the_keeper_starts_does_not_hold_the_lock(self) -> None:
        keeper = self.keeper()
        keeper.take()
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, close_fds=False) as child:
            keeper.release()
            other, deadline = self.keeper(), time.monotonic() + PATIENCE
            # The kernel closes descriptors after Popen has heard that exec went well.
            while not other.take():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            assert child.stdin is not None
            child.stdin.close()
