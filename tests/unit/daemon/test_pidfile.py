"""A PID file is removed when its process cannot have written it, and only then."""

from __future__ import annotations

import errno
import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon import pidfile
from palingenesis.daemon.pidfile import clear_unusable
from palingenesis.paths import PathError
from tests.support.pidfiles import PidFileTestCase

ADVICE = "name another file"


class ClearTests(PidFileTestCase):
    def test_no_file_is_nothing_to_do(self) -> None:
        self.assertFalse(self.is_kept())

    def test_our_own_pid_is_a_dead_daemon_s(self) -> None:
        self.write(f"{os.getpid()}\n")
        self.assertFalse(self.is_kept())

    def test_without_proc_a_living_process_keeps_it(self) -> None:
        self.patch(pidfile, "has_ended", lambda _: False)
        self.patch(pidfile, "arguments_of", lambda _: [])
        self.patch(os.path, "isdir", lambda path: path != "/proc/self")
        self.patch(sys, "platform", "freebsd14")
        self.write("1234\n")
        self.assertTrue(self.is_kept())

    def test_another_user_s_process_keeps_it_on_macos_only_if_it_may_be_python(self) -> None:
        """The kernel hides its command line; after a reboot, the pid may be any program's."""
        self.patch(pidfile, "has_ended", lambda _: False)
        self.patch(pidfile, "arguments_of", lambda _: [])
        self.patch(sys, "platform", "darwin")
        for name, is_kept in (
            *(("launchd", False), ("claude", False)),
            *(("Python", True), ("python3.12", True), ("pypy3.11", True), (None, True)),
        ):
            self.write("1234\n")
            self.patch(pidfile, "command_of", lambda _, name=name: name)
            self.assertEqual(self.is_kept(), is_kept, name)

    def test_a_pid_that_no_process_can_have_is_replaced(self) -> None:
        for pid in "0", "-1", "2147483648", "9" * 30:
            self.write(pid)
            with self.subTest(pid=pid):
                self.assertFalse(self.is_kept())

    def test_an_empty_torn_or_nonsense_file_is_replaced(self) -> None:
        for content in (b"", b"\n", b"twistd", b"12 13", b"\xff\xfe", "१२".encode(), bytes(8)):
            self.write(content)
            with self.subTest(content=content):
                self.assertFalse(self.is_kept())

    def test_what_is_replaced_is_told(self) -> None:
        self.write(b"")
        self.assertEqual(
            clear_unusable(self.path, ADVICE), [f"The PID file {self.path} held no PID: removed it"]
        )

    def test_a_file_too_long_for_a_pid_is_moved_aside_with_its_content(self) -> None:
        content = b"a letter to somebody, precious in its way"
        self.write(content)
        self.assertFalse(self.is_kept())
        with open(f"{self.path}.moved-1", "rb") as moved:
            self.assertEqual(moved.read(), content)

    def test_what_is_no_regular_file_is_an_error_at_once(self) -> None:
        os.mkdir(self.path)
        error = self.assertRaises(PathError, clear_unusable, self.path, ADVICE)
        self.assertIn("is a directory; name another file", error.reason)
        os.rmdir(self.path)
        os.mkfifo(self.path)
        error = self.assertRaises(PathError, clear_unusable, self.path, ADVICE)
        self.assertIn("not a regular file", error.reason)

    def test_a_file_that_cannot_be_removed_is_an_error_in_one_line(self) -> None:
        def refuse(path: str) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        self.write(f"{os.getpid()}\n")
        self.patch(os, "unlink", refuse)
        error = self.assertRaises(PathError, clear_unusable, self.path, ADVICE)
        self.assertEqual(
            error.reason,
            "cannot be replaced: permission denied; name another file",
        )
        self.assertTrue(os.path.lexists(self.path))


class PidFileOptionTests(SynchronousTestCase):
    """The PID file that a command line of twistd names."""

    def test_every_spelling_that_twistd_takes_is_understood(self) -> None:
        for words, expected in (
            ("twistd -n web", "twistd.pid"),
            ("python3 /usr/bin/twistd --pidfile=/run/a web", "/run/a"),
            ("twistd --pidfile /run/a -n web", "/run/a"),
            ("twistd --pidf=/run/a web", "/run/a"),
            ("twistd --pidfile= -n web", ""),
        ):
            with self.subTest(words=words):
                self.assertEqual(pidfile._pidfile_of(words.split()), expected)
