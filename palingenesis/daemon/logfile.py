"""The log file of a daemon in the background: private, appended to, and never through a link."""

from __future__ import annotations

import os
import signal
import stat
from typing import IO, cast

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, textFileLogObserver
from twisted.python.logfile import LogFile

from palingenesis.paths import PathError
from palingenesis.procfs import user_in_words
from palingenesis.text import in_short

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PrivateLogFile(LogFile):
    """
    A log file of this user's alone, mode 0600, that rotates as twistd's does.

    Several processes may append to it.

    :raises PathError: when it cannot be opened, is a link, or belongs to another user.
    """

    def _openFile(self) -> None:  # noqa: N802
        self.closed = False
        self._file = os.fdopen(_open(self.path), "ab", buffering=0)
        self.size = self._file.tell()


def log_observer(file: PrivateLogFile) -> ILogObserver:
    """Return an observer that writes to a log file, and have SIGUSR1 rotate the file."""
    from twisted.internet import reactor

    threads = cast(IReactorFromThreads, reactor)
    signal.signal(signal.SIGUSR1, lambda *_: threads.callFromThread(file.rotate))
    return cast(ILogObserver, textFileLogObserver(cast(IO[str], file)))


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        reason = "is a symbolic link" if os.path.islink(path) else in_short(error)
        raise PathError(path, f"the log cannot be opened: {reason}") from error
    try:
        found = os.fstat(descriptor)
        # A device, such as /dev/null, keeps its owner and mode.
        if not stat.S_ISCHR(found.st_mode):
            if not stat.S_ISREG(found.st_mode):
                raise PathError(path, "the log is not a regular file")
            if found.st_uid != os.geteuid():
                raise PathError(path, f"the log belongs to {user_in_words(found.st_uid)}")
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
