"""Which files and directories other users cannot change."""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import trust
from palingenesis.paths import PathError
from palingenesis.trust import distrusted, make_private, remove_made, write_new
from tests.support.needs import needs_root
from tests.support.users import NOBODY


class TrustTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        # Not trial's own directory, which a wide umask opens to others.
        self.uid = os.geteuid()
        self.directory = os.path.realpath(self.mktemp())
        self.addCleanup(os.umask, os.umask(0o077))
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "file")
        # What is above it is the machine's.
        above = os.path.dirname(self.directory)
        places = trust._places
        self.patch(
            trust,
            "_places",
            lambda path: (p for p in places(path) if p != above and not above.startswith(f"{p}/")),
        )

    def write(self, mode: int) -> None:
        with open(self.path, "w", encoding="ascii"):
            os.chmod(self.path, mode)


class DistrustedTests(TrustTestCase):
    def test_a_private_file_is_trusted(self) -> None:
        self.write(0o644)
        self.assertIsNone(distrusted(self.path, self.uid))

    def test_a_file_that_all_can_write_to_is_not(self) -> None:
        self.write(0o666)
        self.assertEqual(
            distrusted(self.path, self.uid), f"{self.path} can be written to by all (mode 0666)"
        )

    def test_a_directory_above_it_counts_unless_it_is_sticky(self) -> None:
        self.write(0o600)
        os.chmod(self.directory, 0o777)
        self.assertIn(f"{self.directory} can be", str(distrusted(self.path, self.uid)))
        os.chmod(self.directory, 0o1777)
        self.assertIsNone(distrusted(self.path, self.uid))

    def test_a_group_counts_if_it_has_other_members(self) -> None:
        self.write(0o660)
        for others, reason in ((True, "by its group (mode 0660)"), (False, "None")):
            self.patch(trust, "_has_others", lambda *_, others=others: others)
            self.assertIn(reason, str(distrusted(self.path, self.uid)))

    def test_both_sides_of_a_link_count(self) -> None:
        self.write(0o600)
        there = os.path.join(self.directory, "there")
        os.mkdir(there)
        link = os.path.join(there, "link")
        os.symlink(self.path, link)
        self.assertIsNone(distrusted(link, self.uid))
        os.chmod(self.path, 0o666)
        self.assertIn(self.path, str(distrusted(link, self.uid)))
        os.chmod(self.path, 0o600)
        os.chmod(there, 0o777)
        self.assertIn(there, str(distrusted(link, self.uid)))

    def test_links_in_a_circle_do_not_hold_it_up(self) -> None:
        os.symlink("file", self.path)
        self.assertIsNone(distrusted(self.path, self.uid))

    @needs_root
    def test_another_users_file_is_not_trusted_and_root_s_is(self) -> None:
        self.write(0o600)
        os.chown(self.path, NOBODY, NOBODY)
        self.assertIn(f"belongs to uid {NOBODY}", str(distrusted(self.path, 0)))
        self.assertIsNone(distrusted(self.path, NOBODY))
        os.chown(self.path, 0, 0)
        self.assertIsNone(distrusted(self.path, NOBODY))


class GroupTests(SynchronousTestCase):
    def test_a_group_without_a_name_may_have_anybody_in_it(self) -> None:
        self.assertTrue(trust._has_others(2_000_000_001, os.getuid()))

    def test_root_is_no_other(self) -> None:
        self.assertFalse(trust._has_others(0, 0))


class MakeTests(TrustTestCase):
    def test_each_directory_is_private_under_any_umask(self) -> None:
        path = os.path.join(self.directory, "a", "b", "c")
        for umask in (0, 0o777):
            before = os.umask(umask)
            try:
                made = make_private(path, self.uid, "name another")
            finally:
                os.umask(before)
            self.assertEqual([os.path.basename(each) for each in made], ["a", "b", "c"])
            self.assertEqual({stat.S_IMODE(os.stat(each).st_mode) for each in made}, {0o700})
            remove_made(made)
            self.assertEqual(os.listdir(self.directory), [])

    def test_nothing_is_made_where_others_can_change_it(self) -> None:
        os.chmod(self.directory, 0o777)
        path = os.path.join(self.directory, "a", "b")
        error = self.assertRaises(PathError, make_private, path, self.uid, "give --state DIR")
        self.assertIn("can be written to by all", error.reason)
        self.assertIn("; give --state DIR", error.reason)
        self.assertEqual(os.listdir(self.directory), [])

    def test_what_was_made_before_a_failure_is_removed(self) -> None:
        path = os.path.join(self.directory, "a", "x" * 300)
        error = self.assertRaises(PathError, make_private, path, self.uid, "give --state DIR")
        self.assertIn("cannot be made: file name too long; give --state DIR", error.reason)
        self.assertEqual(os.listdir(self.directory), [])

    def test_what_has_something_in_it_stays(self) -> None:
        made = make_private(os.path.join(self.directory, "a", "b"), self.uid, "")
        with open(os.path.join(made[0], "kept"), "w", encoding="ascii"):
            remove_made(made)
        self.assertEqual(os.listdir(made[0]), ["kept"])


class WriteNewTests(TrustTestCase):
    def test_a_new_file_is_private_whatever_the_umask_is(self) -> None:
        for umask in (0, 0o777):
            before = os.umask(umask)
            try:
                write_new(self.path, "text")
            finally:
                os.umask(before)
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
            with open(self.path, encoding="ascii") as file:
                self.assertEqual(file.read(), "text")
            os.unlink(self.path)

    def test_what_is_there_is_neither_changed_nor_followed(self) -> None:
        self.write(0o600)
        self.assertRaises(FileExistsError, write_new, self.path, "text")
        self.assertEqual(os.stat(self.path).st_size, 0)
        link = os.path.join(self.directory, "link")
        os.symlink(os.path.join(self.directory, "missing"), link)
        self.assertRaises(FileExistsError, write_new, link, "text")
        self.assertEqual(sorted(os.listdir(self.directory)), ["file", "link"])

    def test_no_half_of_a_file_stays(self) -> None:
        self.assertRaises(UnicodeEncodeError, write_new, self.path, "\ud800")
        self.assertEqual(os.listdir(self.directory), [])
