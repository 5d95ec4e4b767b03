"""A program on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios

from tests.support.cases import CommandTestCase
from tests.support.patience import PATIENCE


class Terminal:
    """A process on a terminal of its own, where keys can be typed."""

    def __init__(self, case: CommandTestCase, *command: str, **variables: str) -> None:
        self.shown = ""
        ours, theirs = pty.openpty()
        self._ours = ours
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=case.environment(**{"TERM": "xterm", **variables}),
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(theirs)
        case.addCleanup(self._close)

    def _close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def wait_for(self, text: str) -> str:
        """Wait until a text is shown, and return what was before it."""
        while text not in self.shown:
            if not self._read():
                raise AssertionError(f"{text!r} is not in {self.shown!r}")
        before, _, self.shown = self.shown.partition(text)
        return before

    def wait(self) -> int:
        """Read to the end, and return the exit status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def resize(self, lines: int, columns: int) -> None:
        """Give the terminal another size; the kernel tells the process."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], PATIENCE)[0]:
            raise AssertionError(f"nothing more than {self.shown!r}")
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody has the terminal open any more.
            return False
        self.shown += data.decode()
        return bool(data)
