"""A test case for the socket's file."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.server.socketfile import SocketFile, SocketFileError, SocketInUse
from tests.support.sockets import identity


class SocketFileTestCase(SynchronousTestCase):
    """
    A test of one path, under an ordinary umask.

    :ivar directory: a private one, with a short path.
    :ivar path: the path of the socket, in it.
    :ivar lock: the path of its lock file.
    """

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="pal-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.at("s.sock")
        self.lock = f"{self.path}.lock"
        self.addCleanup(os.umask, os.umask(0o022))

    def at(self, *names: str) -> str:
        """Name a file in the directory."""
        return os.path.join(self.directory, *names)

    def write(self, name: str, content: str = "") -> str:
        """Write a file, and return its path."""
        with open(self.at(name), "w", encoding="utf-8") as file:
            file.write(content)
        return self.at(name)

    def read(self, name: str) -> str:
        """Read a file."""
        with open(self.at(name), encoding="utf-8") as file:
            return file.read()

    def claimed(self, path: str | None = None, mode: int = 0o600) -> SocketFile:
        """Claim a path; it is released at the end of the test."""
        file = SocketFile(path or self.path, mode)
        self.addCleanup(file.release)
        file.claim()
        return file

    def bound(self, path: str | None = None, mode: int = 0o600) -> SocketFile:
        """Claim a path, and listen there; both end with the test."""
        file = self.claimed(path, mode)
        self.addCleanup(file.bind().close)
        return file

    def is_locked(self, lock: str | None = None) -> bool:
        """Return whether a process has the lock on the file that is at the lock's path now."""
        try:
            with open(lock or self.lock, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (FileNotFoundError, NotADirectoryError):
            return False
        return False

    def refusal(self, path: str | None = None) -> SocketFileError:
        """Have a claim fail, and check that it changed nothing at all."""
        before = self.snapshot()
        error: SocketFileError = self.assertRaises(
            SocketFileError, SocketFile(path or self.path).claim
        )
        self.assertEqual(self.snapshot(), before)
        self.assertNotIn("\n", str(error))
        self.assertIn(error.path, str(error))
        if not isinstance(error, SocketInUse):
            self.assertIn(error.reason, str(error))
        return error

    def snapshot(self) -> dict[str, object]:
        """Take down every file, with what tells whether it is the same."""
        return {
            path: identity(path)
            for directory, directories, files in os.walk(self.directory)
            for path in (os.path.join(directory, name) for name in directories + files)
        }
