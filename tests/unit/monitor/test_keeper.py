"""The keeper: one daemon holds the lock, the others know which."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import keeper as keeper_module
from palingenesis.monitor.keeper import LOCK_NAME, other_daemons
from palingenesis.monitor.owners import Snapshot
from palingenesis.monitor.processes import Process
from tests.support.keepers import KeeperTestCase
from tests.support.needs import needs_linux


class KeeperTests(KeeperTestCase):
    def test_the_first_one_is_the_keeper(self) -> None:
        keeper = self.keeper()
        self.assertTrue(keeper.take())
        self.assertEqual(keeper.holder(), os.getpid())

    def test_the_keeper_stays_it(self) -> None:
        keeper = self.keeper()
        keeper.take()
        self.assertTrue(keeper.take())

    def test_a_second_daemon_is_not_the_keeper_and_knows_the_first(self) -> None:
        first, second = self.keeper(), self.keeper()
        first.take()
        self.assertFalse(second.take())
        self.assertEqual((second.holder(), second.warning), (os.getpid(), None))

    def test_a_second_one_takes_over_when_the_first_has_let_go(self) -> None:
        first, second = self.keeper(), self.keeper()
        first.take()
        second.take()
        first.release()
        self.assertTrue(second.take())

    def test_a_deleted_lock_is_taken_afresh(self) -> None:
        keeper = self.keeper()
        keeper.take()
        os.unlink(os.path.join(self.directory, LOCK_NAME))
        self.assertTrue(keeper.take())
        self.assertFalse(self.keeper().take())

    def test_a_daemon_that_has_the_new_lock_of_a_deleted_one_is_the_only_keeper(self) -> None:
        first, second = self.keeper(), self.keeper()
        first.take()
        os.unlink(os.path.join(self.directory, LOCK_NAME))
        self.assertTrue(second.take())
        self.assertFalse(first.take())
        self.assertFalse(first.held)

    def test_the_lock_is_private(self) -> None:
        self.keeper().take()
        path = os.path.join(self.directory, LOCK_NAME)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_a_link_in_the_place_of_the_lock_is_not_followed(self) -> None:
        os.makedirs(self.directory, 0o700)
        target = os.path.abspath(self.mktemp())
        os.symlink(target, os.path.join(self.directory, LOCK_NAME))
        keeper = self.keeper()
        self.assertFalse(keeper.take())
        self.assertFalse(os.path.exists(target))
        self.assertIn("cannot lock", keeper.warning or "")

    def test_a_directory_that_others_can_read_is_a_warning(self) -> None:
        os.makedirs(self.directory)
        os.chmod(self.directory, 0o755)
        keeper = self.keeper()
        self.assertFalse(keeper.take())
        self.assertIn("chmod 700", keeper.warning or "")

    def test_a_holder_that_wrote_nonsense_has_no_pid(self) -> None:
        os.makedirs(self.directory, 0o700)
        with open(os.path.join(self.directory, LOCK_NAME), "w") as file:
            file.write("nobody")
        self.assertIsNone(self.keeper().holder())


@needs_linux("descriptors are listed in /proc")
class OtherDaemonTests(SynchronousTestCase):
    """Daemons of the user with another state directory, by the lock that each has open."""

    def process(self, *arguments: str, pid: int = 77, lock: str = "/other/keeper.lock") -> Process:
        files = os.path.join(os.path.abspath(self.mktemp()), "fd")
        os.makedirs(files)
        os.symlink(lock, os.path.join(files, "5"))
        return Process(pid, "1", arguments or ("/x/twistd", "palingenesis"), files=files)

    def lines(self, process: Process, home: str | None = None) -> list[str]:
        return list(other_daemons(Snapshot({process.pid: process}), "/state", home))

    def test_a_daemon_with_another_state_directory_is_named(self) -> None:
        (line,) = self.lines(self.process())
        self.assertIn("pid 77 keeps another state directory, /other:", line)

    def test_other_processes_are_no_such_daemon(self) -> None:
        for process in (
            self.process(lock="/state/keeper.lock"),
            self.process(lock="/other/another.lock"),
            self.process("/x/twistd", "web"),
            self.process("vim", "palingenesis"),
            self.process(pid=os.getpid()),
        ):
            self.assertEqual(self.lines(process), [], process)

    def test_a_daemon_of_another_home_directory_is_left_out(self) -> None:
        for environment, home, count in (
            ({"HOME": "/h"}, "/h", 1),
            ({"HOME": "/other"}, "/h", 0),
            ({"HOME": "/other"}, None, 1),
            ({}, "/h", 1),
            (None, "/h", 1),
        ):
            self.patch(keeper_module, "environment_of", {77: environment}.get)
            self.assertEqual(len(self.lines(self.process(), home)), count, (environment, home))

    def test_a_daemon_that_hides_its_files_is_left_out(self) -> None:
        process = self.process()
        assert process.files is not None
        os.unlink(os.path.join(process.files, "5"))
        os.rmdir(process.files)
        with open(process.files, "w"):
            pass
        self.assertEqual(self.lines(process), [])
