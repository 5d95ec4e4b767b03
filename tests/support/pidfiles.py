"""A test case for twistd's PID file."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon.pidfile import clear_unusable
from palingenesis.paths import PathError


class PidFileTestCase(SynchronousTestCase):
    """
    A test of one PID file.

    :ivar path: where it is.
    """

    def setUp(self) -> None:
        self.path = self.mktemp()

    def write(self, content: str | bytes) -> None:
        """Write the PID file."""
        if isinstance(content, str):
            content = content.encode()
        with open(self.path, "wb") as file:
            file.write(content)

    def is_kept(self) -> bool:
        """Remove the file unless a daemon keeps it, and return whether one does."""
        try:
            clear_unusable(self.path, "name another")
        except PathError as error:
            assert "the PID file of pid" in error.reason, error
        return os.path.lexists(self.path)
