"""The keeper: of all daemons of a user, the one that revives sessions holds a lock."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from palingenesis.monitor.statedir import StateError, prepare_directory

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
        self._path = os.path.join(directory, LOCK_NAME)
        self._descriptor: int | None = None
        self.trouble: str | None = None

    @property
    def held(self) -> bool:
        """Whether this daemon was the keeper when it last tried the lock."""
        return self._descriptor is not None

    def take(self) -> bool:
        """
        Try to be the keeper, and tell whether this daemon is it; made to be called at each look.

        If the lock's file was deleted or replaced, a second daemon could hold the new one: the
        lock is then taken afresh, or given up to that daemon.
        """
        if self._descriptor is not None and self._is_at_path(self._descriptor):
            return True
        try:
            prepare_directory(self._directory)
            descriptor = self._lock()
        except StateError as error:
            self.trouble, descriptor = str(error), None
        except OSError as error:
            reason = f"cannot lock: {error.strerror}"
            self.trouble, descriptor = str(StateError(self._path, reason)), None
        else:
            self.trouble = None
        self.release()
        self._descriptor = descriptor
        return descriptor is not None

    def holder(self) -> int | None:
        """Tell the pid that the keeper left in the lock's file; None where none can be read."""
        if self.held:
            return os.getpid()
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
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
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self) -> int | None:
        descriptor = os.open(
            self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_at_path(descriptor):
                # The lock counts, the pid only tells: a full disk must not cost the lock.
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
                return descriptor
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except OSError:
            return False
