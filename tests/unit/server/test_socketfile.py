"""The socket's file: what is at the path, and what becomes of it."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import socket
import stat
import sys

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.paths import PATH_LIMIT, PathError
from palingenesis.server import socketfile
from palingenesis.server.socketfile import PathState, SocketFile, SocketFileError, SocketInUse
from tests.support.needs import needs_linux, needs_root
from tests.support.socketfiles import SocketFileTestCase
from tests.support.sockets import identity, leave_stale, listen_at
from tests.support.users import NOBODY


class ClaimTests(SocketFileTestCase):
    """What is at the path decides whether it can be had."""

    def test_a_free_path_is_had_and_the_lock_file_is_private(self):
        self.bound()
        self.assertEqual(stat.S_IMODE(os.lstat(self.lock).st_mode), 0o600)
        self.assertEqual(sorted(os.listdir(self.directory)), ["s.sock", "s.sock.lock"])

    def test_a_stale_socket_is_replaced(self):
        leave_stale(self.path)
        before = identity(self.path)
        file = self.bound()
        self.assertEqual(file.check(), PathState.OURS)
        self.assertNotEqual(identity(self.path), before)
        self.assertIsNone(file.moved)

    def test_a_bound_socket_that_does_not_listen_is_stale(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.bind(self.path)
            self.bound()

    def test_a_second_claim_of_the_same_file_changes_nothing(self):
        file = self.bound()
        before = identity(self.path)
        file.claim()
        self.assertEqual(identity(self.path), before)

    def test_an_empty_file_is_moved_aside(self):
        self.write("s.sock")
        file = self.bound()
        self.assertEqual(file.moved, f"{self.path}.moved-1")
        self.assertEqual(self.read("s.sock.moved-1"), "")

    def test_a_file_is_moved_aside_with_its_content_mode_and_inode(self):
        self.write("s.sock", "precious")
        os.chmod(self.path, 0o640)
        before = identity(self.path)
        self.bound()
        self.assertEqual(self.read("s.sock.moved-1"), "precious")
        self.assertEqual(identity(self.at("s.sock.moved-1")), before)

    def test_a_file_is_never_moved_over_another(self):
        self.write("s.sock.moved-1", "the first")
        os.symlink(self.at("nowhere"), self.at("s.sock.moved-2"))
        self.write("s.sock", "the third")
        file = self.bound()
        self.assertEqual(file.moved, f"{self.path}.moved-3")
        self.assertEqual(self.read("s.sock.moved-1"), "the first")
        self.assertEqual(os.readlink(self.at("s.sock.moved-2")), self.at("nowhere"))
        self.assertEqual(self.read("s.sock.moved-3"), "the third")

    def test_a_directory_at_the_path_stays(self):
        os.mkdir(self.path)
        self.write("s.sock/inside", "kept")
        self.assertIn("a directory", self.refusal().reason)

    def test_a_fifo_at_the_path_stays(self):
        os.mkfifo(self.path)
        self.assertIn("a FIFO", self.refusal().reason)

    def test_a_symbolic_link_to_a_file_stays_and_so_does_the_file(self):
        os.symlink(self.write("target", "kept"), self.path)
        self.assertIn("a symbolic link", self.refusal().reason)
        self.assertEqual(self.read("target"), "kept")

    def test_a_symbolic_link_to_a_live_socket_stays(self):
        self.addCleanup(listen_at(self.at("live")).close)
        os.symlink(self.at("live"), self.path)
        self.assertIn("a symbolic link", self.refusal().reason)

    def test_a_symbolic_link_to_a_stale_socket_stays(self):
        leave_stale(self.at("stale"))
        os.symlink(self.at("stale"), self.path)
        self.assertIn("a symbolic link", self.refusal().reason)

    def test_a_dangling_symbolic_link_stays(self):
        os.symlink(self.at("nowhere"), self.path)
        self.assertIn("a symbolic link", self.refusal().reason)

    @needs_root
    def test_a_device_at_the_path_stays(self):
        os.mknod(self.path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        self.assertIn("a device", self.refusal().reason)

    def test_a_live_listener_that_holds_no_lock_is_never_evicted(self):
        self.addCleanup(listen_at(self.path).close)
        error = self.refusal()
        self.assertIsInstance(error, SocketInUse)
        if sys.platform == "linux":
            self.assertIn(f"pid {os.getpid()} ", error.holder)

    @needs_linux("a full backlog makes a client wait on Linux alone")
    def test_a_listener_with_a_full_backlog_is_never_evicted(self):
        self.addCleanup(listen_at(self.path, backlog=0).close)
        waiting = []
        with self.assertRaises(BlockingIOError):
            for _ in range(100):
                waiting.append(socket.socket(socket.AF_UNIX))
                self.addCleanup(waiting[-1].close)
                waiting[-1].setblocking(False)
                waiting[-1].connect(self.path)
        self.assertIsInstance(self.refusal(), SocketInUse)

    def test_a_datagram_socket_in_use_stays(self):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(other.close)
        other.bind(self.path)
        self.assertIsInstance(self.refusal(), SocketInUse)

    @needs_root
    def test_what_belongs_to_another_user_stays_whatever_it_is(self):
        def stale() -> None:
            leave_stale(self.path)

        def file() -> None:
            self.write("s.sock", "theirs")

        for make in (stale, file):
            make()
            os.chown(self.path, NOBODY, NOBODY)
            self.assertIn(f"uid {NOBODY}", self.refusal().reason)
            os.unlink(self.path)

    def test_a_failed_claim_leaves_no_lock_behind(self):
        os.mkdir(self.path)
        self.refusal()
        os.rmdir(self.path)
        self.bound()

    def test_a_failed_claim_leaves_a_lock_file_that_was_there(self):
        self.write("s.sock.lock")
        os.mkdir(self.path)
        self.refusal()


class WordsTests(SynchronousTestCase):
    def test_a_path_in_use_names_its_holder_in_one_line(self) -> None:
        for holder, text in (
            ("another process", "another process has /run/s\\n; stop that one first"),
            ("pid 7 (x), root", "pid 7 (x), root, has /run/s\\n; stop that one first"),
        ):
            error = SocketInUse("/run/s\n", holder)
            self.assertEqual(str(error), text)
            self.assertEqual(error.reason, f"it is in use by {holder}; stop that one first")

    def test_advice_to_choose_another_path_is_given_if_that_would_help(self) -> None:
        for number, advice in (
            (errno.EACCES, "; choose another path"),
            (errno.ENOENT, "; choose another path"),
            (errno.EMFILE, ""),
        ):
            error = OSError(number, os.strerror(number), "/run")
            meaning = os.strerror(number).lower()
            self.assertEqual(socketfile._explain(error), f"{meaning} (/run){advice}")
            error = OSError(number, os.strerror(number))
            self.assertEqual(socketfile._explain(error), f"{meaning}{advice}")


class LockTests(SocketFileTestCase):
    """One holder at a time; the file of the lock is not to be trusted either."""

    def test_a_second_claim_of_the_path_is_refused_and_names_the_holder(self):
        self.bound()
        error = self.refusal()
        self.assertIsInstance(error, SocketInUse)
        if sys.platform == "linux":
            self.assertIn(f"pid {os.getpid()} ", error.holder)

    def test_a_holder_that_does_not_listen_yet_is_named(self):
        self.claimed()
        self.assertIn(f"pid {os.getpid()} ", self.refusal().reason)

    @needs_linux("a full backlog makes a client wait on Linux alone")
    def test_a_holder_whose_backlog_is_full_is_named(self):
        file = self.claimed()
        listening = file.bind()
        self.addCleanup(listening.close)
        listening.listen(0)
        with self.assertRaises(BlockingIOError):
            for _ in range(100):
                waiting = socket.socket(socket.AF_UNIX)
                self.addCleanup(waiting.close)
                waiting.setblocking(False)
                waiting.connect(self.path)
        self.assertIn(f"pid {os.getpid()} ", self.refusal().reason)

    def test_a_released_path_can_be_claimed_again(self):
        file = self.bound()
        file.remove()
        file.release()
        self.bound()

    def test_a_lock_that_is_a_symbolic_link_is_refused_and_its_target_untouched(self):
        os.symlink(self.at("target"), self.lock)
        self.assertIn("symbolic link", self.refusal().reason)
        self.assertFalse(os.path.lexists(self.at("target")))

    def test_a_lock_that_is_a_fifo_or_a_directory_is_refused_at_once(self):
        os.mkfifo(self.lock)
        self.assertIn("not a regular file", self.refusal().reason)
        os.unlink(self.lock)
        os.mkdir(self.lock)
        self.assertIn("is a directory", self.refusal().reason)

    @needs_root
    def test_a_lock_of_another_user_is_refused(self):
        os.chown(self.write("s.sock.lock"), NOBODY, NOBODY)
        self.assertIn(f"uid {NOBODY}", self.refusal().reason)

    def test_a_held_lock_leaves_a_stale_socket_alone(self):
        leave_stale(self.path)
        with open(self.lock, "w", encoding="ascii") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            self.assertIsInstance(self.refusal(), SocketInUse)

    def test_a_socket_is_gone_if_its_directory_has_become_a_file(self):
        file = self.bound(self.at("sub", "s.sock"))
        shutil.rmtree(self.at("sub"))
        self.write("sub")
        self.assertEqual(file.check(), PathState.GONE)

    def test_a_deleted_lock_does_not_let_a_second_one_take_a_live_socket(self):
        self.bound()
        os.unlink(self.lock)
        self.assertIsInstance(self.refusal(), SocketInUse)


class DirectoryTests(SocketFileTestCase):
    """The directory the socket is in."""

    def test_missing_directories_are_made_private_whatever_the_umask(self):
        for umask in (0, 0o777):
            os.umask(umask)
            self.bound(self.at(f"{umask}", "b", "c", "s.sock"))
            for made in ("", "b", "b/c"):
                mode = os.stat(self.at(f"{umask}", made)).st_mode
                self.assertEqual(stat.S_IMODE(mode), 0o700)

    def test_a_directory_that_exists_keeps_its_mode(self):
        for mode in (0o755, 0o750, 0o1777):
            os.chmod(self.directory, mode)
            file = self.bound()
            self.assertEqual(stat.S_IMODE(os.stat(self.directory).st_mode), mode)
            file.remove()
            file.release()

    def test_a_directory_all_can_write_to_is_refused(self):
        for mode in (0o777, 0o722, 0o702):
            os.chmod(self.directory, mode)
            self.assertIn("can be written to by all", self.refusal().reason)
        os.chmod(self.directory, 0o700)

    @needs_root
    def test_a_directory_of_another_users_is_refused(self):
        os.chown(self.directory, NOBODY, NOBODY)
        self.assertIn(f"belongs to uid {NOBODY}", self.refusal().reason)

    def test_directories_made_for_a_start_that_fails_are_gone_again(self):
        path = self.at("a", "b", "s.sock")
        with self.assertRaises(SocketFileError) as raised:
            file = SocketFile(path)
            self.patch(file, "_clear_path", self._fail)
            file.claim()
        self.assertEqual(raised.exception.path, path)
        self.assertEqual(os.listdir(self.directory), [])

    def _fail(self, _undo: object) -> None:
        raise SocketFileError(self.at("a", "b", "s.sock"), "as the test wants it")

    def test_a_parent_that_is_a_file_is_refused(self):
        self.write("parent", "kept")
        self.assertIn("not a directory", self.refusal(self.at("parent", "s.sock")).reason)
        self.assertIn("not a directory", self.refusal(self.at("parent", "x", "s.sock")).reason)
        self.assertEqual(self.read("parent"), "kept")

    def test_a_parent_that_is_a_dangling_link_is_refused(self):
        os.symlink(self.at("nowhere"), self.at("parent"))
        self.assertIn("no such file", self.refusal(self.at("parent", "s.sock")).reason)

    def test_a_parent_that_is_a_link_to_a_directory_is_followed(self):
        os.mkdir(self.at("real"))
        os.symlink(self.at("real"), self.at("parent"))
        self.bound(self.at("parent", "s.sock"))
        self.assertTrue(os.path.lexists(self.at("real", "s.sock")))


class PathTests(SocketFileTestCase):
    """How the path is spelt."""

    def test_the_longest_path_is_had(self):
        path = self.at("x" * (PATH_LIMIT - len(os.fsencode(self.directory)) - 1))
        self.assertEqual(len(path), PATH_LIMIT)
        file = self.bound(path)
        self.assertEqual(file.check(), PathState.OURS)

    def test_a_file_at_the_longest_path_is_moved_aside(self):
        name = "x" * (PATH_LIMIT - len(os.fsencode(self.directory)) - 1)
        self.write(name, "kept")
        file = self.bound(self.at(name))
        self.assertEqual(self.read(os.path.basename(str(file.moved))), "kept")

    def test_a_path_one_byte_too_long_is_refused_before_anything_is_made(self):
        path = self.at("sub", "x" * (PATH_LIMIT - len(os.fsencode(self.directory)) - 4))
        self.assertEqual(len(path), PATH_LIMIT + 1)
        self.assertRaises(PathError, SocketFile, path)
        self.assertEqual(os.listdir(self.directory), [])

    def test_the_length_is_counted_in_bytes(self):
        room = PATH_LIMIT - len(os.fsencode(self.directory)) - 1
        wide = os.fsdecode("é".encode())
        self.bound(self.at(wide * (room // 2)))
        self.assertRaises(PathError, SocketFile, self.at(wide * (room // 2 + 1)))

    def test_names_that_are_not_utf_8_are_had(self):
        path = os.fsdecode(os.fsencode(self.directory) + b"/\xff\xfe.sock")
        self.assertEqual(self.bound(path).check(), PathState.OURS)

    def test_a_relative_path_stays_where_it_was_given(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        file = SocketFile("s.sock")
        self.addCleanup(file.release)
        os.chdir("/")
        file.claim()
        self.addCleanup(file.bind().close)
        self.assertTrue(os.path.lexists(self.path))


class BindTests(SocketFileTestCase):
    """The socket that is made, and its end."""

    def test_the_mode_is_what_was_asked_for_whatever_the_umask(self):
        for umask, mode in itertools.product((0, 0o077, 0o777), (0o600, 0o660, 0o666)):
            os.umask(umask)
            file = self.bound(mode=mode)
            self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), mode)
            file.remove()
            file.release()

    def test_a_path_taken_between_claim_and_bind_is_left_alone(self):
        file = self.claimed()
        self.write("s.sock", "kept")
        error = self.assertRaises(SocketFileError, file.bind)
        self.assertIn("in use", error.reason)
        self.assertEqual(self.read("s.sock"), "kept")

    def test_a_process_out_of_file_descriptors_is_told_so(self):
        file = self.claimed()

        def exhausted(*_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(sys.modules["palingenesis.server.socketfile"], "ListeningSocket", exhausted)
        error = self.assertRaises(SocketFileError, file.bind)
        self.assertIn("too many open files", error.reason)

    def test_a_check_renews_the_lock_of_a_socket_that_is_ours(self):
        file = self.bound()
        os.utime(self.lock, (0, 0))
        self.assertEqual(file.check(), PathState.OURS)
        self.assertGreater(os.stat(self.lock).st_mtime, 0)

    def test_our_socket_is_removed(self):
        file = self.bound()
        self.assertEqual(file.check(), PathState.OURS)
        file.remove()
        self.assertFalse(os.path.lexists(self.path))

    def test_a_socket_that_vanished_is_no_trouble(self):
        file = self.bound()
        os.unlink(self.path)
        self.assertEqual(file.check(), PathState.GONE)
        file.remove()

    def test_what_replaced_our_socket_is_left_alone(self):
        for replace in (
            lambda: self.write("s.sock", "theirs"),
            lambda: self.addCleanup(listen_at(self.path).close),
            lambda: os.symlink("nowhere", self.path),
            lambda: os.mkdir(self.path),
        ):
            file = self.bound()
            os.unlink(self.path)
            replace()
            before = identity(self.path)
            self.assertEqual(file.check(), PathState.REPLACED)
            file.remove()
            self.assertEqual(identity(self.path), before)
            file.release()
            if stat.S_ISDIR(before[2]):
                os.rmdir(self.path)
            else:
                os.unlink(self.path)

    def test_what_is_at_the_path_before_we_bind_is_not_ours_to_remove(self):
        file = self.claimed()
        self.write("s.sock", "theirs")
        file.remove()
        self.assertEqual(self.read("s.sock"), "theirs")

    def test_a_path_that_cannot_be_looked_at_is_unreadable(self):
        file = self.bound()
        self.patch(os, "lstat", self.deny)
        self.assertEqual(file.check(), PathState.UNREADABLE)

    def test_what_cannot_be_looked_at_is_not_ours_to_remove(self):
        file = self.bound()
        patch = self.patch(os, "lstat", self.deny)
        file.remove()
        patch.restore()
        self.assertTrue(os.path.lexists(self.path))

    def deny(self, path: str) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    def test_four_thousand_clients_may_wait(self):
        waiting: list[int] = []

        class Listening(socket.socket):
            def listen(self, backlog: int) -> None:  # type: ignore[override]
                waiting.append(backlog)

        self.patch(sys.modules["palingenesis.server.socketfile"], "ListeningSocket", Listening)
        self.bound()
        self.assertEqual(waiting, [4096])

    def test_rolling_back_after_a_bind_leaves_socket_and_lock_file(self):
        file = self.bound(self.at("sub", "s.sock"))
        file.roll_back()
        self.assertEqual(sorted(os.listdir(self.at("sub"))), ["s.sock", "s.sock.lock"])
        self.assertFalse(self.is_locked(self.at("sub", "s.sock.lock")))

    def test_rolling_back_a_claim_leaves_the_path_as_it_was(self):
        self.write("s.sock", "precious")
        before = self.snapshot()
        file = self.claimed()
        file.roll_back()
        self.assertEqual(self.snapshot(), before)
        self.assertIsNone(file.moved)

    def test_rolling_back_leaves_a_lock_that_is_another_ones_by_now(self):
        file = self.claimed()
        os.unlink(self.lock)
        self.claimed()
        file.roll_back()
        self.assertTrue(self.is_locked())

    def test_a_lock_file_deleted_after_the_claim_is_made_again(self):
        file = self.bound()
        os.unlink(self.lock)
        os.unlink(self.path)
        file.claim()
        self.assertTrue(self.is_locked())


class TakeBackTests(SocketFileTestCase):
    """A socket that replaced ours is taken back if it is stale, ours, and nobody's claim."""

    def replaced(self, *, with_lock: bool = True) -> SocketFile:
        """Return a bound file whose socket is gone, and whose lock file is if so asked."""
        file = self.bound()
        os.unlink(self.path)
        if not with_lock:
            os.unlink(self.lock)
        return file

    def left_alone(self, file: SocketFile) -> None:
        before = self.snapshot()
        self.assertFalse(file.take_back())
        self.assertEqual(self.snapshot(), before)

    def test_a_stale_socket_of_ours_is_taken_back(self):
        for with_lock in True, False:
            file = self.replaced(with_lock=with_lock)
            leave_stale(self.path)
            with self.subTest(with_lock=with_lock):
                self.assertEqual(file.check(), PathState.REPLACED)
                self.assertTrue(file.take_back())
                self.assertTrue(self.is_locked())
                self.addCleanup(file.bind().close)
                self.assertEqual(file.check(), PathState.OURS)
            file.remove()
            file.release()

    def test_a_second_daemon_that_was_killed_leaves_a_socket_to_take_back(self):
        file = self.replaced(with_lock=False)
        second = SocketFile(self.path)
        second.claim()
        second.bind().close()
        second.release()
        self.assertTrue(file.take_back())

    def test_while_another_holds_the_lock_it_is_left_alone(self):
        file = self.replaced(with_lock=False)
        leave_stale(self.path)
        with open(self.lock, "w", encoding="ascii") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            self.left_alone(file)

    def test_a_live_socket_is_left_alone_and_no_lock_file_stays(self):
        for with_lock in True, False:
            file = self.replaced(with_lock=with_lock)
            listening = listen_at(self.path)
            with self.subTest(with_lock=with_lock):
                self.left_alone(file)
            listening.close()
            os.unlink(self.path)
            file.release()

    def test_what_is_no_socket_is_left_alone(self):
        file = self.replaced(with_lock=False)
        self.write("s.sock", "theirs")
        self.left_alone(file)

    @needs_root
    def test_a_stale_socket_of_another_user_is_left_alone(self):
        file = self.replaced(with_lock=False)
        leave_stale(self.path)
        os.chown(self.path, NOBODY, NOBODY)
        self.left_alone(file)

    def test_a_path_that_is_free_by_now_is_left_to_the_next_check(self):
        self.left_alone(self.replaced())


class OthersTests(SocketFileTestCase):
    """A mode that lets others in, and the directories on their way."""

    def test_a_missing_directory_lets_in_those_whom_the_mode_does(self):
        for mode, expected in (
            (0o600, 0o700),
            (0o620, 0o710),
            (0o660, 0o710),
            (0o606, 0o711),
            (0o666, 0o711),
        ):
            file = self.claimed(self.at(f"{mode:o}", "sub", "s.sock"), mode)
            parent = os.path.dirname(file.path)
            for made in parent, os.path.dirname(parent):
                self.assertEqual(stat.S_IMODE(os.stat(made).st_mode), expected)

    def test_a_directory_that_keeps_them_out_is_found_wherever_it_is(self):
        os.chmod(self.directory, 0o755)
        self.assertIsNone(self.claimed(self.at("a", "s.sock"), 0o666).closed_directory)
        os.chmod(self.directory, 0o700)
        self.assertEqual(
            self.claimed(self.at("b", "s.sock"), 0o666).closed_directory, self.directory
        )

    def test_a_private_mode_minds_no_directory(self):
        os.chmod(self.directory, 0o700)
        self.assertIsNone(self.claimed().closed_directory)

    def test_a_group_needs_no_more_than_the_group_s_bit(self):
        os.chmod(self.directory, 0o710)
        self.assertIsNone(self.claimed(mode=0o660).closed_directory)
        os.chmod(self.directory, 0o701)
        self.assertEqual(self.claimed(self.at("t"), 0o660).closed_directory, self.directory)

    @needs_root
    def test_a_directory_of_another_group_needs_the_bit_of_others(self):
        os.chown(self.directory, -1, NOBODY)
        os.chmod(self.directory, 0o710)
        self.assertEqual(self.claimed(mode=0o660).closed_directory, self.directory)
