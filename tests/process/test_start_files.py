"""The files that a start makes: where, for whom, and with which modes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from palingenesis.cli.exit_status import Exit
from tests.support.needs import needs_root
from tests.support.starts import StartStopTestCase
from tests.support.users import NOBODY


def mode(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


class HomeTests(StartStopTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = self.place.path("home")
        os.mkdir(self.home, 0o700)

    @needs_root
    def test_root_makes_nothing_in_the_home_of_another_user(self) -> None:
        os.chown(self.home, NOBODY, NOBODY)
        done = self.run_command("start", HOME=self.home, PALINGENESIS_STATE="")
        self.assert_fails(done, Exit.USAGE, f"{self.home} belongs to uid {NOBODY}", "--state DIR")
        self.assertEqual(os.listdir(self.home), [])
        self.assertEqual(self.place.strays(), [])

    @needs_root
    def test_root_uses_no_state_directory_of_another_user(self) -> None:
        os.mkdir(self.place.state, 0o700)
        os.chown(self.place.state, NOBODY, NOBODY)
        done = self.run_command("start")
        self.assert_fails(done, Exit.USAGE, f"belongs to uid {NOBODY}", "--state DIR")
        self.assertEqual(os.listdir(self.place.state), [])

    def test_a_start_that_fails_leaves_no_directory_that_it_made(self) -> None:
        os.mkdir(self.place.socket)
        done = self.run_command("start", HOME=self.home, PALINGENESIS_STATE="")
        self.assert_fails(done, Exit.USAGE, "there is a directory")
        self.assertEqual(os.listdir(self.home), [])

    def test_each_directory_is_private_whatever_the_umask(self) -> None:
        for umask in (0, 0o177, 0o777):
            home = self.place.path(f"home-{umask:o}")
            os.mkdir(home, 0o700)
            with self.subTest(umask=oct(umask)):
                done = self.run_command("start", umask=umask, HOME=home, PALINGENESIS_STATE="")
                self.assertEqual(done.returncode, 0, done.stderr)
                state = os.path.join(home, ".local", "state", "palingenesis")
                for made in (state, os.path.dirname(state), os.path.join(home, ".local")):
                    self.assertEqual(mode(made), 0o700, made)
                self.assertEqual(mode(os.path.join(state, "twistd.log")), 0o600)
                self.assertEqual(self.run_command("stop").returncode, 0)


class LogTests(StartStopTestCase):
    def setUp(self) -> None:
        super().setUp()
        os.mkdir(self.place.state, 0o700)
        self.log = os.path.join(self.place.state, "twistd.log")

    def test_a_link_in_the_place_of_the_log_is_not_followed(self) -> None:
        precious = self.place.write("precious", "precious")
        os.symlink(precious, self.log)
        done = self.run_command("start")
        self.assert_fails(done, Exit.USAGE, self.log, "is a symbolic link", "give --state DIR")
        self.assertEqual(Path(precious).read_text(), "precious")
        self.assertFalse(os.path.lexists(self.place.socket))

    def test_a_link_in_the_place_of_a_log_that_twistd_is_given_is_not_followed(self) -> None:
        precious = self.place.write("precious", "precious")
        os.symlink(precious, self.log)
        started = self.place.twistd(before=("--logfile", self.log))
        self.assert_refused(started, "is a symbolic link", "twistd --logfile=FILE")
        self.assertEqual(Path(precious).read_text(), "precious")

    @needs_root
    def test_a_log_of_another_user_is_not_written_to(self) -> None:
        Path(self.log).write_text("theirs")
        os.chown(self.log, NOBODY, NOBODY)
        self.assert_fails(self.run_command("start"), Exit.USAGE, f"belongs to uid {NOBODY}")
        self.assertEqual(Path(self.log).read_text(), "theirs")

    def test_a_log_that_others_could_read_is_closed_to_them(self) -> None:
        Path(self.log).write_text("before\n")
        os.chmod(self.log, 0o666)
        self.started()
        self.assertEqual(mode(self.log), 0o600)
        self.assertTrue(Path(self.log).read_text().startswith("before\n"))

    def test_two_daemons_of_a_user_have_a_log_each(self) -> None:
        self.started()
        other = self.place.path("jobs.sock")
        self.started("--socket", other)
        logs = {
            name: Path(self.place.state, name).read_text() for name in ("twistd.log", "jobs.log")
        }
        for name, path in (("twistd.log", self.place.socket), ("jobs.log", other)):
            listening = [line for line in logs[name].splitlines() if "Listening on" in line]
            self.assertEqual(len(listening), 1, logs[name])
            self.assertTrue(listening[0].endswith(path), listening)

    def test_a_hint_names_an_option_of_the_command_that_was_typed(self) -> None:
        os.mkdir(self.log)
        done = self.run_command("start")
        self.assert_fails(done, Exit.USAGE, "is a directory; give --state DIR")
        self.assertNotIn("twistd --", done.stderr)
