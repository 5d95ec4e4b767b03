"""The log file of a daemon in the background: private, appended to, and never through a link."""

from __future__ import annotations

import os
import signal
from typing import IO, cast

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, textFileLogObserver
from twisted.python.logfile import LogFile

from palingenesis.trust import open_log


class PrivateLogFile(LogFile):
    """
    A log file of this user's alone, mode 0600, that rotates as twistd's does.

    Several processes may append to it.

    :raises PathError: when it cannot be opened, is a link, or belongs to another user.
    """

    def _openFile(self) -> None:  # noqa: N802
        self.closed = False
        self._file = os.fdopen(open_log(self.path, os.O_CREAT), "ab", buffering=0)
        self.size = self._file.tell()


def log_observer(file: PrivateLogFile) -> ILogObserver:
    """Return an observer that writes to a log file, and have SIGUSR1 rotate the file."""
    from twisted.internet import reactor

    threads = cast(IReactorFromThreads, reactor)
    signal.signal(signal.SIGUSR1, lambda *_: threads.callFromThread(file.rotate))
    return cast(ILogObserver, textFileLogObserver(cast(IO[str], file)))
