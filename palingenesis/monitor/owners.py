"""
Which of our processes live, and whether this machine can tell at all.

Linux tells by ``/proc`` (proc(5)), macOS by ``ps`` and ``lsof``. Elsewhere nothing is known,
and no owner is ever proven gone.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from palingenesis.paths import home_directory
from palingenesis.words import Owner

Told = TypeVar("Told")

#: The first PID namespace, in which every process is seen: ``PROC_PID_INIT_INO`` of Linux.
FIRST_NAMESPACE = "pid:[4026531836]"
#: Processes that are looked at, and bytes of a command line.
PROCESS_LIMIT = 100_000
COMMAND_LINE = 4096
#: Bytes of a table of mounts or locks.
TABLE_LIMIT = 4 * 1024 * 1024
#: Seconds that ps(1), lsof(8) or mount(8) may take.
TOOL_TIMEOUT = 5.0

_INTERPRETER = re.compile(r"(?:node|nodejs|bun|deno|python[0-9.]*)")
#: File systems that other machines may write to, or the host of this one.
_SHARED = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "webdav", "afs", "coda"),
        *("ceph", "lustre", "gpfs", "beegfs", "glusterfs", "ocfs2", "gfs", "gfs2", "orangefs"),
        *("pvfs2", "ncpfs", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "macfuse", "osxfuse"),
    }
)
#: File systems in user space that live on this machine alone.
_LOCAL_FUSE = frozenset(
    {
        *("fuse.gocryptfs", "fuse.encfs", "fuse.cryfs"),
        *("fuse.bindfs", "fuse.fuse-overlayfs", "fuse.mergerfs"),
    }
)


@dataclass(frozen=True, slots=True)
class Process:
    """
    A living process of ours.

    :ivar start: when it started, as field 22 of proc_pid_stat(5) tells; None where unknown.
    :ivar names: the base names under which its program runs.
    :ivar directory: its current directory; None where it cannot be read.
    :ivar link: what leads to that directory under its every name; None where nothing does.
    """

    pid: int
    start: str | None
    names: frozenset[str]
    directory: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that somebody holds, as proc_locks(5) names its file."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system, with its device where the table of mounts tells it."""

    point: str
    kind: str
    device: int | None = None


@dataclass(frozen=True, slots=True)
class Processes:
    """
    Our processes at one moment.

    :ivar living: by pid; None where this machine cannot tell.
    :ivar locks: the locks that are held; None where this machine cannot tell.
    :ivar mounts: the mounted file systems; None where this machine cannot tell.
    :ivar isolated: whether there may be processes that are not seen, in a container.
    :ivar root: the device of the root directory.
    """

    living: Mapping[int, Process] | None
    locks: frozenset[Lock] | None = None
    mounts: tuple[Mount, ...] | None = None
    isolated: bool = False
    root: int = 0

    def alive(self, pid: int, start: str | None = None) -> bool:
        """
        Tell whether a process lives, and is the one that started at this time.

        Where one of the two times is unknown, a process of this pid is taken for it.
        """
        process = (self.living or {}).get(pid)
        return process is not None and (None in (start, process.start) or start == process.start)

    def running(self, commands: frozenset[str], directory: str) -> Owner:
        """Tell whether one of these commands runs in a directory."""
        if self.living is None:
            return Owner.UNKNOWN
        candidates = [p for p in self.living.values() if not commands.isdisjoint(p.names)]
        if not candidates:
            return Owner.GONE
        if any(_within(process, directory) for process in candidates):
            return Owner.PROGRAM
        if any(process.directory is None for process in candidates):
            return Owner.UNKNOWN
        return Owner.GONE

    def holder(self, path: str) -> Owner:
        """
        Tell whether a lock on a file is held.

        The lock itself is never tried: that could make a starting agent fail to take it.
        The kernel names a lock by the device of the file system, which is not the one that
        stat(2) tells on btrfs: the same inode on another device proves nothing.
        """
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
        Tell whether every process that may write to a file is seen here.

        It is not so on a network file system, nor in a volume that a container shares with
        others.
        """
        try:
            # Not the file's: on overlayfs, files and directories may have different ones.
            device = os.stat(os.path.dirname(path)).st_dev
        except OSError:
            return False
        if self.living is None or self.mounts is None:
            return False
        if self.isolated and device != self.root:
            return False
        return not shared(_mount_of(path, device, self.mounts))


def shared(kind: str | None) -> bool:
    """Tell whether others than this machine may write to a file system of this type."""
    if kind is None or kind in _SHARED:
        return True
    return (kind == "fuse" or kind.startswith("fuse.")) and kind not in _LOCAL_FUSE


def look(proc: str = "/proc", uid: int | None = None) -> Processes:
    """
    Look which of our processes live.

    It takes some milliseconds on Linux. On macOS it waits for two programs, at most
    `TOOL_TIMEOUT` seconds each, and may be called in a thread.

    :param proc: where proc(5) is mounted.
    :param uid: whose processes; our own where None.
    """
    uid = os.geteuid() if uid is None else uid
    if sys.platform == "darwin":
        return _look_with_tools(uid)
    try:
        namespace = os.readlink(f"{proc}/self/ns/pid")
        living = {process.pid: process for process in _living(proc, uid)}
    except OSError:
        return Processes(None)
    return Processes(
        living,
        _table(f"{proc}/locks", parse_locks),
        _table(f"{proc}/self/mountinfo", parse_mountinfo),
        isolated=namespace != FIRST_NAMESPACE,
        root=os.stat("/").st_dev,
    )


def home_of(environment: Mapping[str, str], variable: str, name: str) -> str:
    """Tell where an agent's files are: in an absolute path of the environment, or at home."""
    given = environment.get(variable, "")
    if os.path.isabs(given):
        return os.path.normpath(given)
    home = environment.get("HOME", "")
    if not os.path.isabs(home):
        # Without any, a place where nothing is, and not one below the current directory.
        home = home_directory() or os.devnull
    return os.path.join(home, name)


def bounded(directory: str, limit: int) -> list[str]:
    """
    List the names in a directory.

    :raises OSError: when it cannot be read, or has more than ``limit`` names.
    """
    with os.scandir(directory) as entries:
        names = [entry.name for entry in islice(entries, limit + 1)]
    if len(names) > limit:
        raise OSError(errno.EOVERFLOW, "too many names", directory)
    return names


def names_of(arguments: Iterable[str]) -> frozenset[str]:
    """
    Give the base names under which a command runs.

    That is the program's and, after an interpreter, the one of each argument up to the first
    that is no option.
    """
    first, *others = [*arguments] or [""]
    names = {os.path.basename(first)}
    if _INTERPRETER.fullmatch(os.path.basename(first)):
        for argument in others:
            names.add(os.path.basename(argument))
            if os.path.basename(argument) == "cli.js":
                names.add(os.path.basename(os.path.dirname(argument)))
            if not argument.startswith("-"):
                break
    return frozenset(names)


def parse_stat(text: str) -> tuple[str, str, str] | None:
    """Take the command, the state and the start time from what proc_pid_stat(5) tells."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    if len(fields) < 20 or "(" not in head:
        return None
    return head.partition("(")[2], fields[0], fields[19]


def parse_locks(text: str) -> frozenset[Lock]:
    """Take the whole-file locks that are held from what proc_locks(5) tells."""
    held = re.findall(
        r"^[0-9]+: FLOCK +\w+ +\w+ +-?[0-9]+ ([0-9a-f]+):([0-9a-f]+):([0-9]+) ", text, re.MULTILINE
    )
    return frozenset(
        Lock(os.makedev(int(major, 16), int(minor, 16)), int(inode)) for major, minor, inode in held
    )


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Take the file systems from what proc_pid_mountinfo(5) tells."""
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ", 1)[0]
        if not separator or len(fields) < 5:
            continue
        major, _, minor = fields[2].partition(":")
        if major.isdigit() and minor.isdigit():
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            mounts.append(Mount(point, kind, os.makedev(int(major), int(minor))))
    return tuple(mounts)


def parse_mount(text: str) -> tuple[Mount, ...]:
    """Take the file systems from what macOS's mount(8) prints."""
    found = re.findall(r"^.+? on (/.*) \((\w+)[,)]", text, re.MULTILINE)
    return tuple(Mount(point, kind) for point, kind in found)


def parse_ps(text: str, uid: int) -> dict[int, frozenset[str]]:
    """Take a user's living processes from ``ps -axww -o pid=,uid=,stat=,command=``."""
    living = {}
    for line in text.splitlines():
        fields = line.split(None, 3)
        if len(fields) < 4 or not fields[0].isdigit() or fields[1] != str(uid):
            continue
        if not fields[2].startswith("Z"):
            living[int(fields[0])] = names_of(fields[3].split(" "))
    return living


def parse_lsof(text: str) -> dict[int, str]:
    """Take the current directories from ``lsof -a -d cwd -Fpn``."""
    directories = {}
    pid = 0
    for line in text.splitlines():
        if line.startswith("p") and line[1:].isdigit():
            pid = int(line[1:])
        elif line.startswith("n/") and pid:
            directories[pid] = line[1:]
    return directories


def _living(proc: str, uid: int) -> Iterator[Process]:
    """
    Yield the processes of a user.

    :raises OSError: when one that lives cannot be looked at, as without a free descriptor.
    """
    for name in bounded(proc, PROCESS_LIMIT):
        if not (name.isascii() and name.isdigit()):
            continue
        try:
            if os.stat(f"{proc}/{name}").st_uid != uid:
                continue
            process = _process(f"{proc}/{name}", int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if process is not None:
            yield process


def _process(directory: str, pid: int) -> Process | None:
    """
    Look at one process; None for a zombie.

    :raises OSError: when it is gone.
    """
    if (told := parse_stat(_read(f"{directory}/stat", COMMAND_LINE))) is None:
        return None
    command, state, start = told
    if state in "ZX":
        return None
    arguments = _read(f"{directory}/cmdline", COMMAND_LINE).rstrip("\0").split("\0")
    names = names_of(arguments) | {command}
    try:
        current = os.readlink(f"{directory}/cwd").removesuffix(" (deleted)")
    except OSError:
        return Process(pid, start, names)
    return Process(pid, start, names, current, f"{directory}/cwd")


def _within(process: Process, directory: str) -> bool:
    """Tell whether a process is in a directory, which may have several names."""
    if process.directory == directory:
        return True
    try:
        # Asked of few processes: it may hang where a network file system does not answer.
        return process.link is not None and os.path.samefile(process.link, directory)
    except OSError:
        return False


def _mount_of(path: str, device: int, mounts: Iterable[Mount]) -> str | None:
    """Tell the type of the file system that a path is on."""
    real = os.path.realpath(path)
    best: Mount | None = None
    for mount in mounts:
        if mount.device == device:
            return mount.kind
        point = mount.point.rstrip("/")
        within = real == point or real.startswith(point + "/")
        if within and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best.kind if best is not None else None


def _look_with_tools(uid: int) -> Processes:
    ps = _run("/bin/ps", "-axww", "-o", "pid=,uid=,stat=,command=")
    lsof = _run("/usr/sbin/lsof", "-a", "-d", "cwd", "-u", str(uid), "-Fpn", "-n", "-P", "-w")
    mount = _run("/sbin/mount")
    if ps is None:
        return Processes(None)
    directories = parse_lsof(lsof or "")
    living = {
        pid: Process(pid, None, names, directories.get(pid))
        for pid, names in parse_ps(ps, uid).items()
    }
    mounts = None if mount is None else parse_mount(mount)
    return Processes(living, mounts=mounts, root=os.stat("/").st_dev)


def _run(*command: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TOOL_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout)


def _read(path: str, limit: int) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fsdecode(os.read(descriptor, limit))
    finally:
        os.close(descriptor)


def _table(path: str, parse: Callable[[str], Told]) -> Told | None:
    """Read a table of the kernel's whole; None where it cannot be read, or is too long."""
    try:
        with open(path, "rb") as file:
            content = file.read(TABLE_LIMIT)
    except OSError:
        return None
    return parse(os.fsdecode(content)) if len(content) < TABLE_LIMIT else None
