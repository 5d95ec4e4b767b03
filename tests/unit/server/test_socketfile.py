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

from palingenesis.paths import PATH_LIMIT, PathError
from palingenesis.server.socketfile import Presence, SocketFile, SocketFileError, SocketInUse
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
        self.assertEqual(file.presence(), Presence.OURS)
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

    def test_a_directory_stays(self):
        os.mkdir(self.path)
        self.write("s.sock/inside", "kept")
        self.assertIn("a directory", self.refusal().reason)

    def test_a_fifo_stays(self):
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
    def test_a_device_stays(self):
        os.mknod(self.path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        self.assertIn("a device", self.refusal().reason)

    def test_a_live_listener_that_holds_no_lock_is_never_evicted(self):
        self.addCleanup(listen_at(self.path).close)
        error = self.refusal()
        self.assertIsInstance(error, SocketInUse)
        if sys.platform == "linux":
            self.assertIn(f"pid {os.getpid()} ", error.holder)

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


class LockTests(SocketFileTestCase):
    """One holder at a time; the file of the lock is not to be trusted either."""

    def test_a_second_claim_of_the_path_is_refused_and_names_the_holder(self):
        self.bound()
        error = self.refusal()
        self.assertIsInstance(error, SocketInUse)
        if sys.platform == "linux":
            self.assertIn(f"pid {os.getpid()} ", error.holder)

    @needs_linux
    def test_a_holder_that_does_not_listen_yet_is_named(self):
        self.claimed()
        self.assertIn(f"pid {os.getpid()} ", self.refusal().reason)

    @needs_linux
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

    def test_a_deleted_lock_is_noticed(self):
        file = self.bound()
        self.assertTrue(file.locked)
        os.unlink(self.lock)
        self.assertFalse(file.locked)

    def test_a_lock_is_not_held_where_the_directory_has_become_a_file(self):
        path = self.at("sub", "s.sock")
        file = self.bound(path)
        shutil.rmtree(self.at("sub"))
        self.write("sub")
        self.assertEqual(file.presence(), Presence.GONE)
        self.assertFalse(file.locked)

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

    def _fail(self) -> None:
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
        self.assertEqual(file.presence(), Presence.OURS)

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
        self.bound(self.at("é" * (room // 2)))
        self.assertRaises(PathError, SocketFile, self.at("é" * (room // 2 + 1)))

    def test_names_that_are_not_utf_8_are_had(self):
        path = os.fsdecode(os.fsencode(self.directory) + b"/\xff\xfe.sock")
        self.assertEqual(self.bound(path).presence(), Presence.OURS)

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

    def test_our_socket_is_removed(self):
        file = self.bound()
        self.assertEqual(file.presence(), Presence.OURS)
        file.remove()
        self.assertFalse(os.path.lexists(self.path))

    def test_a_socket_that_vanished_is_no_trouble(self):
        file = self.bound()
        os.unlink(self.path)
        self.assertEqual(file.presence(), Presence.GONE)
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
            self.assertEqual(file.presence(), Presence.REPLACED)
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
