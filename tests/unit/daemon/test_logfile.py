"""The log file of a daemon in the background."""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon.logfile import PrivateLogFile
from palingenesis.paths import PathError


class LogFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory, 0o700)
        self.path = os.path.join(self.directory, "twistd.log")

    def open(self) -> PrivateLogFile:
        file = PrivateLogFile.fromFullPath(self.path)
        self.addCleanup(lambda: file.closed or file.close())
        return file

    def content(self, name: str = "twistd.log") -> str:
        with open(os.path.join(self.directory, name), encoding="utf-8") as file:
            return file.read()

    def test_two_writers_lose_no_line_of_each_other(self) -> None:
        one, other = self.open(), self.open()
        for number in range(3):
            one.write(f"one {number}\n")
            other.write(f"other {number}\n")
        self.assertEqual(len(self.content().splitlines()), 6)

    def test_what_is_there_is_kept_and_counts_for_the_rotation(self) -> None:
        self.open().write("before\n")
        again = self.open()
        self.assertEqual(again.size, len("before\n"))
        again.rotate()
        again.write("after\n")
        self.assertEqual((self.content("twistd.log.1"), self.content()), ("before\n", "after\n"))

    def test_a_new_file_is_private_under_any_umask(self) -> None:
        for umask in (0, 0o777):
            before = os.umask(umask)
            try:
                self.open()
            finally:
                os.umask(before)
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
            os.unlink(self.path)

    def test_what_is_no_regular_file_is_an_error_in_one_line(self) -> None:
        os.symlink("elsewhere", self.path)
        self.assertIn("a symbolic link", str(self.assertRaises(PathError, self.open)))
        self.assertEqual(os.listdir(self.directory), ["twistd.log"])
        os.unlink(self.path)
        os.mkfifo(self.path)
        self.assertIn("cannot be opened", str(self.assertRaises(PathError, self.open)))

    def test_a_device_is_left_as_it_is(self) -> None:
        before = os.stat(os.devnull).st_mode
        file = PrivateLogFile.fromFullPath(os.devnull)
        file.write("nothing\n")
        file.close()
        self.assertEqual(os.stat(os.devnull).st_mode, before)
