"""
What this machine proves about the owners of sessions.

Linux lists processes, locks and mounts; macOS lists processes, and is asked for a lock and for
the file system of a path. Elsewhere nothing is known, and no owner is ever proven gone.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

from palingenesis.monitor import machine
from palingenesis.monitor.mounts import Mount, is_shared_at, read_mounts
from palingenesis.monitor.processes import Process, look_at, processes_of
from palingenesis.words import Owner

#: The name of this package's own command.
_COMMAND = "palingenesis"
#: The first PID namespace, in which every process is seen: ``PROC_PID_INIT_INO`` of Linux.
FIRST_NAMESPACE = "pid:[4026531836]"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is held, as proc_locks(5) names its file."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The machine at one moment.

    :ivar processes: our living processes, by pid; None if this machine cannot list them.
    :ivar locks: the locks that are held; None if this machine cannot list them.
    :ivar mounts: the mounted file systems; None if this machine cannot list them.
    :ivar isolated: whether there may be processes that are not seen, in a container.
    :ivar root: the device of the root directory.
    :ivar look_at: looks at one process of any user; None if it is gone or cannot be seen.
    """

    processes: Mapping[int, Process] | None
    locks: frozenset[Lock] | None = None
    mounts: tuple[Mount, ...] | None = None
    isolated: bool = False
    root: int = 0
    look_at: Callable[[int], Process | None] = lambda _: None

    def is_alive(self, pid: int, start: str | None = None) -> bool:
        """
        Return whether a process lives, and is the one that started at this time.

        If one of the two times is unknown, a process of ours with this pid is taken for it. One
        of another user has to have started at this time.
        """
        process = (self.processes or {}).get(pid)
        if process is None and start is not None:
            process = self.look_at(pid)
        if process is None:
            return False
        return start is None or process.start is None or _is_start(start, process.start)

    def named(self, programs: frozenset[str]) -> list[Process]:
        """Return the processes that run one of these programs."""
        living = (self.processes or {}).values()
        return [process for process in living if not programs.isdisjoint(process.names)]

    def running(
        self,
        programs: frozenset[str],
        directory: str,
        leave_out: Callable[[Process], bool] = lambda _: False,
    ) -> Owner:
        """
        Return whether one of these programs runs in a directory.

        :param leave_out: returns whether a process proves nothing by its directory.
        """
        if self.processes is None:
            return Owner.UNKNOWN
        candidates = [each for each in self.named(programs) if not leave_out(each)]
        if any(process.is_in(directory) for process in candidates):
            return Owner.PROGRAM
        if any(process.directory is None for process in candidates):
            return Owner.UNKNOWN
        return Owner.GONE

    def mentions(self, text: str) -> bool:
        """
        Return whether another process than this one has a text in its command line.

        The ``palingenesis`` command does not count: ``palingenesis revive ID`` writes to nothing.
        """
        others = (self.processes or {}).values()
        return any(
            each.mentions(text)
            for each in others
            if each.pid != os.getpid() and _COMMAND not in each.names
        )

    def holder(self, path: str) -> Owner:
        """
        Return whether a lock on a file is held.

        The lock itself is never tried: a starting agent could then fail to take it. The kernel
        names a lock by the device of the file system, which is not the one of stat(2) on btrfs:
        the same inode on another device proves nothing.
        """
        if sys.platform == "darwin":
            return _asked(path)
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return Owner.GONE
        except OSError:
            return Owner.UNKNOWN
        if self.locks is None:
            return Owner.UNKNOWN
        if Lock(status.st_dev, status.st_ino) in self.locks:
            return Owner.PROGRAM
        if self.isolated or any(lock.inode == status.st_ino for lock in self.locks):
            return Owner.UNKNOWN
        return Owner.GONE

    def sees_all_of(self, path: str) -> bool:
        """
        Return whether every process that may write to a file is seen here.

        That is not so on a network file system, nor in a volume that a container shares with
        others.
        """
        try:
            # Not the file's: on overlayfs, files and directories may have different ones.
            device = os.stat(os.path.dirname(path)).st_dev
        except OSError:
            return False
        if self.processes is None or self.mounts is None:
            return False
        if self.isolated and device != self.root:
            return False
        return not is_shared_at(path, device, self.mounts)


def take_snapshot(
    proc: str = "/proc", uid: int | None = None, commands: Container[int] = ()
) -> Snapshot:
    """
    List what this machine knows at this moment.

    It takes some milliseconds.

    :param proc: where proc(5) is mounted.
    :param uid: whose processes; our own if None.
    :param commands: the pids of commands that we started, each the leader of its session: they
        and their children have no session but the one they were started for.
    """
    uid = os.geteuid() if uid is None else uid
    root = os.stat("/").st_dev
    try:
        if sys.platform == "darwin":
            processes = {process.pid: process for process in processes_of(uid)}
            return Snapshot(processes, mounts=read_mounts(), root=root, look_at=look_at)
        namespace = os.readlink(f"{proc}/self/ns/pid")
        processes = {
            process.pid: process
            for process in processes_of(uid, proc)
            if process.leader not in commands
        }
    except OSError:
        return Snapshot(None)
    locks = machine.table(f"{proc}/locks")
    return Snapshot(
        processes,
        None if locks is None else parse_locks(locks),
        read_mounts(proc),
        isolated=namespace != FIRST_NAMESPACE,
        root=root,
        look_at=look_at,
    )


def _is_start(written: str, start: str) -> bool:
    """
    Return whether an agent may have written down a process's start time.

    What has another form than the system's may be the time of any process.
    """
    if sys.platform == "darwin":
        from palingenesis.darwin import same_start

        return same_start(written, int(start)) if start.isdigit() else True
    return written == start or not (written.isascii() and written.isdigit())


def _asked(path: str) -> Owner:
    """Return whether a lock on a file is held, by asking macOS's kernel, which takes nothing."""
    try:
        from palingenesis.darwin import is_locked

        return Owner.PROGRAM if is_locked(path) else Owner.GONE
    except FileNotFoundError:
        return Owner.GONE
    except (OSError, ImportError):
        return Owner.UNKNOWN


def parse_locks(text: str) -> frozenset[Lock]:
    """Return the whole-file locks that are held, in proc_locks(5)."""
    held = re.findall(
        r"^[0-9]+: FLOCK +\w+ +\w+ +-?[0-9]+ ([0-9a-f]+):([0-9a-f]+):([0-9]+) ", text, re.MULTILINE
    )
    return frozenset(
        Lock(os.makedev(int(major, 16), int(minor, 16)), int(inode)) for major, minor, inode in held
    )
