"""
A lock on a path: ``flock(2)`` on a file that exists for nothing else.

The lock ends with its process, however that ends. A PID in a file would not be enough: PIDs
are reused, and in a container the daemon's is always 1.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time

from palingenesis.paths import PathError
from palingenesis.procfs import Credentials, macos_kernel, user_in_words
from palingenesis.text import in_short

#: Seconds between two renewals of a lock file's times: macOS deletes from ``/tmp`` what was not
#: used for three days.
REFRESH_INTERVAL = 86_400.0
#: The errors of flock(2) if the file system cannot lock, such as NFS without a lock daemon.
_CANNOT_LOCK = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
#: Errors that choosing another path would not prevent.
ELSEWHERE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)


class PathLockError(PathError):
    """
    A lock file that cannot be used.

    :ivar path: the lock file.
    :ivar reason: why not, and what to do, in one line.
    """


class LockHeld(PathLockError):
    """Another process has the lock; `holder` finds it among all processes."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "is locked by another process")


class PathLock:
    """
    An exclusive lock between the processes of one user.

    It outlives a fork for as long as a process that inherits it lives.

    :param path: the lock file; created with mode 0600 if it is missing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._is_new = False
        self._pid = 0

    @property
    def held(self) -> bool:
        """Whether we hold the lock on the file that is at the path now."""
        return self._descriptor is not None and _is_at(self.path, self._descriptor)

    def take(self) -> None:
        """
        Lock the file. Nothing is done if this object has the lock already.

        :raises LockHeld: if another process has it.
        :raises PathLockError: if the file cannot be used or locked. A file that was created
            for it is deleted again.
        """
        while self._descriptor is None:
            try:
                descriptor, is_new = _open(self.path)
            except OSError as error:
                advice = "" if error.errno in ELSEWHERE else "; choose another path"
                raise PathLockError(
                    self.path, f"cannot be opened: {in_short(error)}{advice}"
                ) from error
            try:
                self._lock(descriptor, is_new)
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor, self._is_new, self._pid = descriptor, is_new, os.getpid()
            if not self.held:
                # Another process rolled back between our open and our lock.
                self.release()

    def keep(self) -> None:
        """Make this process the one that releases the lock, and keep the file from now on."""
        self._is_new = False
        self._pid = os.getpid()

    def note(self, text: bytes) -> None:
        """
        Write a few bytes into the lock file, for other processes to read.

        :raises OSError: if that fails; the lock is still held.
        """
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def refresh(self) -> None:
        """Renew the file's times once a day, so that no sweep of ``/tmp`` deletes it."""
        if self._descriptor is not None:
            age = time.time() - os.fstat(self._descriptor).st_mtime
            if not 0 <= age < REFRESH_INTERVAL:
                os.utime(self._descriptor)

    def release(self) -> None:
        """
        Release the lock; the file stays.

        A child that was forked from the holder only closes its copy, and the holder keeps the
        lock.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            if self._pid == os.getpid():
                # Closing alone would not be enough: a child may have a copy of the descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: close its copy, so that the lock belongs to the parent alone."""
        self._pid = 0
        self.release()

    def roll_back(self) -> None:
        """Release the lock, and delete the file if `take` made it and `keep` was not called."""
        if self._is_new and self.held:
            try:  # noqa: SIM105 - contextlib is slow to import
                os.unlink(self.path)
            except OSError:
                pass  # An empty file stays, which does no harm.
        self._is_new = False
        self.release()

    def _lock(self, descriptor: int, is_new: bool) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PathLockError(self.path, "is not a regular file; remove it")
        if found.st_uid != os.geteuid():
            raise PathLockError(
                self.path, f"belongs to {user_in_words(found.st_uid)}; choose another path"
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(self.path) from None
        except OSError as error:
            if is_new:
                os.unlink(self.path)
            advice = "choose a path on a local file system"
            if error.errno not in _CANNOT_LOCK:
                advice = "choose another path"
            raise PathLockError(
                self.path, f"cannot be locked: {in_short(error)}; {advice}"
            ) from error


def holder(path: str) -> Credentials | None:
    """
    Find the process that has a lock on a file, by proc_pid_fdinfo(5).

    proc_locks(5) would be simpler, but names the process that took the lock: for a daemon
    that went to the background, a parent that has ended since.

    :returns: None if no process has it, or none that we may inspect.
    """
    if sys.platform == "darwin":
        try:
            # A lock is asked for without following a link.
            found = macos_kernel().holder(os.path.realpath(path))
        except OSError:
            return None
        return None if found is None else Credentials(found.pid, found.uid, found.gid)
    try:
        wanted = os.stat(path)
        name = f"/{os.path.basename(os.path.realpath(path))}"
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    except OSError:
        return None
    for pid in pids:
        # Those of other users, and those that end meanwhile, cannot be inspected.
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if _has_lock(pid, descriptor, name, wanted):
                    process = os.stat(f"/proc/{pid}")
                    return Credentials(pid, process.st_uid, process.st_gid)
        except OSError:
            continue
    return None


def may_be_busy(path: str) -> bool:
    """
    Return whether the daemon of a socket that refuses connections may live.

    Linux refuses none of a living daemon's; macOS does if the backlog is full (``unp_connect``
    of xnu). Whether the lock on ``PATH.lock`` is held says there whether its daemon lives.

    :param path: the socket's.
    """
    if sys.platform == "darwin":
        try:
            from palingenesis.darwin import is_locked

            return is_locked(f"{path}.lock")
        except (OSError, ImportError):
            pass
    return False


def listener(path: str) -> Credentials | None:
    """
    Find a process that listens at a socket which refuses connections, though its lock is free.

    The file of the lock may have been deleted while its daemon goes on.

    :returns: None if there is none; always so on Linux, which refuses none of a living daemon's.
    :raises OSError: if that cannot be read.
    """
    if sys.platform == "darwin":
        if (found := macos_kernel().listener(path)) is not None:
            return Credentials(found.pid, found.uid, found.gid)
    return None


def _has_lock(pid: int, descriptor: str, name: str, wanted: os.stat_result) -> bool:
    link = f"/proc/{pid}/fd/{descriptor}"
    try:
        # In another container, the same file may have another directory.
        if not os.readlink(link).endswith(name) or not os.path.samestat(os.stat(link), wanted):
            return False
        with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as info:
            return b"FLOCK" in info.read()
    except OSError:
        return False


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _open(path: str) -> tuple[int, bool]:
    """Open a lock file; return its descriptor, and whether it is new."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            try:
                return os.open(path, flags), False
            except FileNotFoundError:
                continue  # It was deleted meanwhile.
        # The umask may have removed even the owner's permissions.
        os.fchmod(descriptor, 0o600)
        return descriptor, True
