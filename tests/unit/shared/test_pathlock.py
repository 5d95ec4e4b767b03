"""A lock on a path: one holder at a time, and a file that nobody trips over."""

from __future__ import annotations

import errno
import os
import stat
import time

from palingenesis import pathlock
from palingenesis.pathlock import REFRESH_INTERVAL, LockHeld, PathLockError, holder
from tests.support.pathlocks import PathLockTestCase


class RefreshTests(PathLockTestCase):
    """The times of a lock file that is held."""

    def age(self) -> float:
        return time.time() - os.stat(self.path).st_mtime

    def test_a_file_that_is_a_day_old_is_renewed(self) -> None:
        lock = self.taken()
        os.utime(self.path, (0, time.time() - REFRESH_INTERVAL - 1))
        lock.refresh()
        self.assertLess(self.age(), REFRESH_INTERVAL / 2)

    def test_a_file_from_the_future_is_renewed(self) -> None:
        lock = self.taken()
        os.utime(self.path, (0, time.time() + REFRESH_INTERVAL))
        lock.refresh()
        self.assertGreater(self.age(), -1)

    def test_a_younger_file_is_left_alone(self) -> None:
        lock = self.taken()
        os.utime(self.path, (0, time.time() - REFRESH_INTERVAL / 2))
        lock.refresh()
        self.assertGreater(self.age(), REFRESH_INTERVAL / 4)

    def test_without_the_lock_nothing_is_done(self) -> None:
        self.lock().refresh()
        self.assertFalse(os.path.lexists(self.path))


class TakeTests(PathLockTestCase):
    def test_a_second_one_cannot_take_it(self) -> None:
        self.taken()
        error = self.assertRaises(LockHeld, self.lock().take)
        self.assertEqual(str(error), f"{self.path}: is locked by another process")

    def test_taking_it_twice_changes_nothing(self) -> None:
        lock = self.taken()
        lock.take()
        self.assertTrue(lock.held)

    def test_a_released_one_can_be_taken_and_its_file_stays(self) -> None:
        self.taken().release()
        self.assertTrue(os.path.lexists(self.path))
        self.assertTrue(self.taken().held)

    def test_a_lock_whose_file_was_deleted_or_replaced_is_not_held(self) -> None:
        lock = self.taken()
        os.unlink(self.path)
        self.assertFalse(lock.held)
        self.taken()
        self.assertFalse(lock.held)

    def test_a_file_in_a_missing_directory_is_an_error(self) -> None:
        self.path = os.path.join(self.directory, "no", "x.lock")
        error = self.assertRaises(PathLockError, self.lock().take)
        self.assertEqual(
            error.reason, "cannot be opened: no such file or directory; choose another path"
        )

    def test_another_path_is_not_advised_if_the_process_has_too_many_files(self) -> None:
        def exhausted(*_: object, **__: object) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(os, "open", exhausted)
        error = self.assertRaises(PathLockError, self.lock().take)
        self.assertEqual(error.reason, "cannot be opened: too many open files")

    def test_a_file_system_that_cannot_lock_leaves_nothing_and_says_so(self) -> None:
        for number in errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP:
            self.fail_with(number)
            with self.subTest(number=number):
                error = self.assertRaises(PathLockError, self.lock().take)
                self.assertEqual(
                    error.reason,
                    f"cannot be locked: {os.strerror(number).lower()}; "
                    "choose a path on a local file system",
                )
                self.assertEqual(os.listdir(self.directory), [])

    def test_a_file_that_was_there_stays_where_it_cannot_be_locked(self) -> None:
        with open(self.path, "w", encoding="ascii"):
            pass
        self.fail_with(errno.ENOLCK)
        self.assertRaises(PathLockError, self.lock().take)
        self.assertTrue(os.path.lexists(self.path))

    def fail_with(self, number: int) -> None:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        self.patch(pathlock.fcntl, "flock", fail)

    def test_the_file_is_private(self) -> None:
        self.taken()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)


class RollBackTests(PathLockTestCase):
    def test_a_new_file_is_gone(self) -> None:
        self.taken().roll_back()
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_file_that_was_there_stays(self) -> None:
        self.taken().release()
        self.taken().roll_back()
        self.assertTrue(self.is_free())

    def test_a_file_that_is_to_stay_does(self) -> None:
        lock = self.taken()
        lock.keep()
        lock.roll_back()
        self.assertTrue(self.is_free())

    def test_a_file_that_is_another_ones_by_now_stays(self) -> None:
        lock = self.taken()
        os.unlink(self.path)
        other = self.taken()
        lock.roll_back()
        self.assertTrue(other.held)

    def test_rolling_back_what_was_never_taken_changes_nothing(self) -> None:
        other = self.taken()
        self.lock().roll_back()
        self.assertTrue(other.held)


class HolderTests(PathLockTestCase):
    def test_the_process_with_the_lock_is_found(self) -> None:
        self.taken()
        found = holder(self.path)
        assert found is not None
        self.assertEqual(found, (os.getpid(), os.geteuid(), os.getegid()))

    def test_a_file_that_is_open_and_not_locked_has_no_holder(self) -> None:
        with open(self.path, "w", encoding="ascii"):
            self.assertIsNone(holder(self.path))

    def test_a_lock_on_a_deleted_file_is_not_the_new_file_s(self) -> None:
        self.taken()
        os.unlink(self.path)
        with open(self.path, "w", encoding="ascii"):
            self.assertIsNone(holder(self.path))

    def test_a_file_that_is_missing_has_no_holder(self) -> None:
        self.assertIsNone(holder(self.path))

    def test_the_file_may_be_named_by_a_link(self) -> None:
        self.taken()
        link = os.path.join(self.directory, "link")
        os.symlink(self.path, link)
        self.assertIsNotNone(holder(link))
