"""
The socket's file: claimed by one daemon at a time, bound, checked, and removed.

What is at the path is judged and changed only under a lock on ``PATH.lock``, see
`palingenesis.pathlock`.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from enum import Enum, auto

from palingenesis.config import DEFAULTS, check_mode
from palingenesis.pathlock import ELSEWHERE, LockHeld, PathLock, PathLockError, holder, listener
from palingenesis.paths import Exposure, PathError, exposure, move_aside, socket_path
from palingenesis.procfs import peer_credentials, user_in_words
from palingenesis.server.transport import BACKLOG, ListeningSocket
from palingenesis.text import MESSAGE_LIMIT, in_short, printable

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class SocketFileError(PathError):
    """
    The socket cannot be claimed or bound at its path.

    :ivar path: the path.
    :ivar reason: why not, and what to do, in one line.
    """

    def __str__(self) -> str:
        return f"cannot listen on {super().__str__()}"


class SocketInUse(SocketFileError):
    """
    Another process serves the socket, or is about to.

    Its text names that process first, because twistd shows only 100 bytes of an error in the
    background.

    :ivar holder: that process, in words.
    """

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(path, f"it is in use by {holder}; stop that one first")
        self.holder = holder

    def __str__(self) -> str:
        comma = "," if "," in self.holder else ""
        text = f"{self.holder}{comma} has {self.path}; stop that one first"
        return printable(text, MESSAGE_LIMIT)


class PathState(Enum):
    """What is at the path of a socket that we bound."""

    OURS = auto()
    GONE = auto()
    UNREADABLE = auto()
    REPLACED = auto()


class SocketFile:
    """
    The file of one control socket.

    Its methods are called in this order: `claim`, `bind`, `check` any number of times,
    `remove`, `release`; then from the beginning again.

    :param path: its path; a relative one is made absolute at once.
    :param mode: its permission bits.
    :ivar moved: the new path of a regular file that was at the path, else None.
    :ivar closed_directory: a directory on the way to the socket that keeps out users whom
        the mode lets in, else None; set by `claim`.
    :raises palingenesis.paths.PathError: if the path cannot name a socket.
    :raises ValueError: if the mode is not one for a socket.
    """

    def __init__(self, path: str | os.PathLike[str], mode: int = DEFAULTS.mode) -> None:
        self.path = socket_path(os.fspath(path))
        self.mode = check_mode("mode", mode)
        self.moved: str | None = None
        self.closed_directory: str | None = None
        self._identity: tuple[int, int] | None = None
        self._lock = PathLock(f"{self.path}.lock")
        self._undo = ExitStack()

    def claim(self) -> None:
        """
        Claim the path for this process, and remove what a dead daemon left there.

        A stale socket is removed, a regular file is moved aside, and everything else stays as
        it is. If the path has been claimed already, nothing is done, unless the lock file has
        been deleted or replaced since: then it is claimed anew. The claim outlives a fork.

        :raises SocketInUse: if another process has the path.
        :raises SocketFileError: if it cannot be used for another reason. The claim has been
            rolled back.
        """
        if self._lock.held:
            return
        self.release()
        with ExitStack() as undo:
            self._make_directory(undo)
            self._take_lock()
            undo.callback(self._lock.roll_back)
            try:
                self._clear_path(undo)
            except OSError as error:
                raise SocketFileError(self.path, _explain(error)) from error
            self._undo = undo.pop_all()

    def bind(self) -> ListeningSocket:
        """
        Bind the socket, with its mode from the first moment, and listen.

        :raises SocketFileError: if the system does not permit it.
        """
        try:
            listening = ListeningSocket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._bind(listening)
                listening.listen(BACKLOG)
            except BaseException:
                listening.close()
                self.remove()
                raise
        except OSError as error:
            raise SocketFileError(self.path, _explain(error)) from error
        self._lock.keep()
        self._undo.pop_all()  # What was made for the claim stays from here on.
        return listening

    def check(self) -> PathState:
        """Return whether the socket that was bound is still at its path."""
        try:
            found = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return PathState.GONE
        except OSError:
            return PathState.UNREADABLE
        if _identity(found) != self._identity:
            return PathState.REPLACED
        with suppress(OSError):
            self._lock.refresh()
        return PathState.OURS

    def take_back(self) -> bool:
        """
        Claim the path anew if a stale socket of our user has replaced ours.

        :returns: whether the path is claimed and free to `bind`. False if something else is
            there, a process listens, or another one holds the lock: then nothing has been
            changed.
        :raises SocketFileError: if it cannot be used for another reason.
        """
        lock = self._lock if self._lock.held else PathLock(self._lock.path)
        try:
            found = os.lstat(self.path)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
                return False
            with ExitStack() as undo:
                if lock is not self._lock:
                    lock.take()
                    undo.callback(lock.roll_back)
                self._remove_stale(found)
                self._undo = undo.pop_all()
        except (LockHeld, SocketInUse, FileNotFoundError):
            return False
        except PathLockError as error:
            raise self._lock_error(error) from error
        except OSError as error:
            raise SocketFileError(self.path, _explain(error)) from error
        if lock is not self._lock:
            self._lock.release()
            self._lock = lock
        self._identity = None
        return True

    def remove(self) -> None:
        """Remove the socket if it is still the one that was bound."""
        if self._identity is not None and self.check() is PathState.OURS:
            with suppress(OSError):
                os.unlink(self.path)
        self._identity = None

    def release(self) -> None:
        """Release the path to the next process that claims it; the lock file stays."""
        self._undo.pop_all()
        self._lock.release()

    def roll_back(self) -> None:
        """Release a claim; if nothing was bound, also undo what was made and moved for it."""
        self._undo.close()
        self.release()

    def forget(self) -> None:
        """
        In a forked child: leave path and lock to the parent, and change nothing.

        Call it from a hook of `os.register_at_fork`. It does not close the listening socket.
        """
        self._undo.pop_all()
        self._identity = None
        self._lock.forget()

    def _bind(self, listening: socket.socket) -> None:
        try:
            # On Linux the file takes its mode from the unbound socket, less the umask.
            os.fchmod(listening.fileno(), self.mode)
        except OSError:
            # On macOS it takes the mode from the umask alone.
            umask = os.umask(0o777 & ~self.mode)
            try:
                listening.bind(self.path)
            finally:
                os.umask(umask)
        else:
            listening.bind(self.path)
        found = os.lstat(self.path)
        self._identity = _identity(found)
        if stat.S_IMODE(found.st_mode) != self.mode:
            os.chmod(self.path, self.mode)

    def _make_directory(self, undo: ExitStack) -> None:
        parent = os.path.dirname(self.path)
        missing = []
        directory = parent
        while not os.path.lexists(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        mode = 0o700
        # Users whom the socket lets in may pass the directory, but not list it.
        if self.mode & 0o060:
            mode |= 0o010
        if self.mode & 0o006:
            mode |= 0o011
        try:
            for directory in reversed(missing):
                with suppress(FileExistsError):
                    os.mkdir(directory, 0o700)
                    undo.callback(_quietly, os.rmdir, directory)
                    os.chmod(directory, mode)
            self._check_directory(parent, os.stat(parent))
            self.closed_directory = _first_closed(parent, self.mode)
        except OSError as error:
            raise SocketFileError(self.path, f"its directory: {_explain(error)}") from error

    def _check_directory(self, parent: str, found: os.stat_result) -> None:
        judged = exposure(found, os.geteuid())
        if judged is Exposure.NO_DIRECTORY:
            raise SocketFileError(self.path, f"not a directory: {parent}; choose another path")
        if judged is Exposure.FOREIGN:
            owner = user_in_words(found.st_uid)
            raise SocketFileError(
                self.path, f"its directory belongs to {owner}: {parent}; choose another path"
            )
        if judged is Exposure.WORLD_WRITABLE:
            raise SocketFileError(
                self.path,
                f"its directory can be written to by all: {parent}; "
                "make it private (chmod 0700) or choose another",
            )

    def _take_lock(self) -> None:
        try:
            self._lock.take()
        except LockHeld:
            raise SocketInUse(self.path, self._holder()) from None
        except PathLockError as error:
            raise self._lock_error(error) from error

    def _lock_error(self, error: PathLockError) -> SocketFileError:
        return SocketFileError(self.path, f"its lock {error.path} {error.reason}")

    def _holder(self) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            with suppress(OSError):
                probe.connect(self.path)
                if (peer := peer_credentials(probe)) is not None:
                    return str(peer)
        # It does not listen yet, or does not accept.
        return str(holder(self._lock.path) or "another process")

    def _clear_path(self, undo: ExitStack) -> None:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        kind = stat.S_IFMT(found.st_mode)
        if found.st_uid != os.geteuid():
            owner = user_in_words(found.st_uid)
            raise SocketFileError(
                self.path, f"what is there belongs to {owner}; choose another path"
            )
        if kind == stat.S_IFSOCK:
            self._remove_stale(found)
        elif kind == stat.S_IFREG:
            self._move_aside(undo)
        else:
            what = _KINDS.get(kind, "of an unknown kind")
            raise SocketFileError(self.path, f"there is {what}; remove it or choose another path")

    def _remove_stale(self, found: os.stat_result) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                self._check_refusal()
            except BlockingIOError:
                raise SocketInUse(self.path, "a process that does not accept its clients") from None
            except OSError as error:
                raise SocketInUse(
                    self.path, f"something that does not take connections ({in_short(error)})"
                ) from error
            else:
                raise SocketInUse(self.path, str(peer_credentials(probe) or "another process"))
        if _identity(os.lstat(self.path)) != _identity(found):
            raise SocketInUse(self.path, "a process that has just made it")
        os.unlink(self.path)

    def _check_refusal(self) -> None:
        """Check that nothing listens, though the socket refuses connections."""
        try:
            process = listener(self.path)
        except OSError as error:
            raise SocketInUse(
                self.path, f"a process that cannot be looked for ({in_short(error)})"
            ) from error
        if process is not None:
            raise SocketInUse(self.path, str(process))

    def _move_aside(self, undo: ExitStack) -> None:
        try:
            self.moved = move_aside(self.path)
        except OSError as error:
            raise SocketFileError(
                self.path, f"there is a file that cannot be moved aside: {_explain(error)}"
            ) from error
        undo.callback(self._put_back, self.moved)

    def _put_back(self, moved: str) -> None:
        self.moved = None
        with suppress(OSError):
            os.link(moved, self.path, follow_symlinks=False)
            os.unlink(moved)


def _quietly(do: Callable[[str], None], path: str) -> None:
    with suppress(OSError):
        do(path)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _first_closed(directory: str, mode: int) -> str | None:
    """Return the nearest directory above that keeps out users whom a socket's mode lets in."""
    while True:
        found = os.stat(directory)
        others = found.st_mode & stat.S_IXOTH
        group = found.st_mode & stat.S_IXGRP if found.st_gid == os.getegid() else others
        if (mode & 0o006 and not others) or (mode & 0o060 and not group):
            return directory
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _explain(error: OSError) -> str:
    reason = in_short(error)
    if error.filename:
        reason = f"{reason} ({os.fsdecode(error.filename)})"
    return reason if error.errno in ELSEWHERE else f"{reason}; choose another path"
