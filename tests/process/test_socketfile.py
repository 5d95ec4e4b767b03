"""The socket's file, and other processes that want it or look at it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections import Counter

from palingenesis.server.socketfile import SocketFile, SocketInUse
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE, REPEATS, in_background, wait_until
from tests.support.processes import program
from tests.support.socketfiles import SocketFileTestCase
from tests.support.sockets import leave_stale
from tests.support.users import NOBODY, as_user


class RaceTests(SocketFileTestCase):
    """Many processes, one path."""

    def test_of_twenty_that_claim_a_stale_path_at_once_one_has_it(self):
        for _ in range(REPEATS):
            claimants = [self.claimant() for _ in range(20)]
            for claimant in claimants:
                self.assertEqual(claimant.stdout.readline(), "ready\n")
            # The winner of the time before was killed, and has left its socket.
            if not os.path.lexists(self.path):
                leave_stale(self.path)
            for claimant in claimants:
                claimant.stdin.write("\n")
            told = [claimant.stdout.readline() for claimant in claimants]
            self.assertEqual(told.count("serves\n"), 1, told)
            winner = claimants[told.index("serves\n")].pid
            for line in told:
                if line != "serves\n":
                    self.assertIn("SocketInUse", line)
                    self.assertIn(self.path, line)
                    if sys.platform == "linux":
                        self.assertIn(f"pid {winner} ", line)
            for claimant in claimants:
                self.end(claimant)

    def claimant(self) -> subprocess.Popen[str]:
        claimant = subprocess.Popen(
            program("claimant", self.path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.addCleanup(self.end, claimant)
        return claimant

    def end(self, claimant: subprocess.Popen[str]) -> None:
        claimant.kill()
        claimant.communicate()


class ModeTests(SocketFileTestCase):
    """The mode, as another process sees it."""

    def test_the_mode_is_never_looser_not_for_a_moment(self):
        for umask in ("0", "777"):
            seen: Counter[int] = Counter()

            def sample(over: threading.Event, seen: Counter[int] = seen) -> None:
                while not over.is_set():
                    try:
                        seen[stat.S_IMODE(os.lstat(self.path).st_mode)] += 1
                    except FileNotFoundError:
                        continue

            with in_background(sample):
                binder = subprocess.Popen(
                    program("binder", self.path, umask, "1000"), stdin=subprocess.PIPE
                )
                self.addCleanup(binder.kill)
                # A busy machine may not look often enough while the rounds last.
                wait_until(lambda: seen[0o600], "the socket, mode 0600")  # noqa: B023
                binder.communicate(timeout=PATIENCE)
            self.assertEqual(binder.returncode, 0)
            # The mode 0 that a umask may leave for a moment lets nobody in.
            self.assertEqual(set(seen) - {0o600, 0}, set(), seen)
            if umask == "0":
                self.assertEqual(seen[0], 0)


class OtherUserTests(SocketFileTestCase):
    """What a forked child, mostly of another user, may claim."""

    def test_a_lock_dies_with_its_process(self):
        self.assertIsNone(as_user(os.geteuid(), SocketFile(self.path).claim))
        self.bound()

    @needs_root
    def test_a_lock_file_made_under_any_umask_can_be_locked_again(self):
        # Root may open a file of mode 0; who is not root may not.
        os.chown(self.directory, NOBODY, NOBODY)
        for _ in range(2):
            self.assertIsNone(as_user(NOBODY, SocketFile(self.path).claim, umask=0o777))

    @needs_root
    def test_a_directory_we_cannot_write_to_is_refused(self):
        os.chmod(self.directory, 0o755)
        told = as_user(NOBODY, SocketFile(self.path).claim)
        self.assertIn("SocketFileError", told)
        self.assertIn("permission denied", told)
        self.assertEqual(os.listdir(self.directory), [])

    @needs_root
    def test_directories_we_cannot_make_are_refused(self):
        os.chmod(self.directory, 0o755)
        told = as_user(NOBODY, SocketFile(self.at("a", "b", "s.sock")).claim)
        self.assertIn("SocketFileError", told)
        self.assertIn("permission denied", told)
        self.assertEqual(os.listdir(self.directory), [])

    @needs_root
    def test_a_stale_socket_we_cannot_remove_is_refused(self):
        leave_stale(self.path)
        os.chown(self.path, NOBODY, NOBODY)
        os.chown(self.write("s.sock.lock"), NOBODY, NOBODY)
        os.chmod(self.directory, 0o755)
        told = as_user(NOBODY, SocketFile(self.path).claim)
        self.assertIn("SocketFileError", told)
        self.assertIn("permission denied", told)
        self.assertTrue(os.path.lexists(self.path))

    @needs_root
    def test_a_file_we_cannot_move_is_refused(self):
        os.chown(self.write("s.sock", "kept"), NOBODY, NOBODY)
        os.chown(self.write("s.sock.lock"), NOBODY, NOBODY)
        os.chmod(self.directory, 0o755)
        told = as_user(NOBODY, SocketFile(self.path).claim)
        self.assertIn("SocketFileError", told)
        self.assertEqual(self.read("s.sock"), "kept")


class ChildTests(SocketFileTestCase):
    """A forked child has nothing of the socket's file."""

    def test_a_child_that_forgets_can_remove_nothing(self):
        file = self.bound()
        before = self.snapshot()

        def end() -> None:
            file.forget()
            file.remove()
            file.roll_back()

        self.assertIsNone(as_user(os.geteuid(), end))
        self.assertEqual(self.snapshot(), before)
        self.assertIsInstance(self.refusal(), SocketInUse)

    def test_a_child_that_forgets_a_mere_claim_undoes_nothing(self):
        self.write("s.sock", "precious")
        file = self.claimed()
        before = self.snapshot()

        def end() -> None:
            file.forget()
            file.roll_back()

        self.assertIsNone(as_user(os.geteuid(), end))
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(self.read("s.sock.moved-1"), "precious")
