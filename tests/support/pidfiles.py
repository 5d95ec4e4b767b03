"""A test case for twistd's PID file."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon.pidfile import clear_unusable


class PidFileTestCase(SynchronousTestCase):
    """
    A test of one PID file.

    :ivar path: where it is.
    """

    def setUp(self) -> None:
        self.path = self.mktemp()

    def write(self, content: str | bytes, *, age: float = 0) -> None:
        """Write the PID file as it would be so many seconds later."""
        if isinstance(content, str):
            content = content.encode()
        with open(self.path, "wb") as file:
            file.write(content)
        written = time.time() - age
        os.utime(self.path, (written, written))

    def is_kept(self) -> bool:
        """Discard the file where it is stale, and tell whether it is still there."""
        clear_unusable(self.path)
        return os.path.lexists(self.path)
