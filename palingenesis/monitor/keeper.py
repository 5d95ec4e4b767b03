"""The keeper: of all daemons of a user, the one that revives sessions holds a lock."""

from __future__ import annotations

import os
from contextlib import suppress

from palingenesis.monitor.statedir import StateError, prepare_directory
from palingenesis.pathlock import LockHeld, PathLock, PathLockError

LOCK_NAME = "keeper.lock"


class Keeper:
    """
    The lock ``keeper.lock`` in the state directory.

    It is an flock(2), so the kernel drops it with its holder and no stale lock is left behind.
    Nothing here waits. A fork shares the lock: take it in the process that is to hold it.

    :param directory: the state directory.
    :ivar trouble: why the lock cannot be tried at all, in one line; None where it can.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = PathLock(os.path.join(directory, LOCK_NAME))
        self._held = False
        self.trouble: str | None = None

    @property
    def held(self) -> bool:
        """Whether this daemon was the keeper when it last tried the lock."""
        return self._held

    def take(self) -> bool:
        """
        Try to be the keeper, and tell whether this daemon is it; made to be called at each look.

        If the lock's file was deleted or replaced, a second daemon could hold the new one: the
        lock is then taken afresh, or given up to that daemon.
        """
        if self._held and self._lock.held:
            return True
        self.release()
        self.trouble = None
        try:
            prepare_directory(self._directory)
            self._lock.take()
        except LockHeld:
            return False
        except PathLockError as error:
            self.trouble = str(StateError(error.path, f"cannot lock: {error.reason}"))
            return False
        except StateError as error:
            self.trouble = str(error)
            return False
        self._lock.keep()
        with suppress(OSError):
            # The lock counts, the pid only tells: a full disk must not cost the lock.
            self._lock.note(b"%d\n" % os.getpid())
        self._held = True
        return True

    def holder(self) -> int | None:
        """Tell the pid that the keeper left in the lock's file; None where none can be read."""
        if self._held:
            return os.getpid()
        try:
            descriptor = os.open(self._lock.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            text = os.read(descriptor, 32).strip()
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return int(text) if text.isdigit() else None

    def release(self) -> None:
        """Let go of the lock; its file stays, since deleting it would race with a taker."""
        self._held = False
        self._lock.release()
