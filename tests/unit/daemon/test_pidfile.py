"""A PID file is removed when its process cannot have written it, and only then."""

from __future__ import annotations

import errno
import os
import time

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import procfs
from palingenesis.daemon import pidfile
from palingenesis.daemon.pidfile import clear_unusable
from palingenesis.paths import PathError
from tests.support.needs import needs_linux
from tests.support.pidfiles import PidFileTestCase


class ClearTests(PidFileTestCase):
    def test_no_file_is_nothing_to_do(self) -> None:
        self.assertFalse(self.is_kept())

    def test_our_own_pid_is_a_dead_daemon_s(self) -> None:
        self.write(f"{os.getpid()}\n")
        self.assertFalse(self.is_kept())

    def test_a_process_of_which_nothing_more_is_known_keeps_it(self) -> None:
        self.patch(pidfile, "has_ended", lambda _: False)
        self.patch(pidfile, "_began", lambda _: 0)
        self.write("1234\n", age=3600)
        self.assertTrue(self.is_kept())

    def test_a_pid_that_no_process_can_have_is_replaced(self) -> None:
        for pid in "0", "-1", "2147483648", "9" * 30:
            self.write(pid, age=-3600)
            with self.subTest(pid=pid):
                self.assertFalse(self.is_kept())

    def test_an_empty_torn_or_nonsense_file_is_replaced(self) -> None:
        for content in (b"", b"\n", b"twistd", b"12 13", b"\xff\xfe", "१२".encode(), bytes(8)):
            self.write(content, age=-3600)
            with self.subTest(content=content):
                self.assertFalse(self.is_kept())

    def test_what_is_replaced_is_told(self) -> None:
        self.write(b"")
        self.assertEqual(
            clear_unusable(self.path), [f"The PID file {self.path} held no PID: removed it"]
        )

    def test_a_file_too_long_for_a_pid_is_moved_aside_with_its_content(self) -> None:
        content = b"a letter to somebody, precious in its way"
        self.write(content)
        self.assertFalse(self.is_kept())
        with open(f"{self.path}.moved-1", "rb") as moved:
            self.assertEqual(moved.read(), content)

    def test_what_is_no_regular_file_is_an_error_at_once(self) -> None:
        os.mkdir(self.path)
        error = self.assertRaises(PathError, clear_unusable, self.path)
        self.assertIn("is a directory; name another with twistd --pidfile=FILE", error.reason)
        os.rmdir(self.path)
        os.mkfifo(self.path)
        error = self.assertRaises(PathError, clear_unusable, self.path)
        self.assertIn("not a regular file", error.reason)

    def test_a_file_that_cannot_be_removed_is_an_error_in_one_line(self) -> None:
        def refuse(path: str) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        self.write(f"{os.getpid()}\n")
        self.patch(os, "unlink", refuse)
        error = self.assertRaises(PathError, clear_unusable, self.path)
        self.assertEqual(
            error.reason,
            "cannot be replaced: permission denied; name another with twistd --pidfile=FILE",
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


@needs_linux
class BeganTests(SynchronousTestCase):
    def began(self, stat: str, boot: str = "cpu 1\nbtime 1000\nprocesses 2\n") -> float:
        directory = self.mktemp()
        os.mkdir(directory)
        names = {"/proc/7/stat": "process", "/proc/stat": "boot"}
        for name, content in ("process", stat), ("boot", boot):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(content)

        def open_copy(path: str, *mode: str, **how: str) -> object:
            return open(os.path.join(directory, names[path]), *mode, **how)

        for module in pidfile, procfs:
            module.open = open_copy  # type: ignore[attr-defined]
            self.addCleanup(delattr, module, "open")
        return pidfile._began(7)

    def line(self, command: str) -> str:
        ticks = 250 * os.sysconf("SC_CLK_TCK")
        return f"7 ({command}) S {' '.join('1' * 18)} {ticks} 9 9 9\n"

    def test_it_is_counted_from_the_boot(self) -> None:
        self.assertEqual(self.began(self.line("twistd")), 1250.0)

    def test_a_command_may_be_named_anything(self) -> None:
        self.assertEqual(self.began(self.line(") S 1 (a b)\n")), 1250.0)

    def test_it_is_not_known_where_the_kernel_says_too_little(self) -> None:
        self.assertEqual(self.began("7 (twistd) S 1\n"), 0)

    def test_it_is_not_known_where_the_boot_is_not(self) -> None:
        self.assertEqual(self.began(self.line("twistd"), boot="cpu 1\n"), 0)

    def test_of_this_process_it_is_in_the_past(self) -> None:
        began = pidfile._began(os.getpid())
        # The boot is told in whole seconds.
        self.assertTrue(time.time() - 86_400 < began < time.time() + 1, began)
