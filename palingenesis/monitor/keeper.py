"""The keeper: the one daemon of a user that revives sessions, which holds a lock for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from palingenesis.monitor import files
from palingenesis.monitor.owners import PACKAGE, Snapshot
from palingenesis.monitor.statedir import StateError, prepare_directory
from palingenesis.pathlock import LockHeld, PathLock, PathLockError
from palingenesis.procfs import environment_of

LOCK_NAME = "keeper.lock"
#: The program that runs a daemon.
DAEMON = "twistd"


def other_daemons(snapshot: Snapshot, directory: str, home: str | None = None) -> Iterator[str]:
    """
    Yield one line for each daemon of this user that keeps another state directory.

    Versions before 1.2 lock no home, so nothing keeps them from reviving its sessions too.

    :param directory: this daemon's state directory.
    :param home: this daemon's home directory, if those that surely have another one are left out.
    """
    for pid, process in (snapshot.processes or {}).items():
        is_daemon = DAEMON in process.names and PACKAGE in process.arguments
        if not is_daemon or pid == os.getpid():
            continue
        if home is not None and (environment_of(pid) or {}).get("HOME", home) != home:
            continue
        with suppress(OSError):
            for link in process.open_files().get(LOCK_NAME, ()):
                path = os.readlink(link) if os.path.islink(link) else link
                other = os.path.dirname(path)
                if other != os.path.realpath(directory):
                    yield (
                        f"The daemon with pid {pid} keeps another state directory, {other}: if it"
                        " is older than version 1.2, it revives the same sessions; stop it"
                    )


class Keeper:
    """
    The lock ``keeper.lock`` in the state directory.

    It is an flock(2): the kernel releases it when its holder ends, so no stale lock is left.
    Nothing here waits. A fork shares the lock, so claim it in the process that keeps it.

    :param directory: the state directory.
    :ivar held: whether this daemon was the keeper when it last tried the lock.
    :ivar warning: why the lock cannot be claimed by any daemon, in one line; None if it can.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = PathLock(os.path.join(directory, LOCK_NAME))
        self.held = False
        self.warning: str | None = None

    def take(self) -> bool:
        """
        Try to become the keeper, and return whether this daemon is it; call it at each tick.

        If the lock's file was deleted or replaced, another daemon may hold the new one. This
        daemon then claims the new one too, and is the keeper only if that succeeds.
        """
        if self.held and self._lock.held:
            return True
        self.release()
        self.warning = None
        try:
            prepare_directory(self._directory)
            self._lock.take()
        except LockHeld:
            return False
        except PathLockError as error:
            self.warning = str(StateError(error.path, f"cannot lock: {error.reason}"))
            return False
        except StateError as error:
            self.warning = str(error)
            return False
        self._lock.keep()
        with suppress(OSError):
            # The pid is informational: a full disk must not cost the lock.
            self._lock.note(b"%d\n" % os.getpid())
        self.held = True
        return True

    def holder(self) -> int | None:
        """Return the pid that the keeper wrote into the lock's file; None if there is none."""
        if self.held:
            return os.getpid()
        try:
            with files.opened(self._lock.path) as descriptor:
                text = os.read(descriptor, 32).strip()
        except OSError:
            return None
        return int(text) if text.isdigit() else None

    def release(self) -> None:
        """Release the lock; its file stays, since another daemon may just have opened it."""
        self.held = False
        self._lock.release()
