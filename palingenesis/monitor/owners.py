"""
What this machine proves about the owners of sessions.

Linux lists processes, locks and mounts; macOS lists processes, and is asked for a lock and for
the file system of a path. Elsewhere nothing is known, and no owner is ever proven gone.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from palingenesis.monitor import machine
from palingenesis.monitor.mounts import Mount, is_shared_at, is_shared_by_name, read_mounts
from palingenesis.monitor.processes import Process, every_process, have_open, look_at, processes_of
from palingenesis.monitor.sessions import Identity
from palingenesis.words import Owner

#: The first PID namespace, in which every process is seen: ``PROC_PID_INIT_INO`` of Linux.
FIRST_NAMESPACE = "pid:[4026531836]"
#: The name of our own programs, which write to no session.
PACKAGE = "palingenesis"


@dataclass(frozen=True, slots=True)
class Witness:
    """
    The word of one witness: what can write to a session.

    :ivar pid: the process that has it; None if unknown.
    :ivar program: that process's name, or the server's in words.
    :ivar terminal: that process's terminal; None if it has none.
    :ivar reason: why the owner is unknown, in words.
    :ivar is_interactive: whether a person's program, or the agent's own server for one, certainly
        has this session: then it takes a message.
    """

    owner: Owner
    pid: int | None = None
    program: str | None = None
    terminal: str | None = None
    reason: str | None = None
    is_interactive: bool = False

    @classmethod
    def of(cls, process: Process) -> Witness:
        """Return that a program has the session."""
        return cls(Owner.PROGRAM, process.pid, process.title, process.terminal)

    @classmethod
    def unknown(cls, reason: str) -> Witness:
        """Return that it is unknown what has the session."""
        return cls(Owner.UNKNOWN, reason=reason)

    @property
    def lives(self) -> bool:
        """Whether something has the session."""
        return self.owner in (Owner.PROGRAM, Owner.SERVER)

    @property
    def who(self) -> str | None:
        """What has the session, in words; None if nothing has it."""
        if self.owner is Owner.SERVER:
            who = self.program or "a server"
            return who if self.pid is None else f"{who}, pid {self.pid}"
        if self.owner is Owner.PROGRAM:
            who = "a program" if self.pid is None else f"pid {self.pid}"
            who += f" ({self.program})" if self.program else ""
            return who + (f" at {self.terminal}" if self.terminal else "")
        return self.reason


#: Nothing has the session.
NOTHING = Witness(Owner.GONE)


def strongest(witnesses: Iterable[Witness]) -> Witness:
    """Return the first that says alive, or the first that is unknown, or that nothing has it."""
    found = NOTHING
    for witness in witnesses:
        if witness.lives:
            return witness
        if found is NOTHING and witness.owner is Owner.UNKNOWN:
            found = witness
    return found


@dataclass(frozen=True, slots=True)
class Lock:
    """
    A lock that is held, as proc_locks(5) names its file.

    :ivar pid: the process that has taken it; 0 if that is not seen from here.
    """

    device: int
    inode: int
    pid: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The machine at one moment.

    :ivar processes: the living processes, by pid, without those of our own commands; None if
        this machine cannot list them. On macOS only our own user's are listed.
    :ivar locks: the locks that are held; None if this machine cannot list them.
    :ivar mounts: the mounted file systems; None if this machine cannot list them.
    :ivar isolated: whether there may be processes that are not seen, in a container.
    :ivar hidden: whether the processes of other users are hidden, proc(5).
    :ivar root: the device of the root directory.
    :ivar look_at: looks at one process of any user; None if it is gone or cannot be seen.
    :ivar commands: the pids of commands that we started, each the leader of its session.
    :ivar have_open: whether another process, as far as they can be seen, has one of some files
        open.
    """

    processes: Mapping[int, Process] | None
    locks: frozenset[Lock] | None = None
    mounts: tuple[Mount, ...] | None = None
    isolated: bool = False
    hidden: bool = False
    root: int = 0
    look_at: Callable[[int], Process | None] = lambda _: None
    commands: Container[int] = ()
    have_open: Callable[[Collection[str]], bool] = lambda _: False
    _named: dict[frozenset[str], list[Process]] = field(default_factory=dict, compare=False)
    _lines: list[str] = field(default_factory=list, compare=False)
    _files: dict[int, dict[str, list[str]] | None] = field(default_factory=dict, compare=False)
    _shared: dict[str, bool] = field(default_factory=dict, compare=False)

    def process(self, pid: int) -> Process | None:
        """Return a living process of any user as a whole; None if it is gone, or our command."""
        process = (self.processes or {}).get(pid)
        if process is None or not process.is_whole:
            ours = process is not None and process.is_ours
            found = self.look_at(pid)
            process = None if found is None else replace(found, is_ours=ours)
        if process is None or process.leader in self.commands:
            return None
        return process

    def is_alive(self, pid: int, start: str | None = None) -> bool:
        """
        Return whether a process lives, and is the one that started at this time.

        If one of the two times is unknown, a process of ours with this pid is taken for it. One
        of another user has to have started at this time.
        """
        process = self.process(pid)
        if process is None:
            return False
        if start is None:
            return process.is_ours
        return process.start is None or _is_start(start, process.start)

    def named(self, programs: frozenset[str]) -> list[Process]:
        """Return the processes that run one of these programs."""
        if programs not in self._named:
            living = (self.processes or {}).values()
            self._named[programs] = [
                process for process in living if not programs.isdisjoint(process.names)
            ]
        return self._named[programs]

    def running(
        self,
        programs: frozenset[str],
        directories: Iterable[str],
        transcript: str | None = None,
        leave_out: Callable[[Process], bool] = lambda _: False,
    ) -> Witness:
        """
        Return whether one of these programs runs in a directory, or writes to a transcript.

        Another user's process counts only if its directory can be read.

        :param leave_out: returns whether a process proves nothing by what it does here.
        """
        if self.processes is None:
            return Witness.unknown("the processes of this machine cannot be listed")
        directories = tuple(directories)
        return strongest(
            self._at_work(process, directories, transcript)
            for process in self.named(programs)
            if not leave_out(process)
        )

    def _at_work(
        self, process: Process, directories: tuple[str, ...], transcript: str | None
    ) -> Witness:
        places = [self.is_in(process, directory) for directory in directories]
        if any(places):
            return Witness.of(process)
        if not process.is_ours:
            return NOTHING
        writes = transcript is not None and self.writes_to(process, transcript)
        if writes:
            return Witness.of(process)
        if process.directory is None or writes is None:
            return Witness.unknown(f"{Witness.of(process).who} hides what it does")
        if None in places:
            who = Witness.of(process).who
            return Witness.unknown(f"{who} may be in its directory, which cannot be looked at")
        return NOTHING

    def is_in(self, process: Process, directory: str) -> bool | None:
        """
        Return whether a process is in a directory, which may have several names.

        None if that cannot be found out.
        """
        if process.directory is None or process.directory == directory:
            return process.directory == directory
        return not self._may_hang(process.directory, directory) and process.is_in(directory)

    def is_same(self, one: str, other: str) -> bool:
        """Return whether two paths name one directory."""
        if one == other:
            return True
        try:
            return not self._may_hang(one, other) and os.path.samefile(one, other)
        except OSError:
            return False

    def _may_hang(self, *paths: str) -> bool:
        """Return whether a file system may not answer what is asked about a path."""
        for path in paths:
            if path not in self._shared:
                self._shared[path] = is_shared_by_name(path, self.mounts or ())
        return any(self._shared[path] for path in paths)

    def writes_to(self, process: Process, path: str) -> bool | None:
        """Return whether a process has a file open for writing; None if that is hidden."""
        if process.pid not in self._files:
            try:
                self._files[process.pid] = process.open_files()
            except OSError:
                self._files[process.pid] = None
        links = self._files[process.pid]
        if links is None:
            return None
        for link in links.get(os.path.basename(path), ()):
            try:
                if os.path.samefile(link, path):
                    return True
            except OSError:
                continue  # it is closed, or gone
        return False

    def mentioning(self, *texts: str) -> Process | None:
        """
        Return a process of any user that has one of the texts in its command line.

        This process, its clients and our own commands do not count.
        """
        living = (self.processes or {}).values()
        if not self._lines:
            self._lines.append("\0".join("\0".join(each.arguments) for each in living))
        if not any(text in self._lines[0] for text in texts):
            return None
        for each in living:
            if each.pid != os.getpid() and any(map(each.mentions, texts)):
                if PACKAGE in each.names:
                    continue  # such as: palingenesis revive ID
                # One that has ended by now counts too: something may have followed it.
                found = self.process(each.pid)
                if found is not None or self.look_at(each.pid) is None:
                    return found or each
        return None

    def holder(self, path: str, programs: frozenset[str] = frozenset()) -> Witness:
        """
        Return what holds a lock on a file.

        The kernel names a lock by the device of the file system, which is not the one of stat(2)
        on btrfs: the same inode on another device proves nothing. In a container it lists no
        lock of a process outside; see `_tried`.

        :param programs: the names of the programs that take this lock.
        """
        if sys.platform == "darwin":
            return _asked(path)
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return NOTHING
        except OSError as error:
            return Witness.unknown(f"{path} cannot be read: {error.strerror}")
        if self.locks is None:
            return Witness.unknown("the locks of this machine cannot be listed")
        inode = [lock for lock in self.locks if lock.inode == status.st_ino]
        for lock in inode:
            if lock.device == status.st_dev:
                process = self.process(lock.pid) if lock.pid > 0 else None
                return Witness(Owner.PROGRAM) if process is None else Witness.of(process)
        if self.isolated:
            return self._tried(path, programs)
        return Witness.unknown(f"{path} may be locked") if inode else NOTHING

    def _tried(self, path: str, programs: frozenset[str]) -> Witness:
        """
        Return whether a lock on a file is held inside or outside of this container, by taking it.

        An agent that takes the lock at the same moment would fail, so it is only tried while
        none runs here, and held for microseconds. The kernel knows the locks of all containers.
        A file system that others share is left alone: another machine's lock may not be seen
        there, and flock(2) may hang.
        """
        if not programs or self.named(programs) or not self.sees_all_of(path):
            return Witness.unknown(f"{path} may be locked outside of this container")
        try:
            # An opened pipe would wait for its other end.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return NOTHING
        except OSError as error:
            return Witness.unknown(f"{path} cannot be read: {error.strerror}")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Witness(Owner.PROGRAM)
        except OSError as error:
            return Witness.unknown(f"{path} cannot be locked: {error.strerror}")
        finally:
            os.close(descriptor)
        return NOTHING

    def sees_all_of(self, path: str) -> bool:
        """Return whether every process that may write to a file is seen here."""
        return self.blindness(path) is None

    def blindness(self, path: str) -> str | None:
        """
        Return why not every process that may write to a file is seen here, in words.

        None if every one is. That is not so on a network file system, nor in a volume that a
        container shares with others, nor if proc(5) hides the processes of other users.
        """
        try:
            # Not the file's: on overlayfs, files and directories may have different ones.
            device = os.stat(os.path.dirname(path)).st_dev
        except OSError as error:
            return f"{os.path.dirname(path)} cannot be read: {error.strerror}"
        if self.processes is None:
            return "the processes of this machine cannot be listed"
        if self.hidden:
            return "the processes of other users are hidden (hidepid of /proc)"
        if self.mounts is None:
            return "the file systems of this machine cannot be listed"
        if self.isolated and device != self.root:
            return "programs outside of this container may share its directory"
        if is_shared_at(path, device, self.mounts):
            return "other machines may share its file system"
        return None


class Owners(ABC):
    """
    What an agent's own files and this machine prove, at one moment, about its sessions' owners.

    :param snapshot: this machine at that moment.
    :ivar warnings: one line for each problem that a person should solve.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.warnings: list[str] = []

    def witness(self, session: Identity, transcript: str) -> Witness:
        """
        Return the strongest word about what can write to a session.

        Its owner is only proven gone if every process that may write to its transcript is seen.
        """
        return strongest(self._witnesses(session, transcript))

    def _witnesses(self, session: Identity, transcript: str) -> Iterator[Witness]:
        yield self.witnessed(session, transcript)
        name = os.path.basename(transcript)
        # A name that several sessions share names none of them without its directory.
        process = self.snapshot.mentioning(session.id, name if session.id in name else transcript)
        if process is not None:
            yield Witness.of(process)
        blindness = self.snapshot.blindness(transcript)
        if blindness is not None:
            yield Witness.unknown(blindness)

    @abstractmethod
    def witnessed(self, session: Identity, transcript: str) -> Witness:
        """Return what has a session, by the agent's files and its own processes."""

    def is_asking(self, session: Identity) -> bool:  # noqa: ARG002
        """Return whether the session's process said last that it waits for a person."""
        return False

    def wants_permission(self, session: Identity) -> bool:  # noqa: ARG002
        """Return whether what the session's process waits for is a permission."""
        return False

    def has_left(self, session: Identity, since: float) -> bool:  # noqa: ARG002
        """
        Return whether a person has left a session, and its transcript does not say so.

        :param since: the time of its last record, in seconds since the epoch.
        """
        return False

    def is_queued(self, session: Identity) -> bool | None:  # noqa: ARG002
        """
        Return whether a message waits in the agent's own queue for a session.

        None if that is unknown, and for an agent without a queue.
        """
        return None


def take_snapshot(
    proc: str = "/proc",
    uid: int | None = None,
    commands: Container[int] = (),
    programs: frozenset[str] | None = None,
) -> Snapshot:
    """
    List what this machine knows at this moment.

    It takes some milliseconds, and more if there are thousands of processes.

    :param proc: where proc(5) is mounted.
    :param uid: which processes are ours; those of this process's user if None.
    :param commands: the pids of commands that we started, each the leader of its session: they
        and their children have no session but the one they were started for.
    :param programs: the names of the programs of which more than the command line is read; it is
        read of every process if None.
    """
    uid = os.geteuid() if uid is None else uid
    root = os.stat("/").st_dev
    try:
        if sys.platform == "darwin":
            ours = processes_of(uid)
            processes = {each.pid: each for each in ours if each.leader not in commands}
            mounts = read_mounts()
            return Snapshot(processes, mounts=mounts, root=root, look_at=look_at, commands=commands)
        namespace = os.readlink(f"{proc}/self/ns/pid")
        processes = {
            process.pid: process
            for process in every_process(uid, programs, proc)
            if process.leader is None or process.leader not in commands
        }
    except OSError:
        return Snapshot(None)
    locks = machine.table(f"{proc}/locks")
    hidden = hides_processes(proc)
    return Snapshot(
        processes,
        None if locks is None else parse_locks(locks),
        read_mounts(proc),
        isolated=namespace != FIRST_NAMESPACE,
        hidden=hidden,
        root=root,
        look_at=look_at,
        commands=commands,
        have_open=have_open,
    )


def hides_processes(proc: str = "/proc") -> bool:
    """Return whether proc(5) is mounted so that the processes of other users are not seen."""
    mounts = machine.table(f"{proc}/self/mountinfo") or ""
    found = re.findall(r"^.+ /proc .+ - proc .*\bhidepid=(\w+)", mounts, re.MULTILINE)
    if not found or found[-1] in ("0", "off"):
        return False
    try:
        # Root sees them all the same, and so does the group that is named by the option gid.
        with open(f"{proc}/1/cmdline", "rb"):
            return False
    except OSError:
        return True


def _is_start(written: str, start: str) -> bool:
    """
    Return whether an agent may have written down a process's start time.

    What has another form than the system's may be the time of any process.
    """
    if sys.platform == "darwin":
        from palingenesis.darwin import same_start

        return same_start(written, int(start)) if start.isdigit() else True
    return written == start or not (written.isascii() and written.isdigit())


def _asked(path: str) -> Witness:
    """Return whether a lock on a file is held, by asking macOS's kernel, which takes nothing."""
    try:
        from palingenesis.darwin import is_locked

        return Witness(Owner.PROGRAM) if is_locked(path) else NOTHING
    except FileNotFoundError:
        return NOTHING
    except (OSError, ImportError) as error:
        return Witness.unknown(f"{path}: its lock cannot be seen: {error}")


def parse_locks(text: str) -> frozenset[Lock]:
    """Return the locks that are held, in proc_locks(5); those of a part of a file count too."""
    held = re.findall(
        r"^[0-9]+: (?:FLOCK|POSIX|OFDLCK) +\w+ +\w+ +(-?[0-9]+) ([0-9a-f]+):([0-9a-f]+):([0-9]+) ",
        text,
        re.MULTILINE,
    )
    return frozenset(
        Lock(os.makedev(int(major, 16), int(minor, 16)), int(inode), int(pid))
        for pid, major, minor, inode in held
    )
