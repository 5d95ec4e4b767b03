"""
The socket's file: claimed by one daemon at a time, bound, watched, and removed.

What is at the path is judged and changed only under a kernel lock, ``flock(2)`` on
``PATH.lock``, which dies with its process. A PID in a file would not do: PIDs are used
again, and in a container the daemon's is always 1.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import suppress
from enum import Enum, auto

from palingenesis.paths import PathError, socket_path
from palingenesis.procfs import command_of, peer_credentials
from palingenesis.server.transport import ListeningSocket

#: Clients that the kernel lets wait to be accepted.
BACKLOG = 128

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


# Another path would not help.
_ELSEWHERE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)


class SocketFileError(PathError):
    """
    The socket cannot be had at its path.

    :ivar path: the path.
    :ivar reason: why not, and what to do, in one line.
    """

    def __str__(self) -> str:
        return f"cannot listen on {super().__str__()}"


class SocketInUse(SocketFileError):
    """
    Another process serves the socket, or is about to.

    :ivar holder: who it is, in words.
    """

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(path, f"it is in use by {holder}; stop that one first")
        self.holder = holder


class Presence(Enum):
    """What is at the path of a socket that we bound."""

    OURS = auto()
    GONE = auto()
    HIDDEN = auto()
    REPLACED = auto()


class SocketFile:
    """
    The file of one control socket.

    Used in this order: `claim`, `bind`, `presence` as often as wanted, `remove`, `release`;
    then from the beginning again.

    :param path: where it is; relative to the directory that is current now.
    :param mode: its permission bits.
    :ivar moved: where a regular file that was in the way has been put, else None.
    :raises palingenesis.paths.PathError: when the path cannot name a socket.
    """

    def __init__(self, path: str, mode: int = 0o600) -> None:
        self.path = socket_path(path)
        self.mode = mode
        self.moved: str | None = None
        self._identity: tuple[int, int] | None = None
        self._lock: int | None = None
        self._lock_is_new = False
        self._made_directories: list[str] = []

    def claim(self) -> None:
        """
        Take the path for this process, and clear from it what a dead daemon left.

        A stale socket is removed, a regular file moved aside; everything else stays as it
        is. When the path has been claimed already, nothing is done. The claim outlives a
        fork.

        :raises SocketInUse: when another process has the path.
        :raises SocketFileError: when it cannot be used for another reason. What was made on
            the way is gone again.
        """
        if self._lock is not None:
            return
        try:
            self._make_directory()
            self._take_lock()
            self._clear_path()
        except OSError as error:
            self.abandon()
            raise SocketFileError(self.path, _explain(error)) from error
        except BaseException:
            self.abandon()
            raise

    def bind(self) -> ListeningSocket:
        """
        Make the socket, listening, with its mode from the first moment on.

        :raises SocketFileError: when the system refuses.
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
        self._lock_is_new = False
        self._made_directories = []
        return listening

    def _bind(self, listening: socket.socket) -> None:
        with suppress(OSError):
            # On Linux the file takes its mode from the unbound socket, less the umask;
            # elsewhere this is refused, and the chmod below has to do.
            os.fchmod(listening.fileno(), self.mode)
        listening.bind(self.path)
        found = os.lstat(self.path)
        self._identity = (found.st_dev, found.st_ino)
        if stat.S_IMODE(found.st_mode) != self.mode:
            os.chmod(self.path, self.mode)

    def presence(self) -> Presence:
        """Look whether the socket that was bound is still at its path."""
        try:
            found = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return Presence.GONE
        except OSError:
            return Presence.HIDDEN
        ours = (found.st_dev, found.st_ino) == self._identity
        return Presence.OURS if ours else Presence.REPLACED

    def remove(self) -> None:
        """Remove the socket, if it is still the very one that was bound."""
        if self._identity is not None and self.presence() is Presence.OURS:
            with suppress(OSError):
                os.unlink(self.path)
        self._identity = None

    def release(self) -> None:
        """Give the path up to whoever claims it next; the lock file stays."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def abandon(self) -> None:
        """Give up a claim; when nothing was ever bound, what was made for it is gone too."""
        with suppress(OSError):
            if self._lock_is_new and self.locked:
                os.unlink(self._lock_path)
        if self.moved is not None:
            with suppress(OSError):
                os.link(self.moved, self.path, follow_symlinks=False)
                os.unlink(self.moved)
            self.moved = None
        self.release()
        for directory in reversed(self._made_directories):
            with suppress(OSError):
                os.rmdir(directory)
        self._lock_is_new = False
        self._made_directories = []

    @property
    def locked(self) -> bool:
        """Whether we hold the lock file that is now at its path."""
        return self._lock is not None and _is_at(self._lock_path, self._lock)

    @property
    def _lock_path(self) -> str:
        return f"{self.path}.lock"

    def _make_directory(self) -> None:
        parent = os.path.dirname(self.path)
        missing = []
        directory = parent
        while not os.path.lexists(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        try:
            for directory in reversed(missing):
                with suppress(FileExistsError):
                    os.mkdir(directory, 0o700)
                    self._made_directories.append(directory)
                    os.chmod(directory, 0o700)
            found = os.stat(parent)
        except OSError as error:
            raise SocketFileError(self.path, f"its directory: {_explain(error)}") from error
        if not stat.S_ISDIR(found.st_mode):
            raise SocketFileError(self.path, f"{parent} is not a directory; choose another path")
        if found.st_uid not in (0, os.geteuid()):
            raise SocketFileError(
                self.path,
                f"its directory {parent} belongs to uid {found.st_uid}; choose another path",
            )
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            raise SocketFileError(
                self.path,
                f"its directory {parent} can be written to by all; "
                "make it private (chmod 0700) or choose another",
            )

    def _take_lock(self) -> None:
        path = self._lock_path
        while True:
            lock, is_new = _open_lock(path)
            try:
                found = os.fstat(lock)
                if not stat.S_ISREG(found.st_mode):
                    raise SocketFileError(self.path, f"{path} is not a regular file; remove it")
                if found.st_uid != os.geteuid():
                    raise SocketFileError(
                        self.path, f"{path} belongs to uid {found.st_uid}; choose another path"
                    )
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise SocketInUse(self.path, _holder(self.path)) from None
            except BaseException:
                os.close(lock)
                raise
            self._lock, self._lock_is_new = lock, is_new
            if self.locked:
                return
            # Another starter gave up between our open and our lock, and took its file along.
            self.release()

    def _clear_path(self) -> None:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        kind = stat.S_IFMT(found.st_mode)
        if found.st_uid != os.geteuid():
            raise SocketFileError(
                self.path, f"what is there belongs to uid {found.st_uid}; choose another path"
            )
        if kind == stat.S_IFSOCK:
            self._remove_stale(found)
        elif kind == stat.S_IFREG:
            self._move_aside()
        else:
            what = _KINDS.get(kind, "of an unknown kind")
            raise SocketFileError(self.path, f"there is {what}; remove it or choose another path")

    def _remove_stale(self, found: os.stat_result) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                pass
            except BlockingIOError:
                raise SocketInUse(self.path, "a process that does not accept its clients") from None
            except OSError as error:
                raise SocketInUse(
                    self.path, f"something that does not take connections ({error.strerror})"
                ) from error
            else:
                raise SocketInUse(self.path, str(peer_credentials(probe) or "another process"))
        now = os.lstat(self.path)
        if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
            raise SocketInUse(self.path, "a process that has just made it")
        os.unlink(self.path)

    def _move_aside(self) -> None:
        number = 1
        while True:
            aside = f"{self.path}.moved-{number}"
            try:
                # Unlike a rename, a link never replaces what is there.
                os.link(self.path, aside, follow_symlinks=False)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise SocketFileError(
                    self.path,
                    f"there is a file that cannot be moved aside: {_explain(error)}",
                ) from error
            else:
                break
        os.unlink(self.path)
        self.moved = aside


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _open_lock(path: str) -> tuple[int, bool]:
    """Open a lock file, and tell whether it is new."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        try:
            lock = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            # It may be gone again by now.
            with suppress(FileNotFoundError):
                return os.open(path, flags), False
        else:
            # The umask may have kept even its owner out.
            os.fchmod(lock, 0o600)
            return lock, True


def _holder(path: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        with suppress(OSError):
            probe.connect(path)
            if (peer := peer_credentials(probe)) is not None:
                return str(peer)
    # Not listening yet, or frozen: see who holds the lock.
    pid = _lock_holder(os.path.realpath(f"{path}.lock"))
    return "another process" if pid is None else f"pid {pid} ({command_of(pid)})"


def _lock_holder(path: str) -> int | None:
    """
    Find the process with a lock on a file, by what proc_pid_fdinfo(5) tells.

    proc_locks(5) would be simpler, but tells who took the lock: of a daemon that went to
    the background, a parent that has ended since.
    """
    with suppress(OSError):
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            # Other users' processes, and those that end meanwhile, cannot be looked into.
            with suppress(OSError):
                for descriptor in os.listdir(f"/proc/{pid}/fd"):
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") == path:
                        with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii") as info:
                            if "FLOCK" in info.read():
                                return int(pid)
    return None


def _explain(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    reason = f"{where}{(error.strerror or str(error)).lower()}"
    return reason if error.errno in _ELSEWHERE else f"{reason}; choose another path"
