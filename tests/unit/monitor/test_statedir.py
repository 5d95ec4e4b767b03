"""The state directory: where it is, and that it is private."""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.statedir import StateError, check_directory, prepare_directory
from palingenesis.paths import state_directory
from tests.support.private import private_path


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"HOME": "/home/you", "PALINGENESIS_STATE": "/from/environment"})

    def test_a_path_that_is_given_decides(self) -> None:
        self.assertEqual(state_directory("/given"), "/given")

    def test_the_environment_names_the_state_directory_second(self) -> None:
        self.assertEqual(state_directory(), "/from/environment")

    def test_the_platform_names_the_state_directory_last(self) -> None:
        del os.environ["PALINGENESIS_STATE"]
        self.assertEqual(os.path.basename(state_directory()), "palingenesis")

    def test_the_home_directory_is_expanded(self) -> None:
        self.assertEqual(state_directory("~/state"), "/home/you/state")


class PrepareTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = private_path(self)

    def test_a_state_directory_is_made_private_with_its_parents_whatever_the_umask(self) -> None:
        before = os.umask(0o277)
        try:
            prepare_directory(os.path.join(self.base, "a", "b"))
        finally:
            os.umask(before)
        modes = [
            stat.S_IMODE(os.stat(os.path.join(self.base, each)).st_mode) for each in ("a", "a/b")
        ]
        self.assertEqual(modes, [0o700, 0o700])

    def test_a_state_directory_that_is_there_is_left_as_it_is(self) -> None:
        os.mkdir(self.base, 0o500)
        prepare_directory(self.base)
        self.assertEqual(stat.S_IMODE(os.stat(self.base).st_mode), 0o500)

    def test_a_file_in_its_place_is_refused(self) -> None:
        os.close(os.open(self.base, os.O_CREAT | os.O_WRONLY, 0o600))
        self.assertRaisesRegex(StateError, "not a directory", prepare_directory, self.base)

    def test_a_state_directory_that_others_can_change_or_move_is_refused(self) -> None:
        path = os.path.join(self.base, "state")
        for opened in (self.base, path):
            os.makedirs(path, 0o700, exist_ok=True)
            os.chmod(opened, 0o777)
            told = f"{opened} can be written to by all .mode 0777."
            self.assertRaisesRegex(StateError, told, prepare_directory, path)
            os.chmod(opened, 0o700)

    def test_a_file_in_the_way_is_refused(self) -> None:
        os.close(os.open(self.base, os.O_CREAT | os.O_WRONLY, 0o600))
        path = os.path.join(self.base, "state")
        self.assertRaisesRegex(StateError, "not a directory", prepare_directory, path)

    def test_a_state_directory_of_another_user_or_with_another_mode_is_refused(self) -> None:
        os.mkdir(self.base, 0o700)
        check_directory(self.base)
        for mode in (0o701, 0o710, 0o704, 0o740):
            os.chmod(self.base, mode)
            error = self.assertRaises(StateError, check_directory, self.base)
            self.assertIn(f"has mode {mode:04o}, which lets other users in;", str(error))
        os.chmod(self.base, 0o700)
        uid = os.geteuid()
        self.patch(os, "geteuid", lambda: uid + 1)
        error = self.assertRaises(StateError, check_directory, self.base)
        self.assertIn(f"belongs to uid {uid}; name another with --state", str(error))
        os.rmdir(self.base)
        self.assertRaises(FileNotFoundError, check_directory, self.base)

    def test_the_error_is_one_line_whatever_the_path(self) -> None:
        self.assertNotIn("\n", str(StateError("/a\nb", "why")))
