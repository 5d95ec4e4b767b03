"""
Processes by pid and start time, so that a pid that is used again is never taken for another.

They are read from ``/proc`` (proc(5)) on Linux, and from the kernel on macOS, see
`palingenesis.darwin`. If neither can be asked, ps(1) shows which of our own revivals live.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from palingenesis.monitor import machine
from palingenesis.monitor.files import names_in
from palingenesis.procfs import macos_kernel, parse_stat
from palingenesis.text import NAME_LIMIT, printable

if TYPE_CHECKING:
    from palingenesis.darwin import Kernel

_T = TypeVar("_T")

#: Processes that are listed, and bytes of a command line.
PROCESS_LIMIT = 100_000
COMMAND_LINE = 128 * 1024
_USUAL = 4096

#: The errors of stat(2) for a directory that is not there, so that nothing is in it.
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_LINUX = sys.platform == "linux"
_PS = "/bin/ps"
#: For dates in English and UTC, and names that are not escaped.
_ENVIRONMENT = {"LC_ALL": "en_US.UTF-8", "TZ": "UTC0"}
#: A framework's Python, such as Homebrew's, is ``Python`` in its own command line.
_INTERPRETER = re.compile(r"(?:node|nodejs|bun|deno|[Pp]ython[0-9.]*)")


@dataclass(frozen=True, slots=True)
class Process:
    """
    One living process at one moment.

    :ivar start: its start time, in the system's words: field 22 of proc_pid_stat(5), on macOS
        the microseconds since the epoch, else ``lstart`` of ps(1); None if unknown.
    :ivar arguments: its command line, from the program's name on.
    :ivar command: the name by which the kernel knows it; empty if unknown.
    :ivar program: the path of the file that it runs; None if it cannot be read.
    :ivar leads: whether it leads its process group and its session.
    :ivar leader: the pid of its session's leader, setsid(2); None if unknown.
    :ivar directory: its current directory; None if it cannot be read.
    :ivar link: a path that leads to that directory whatever its name; None if there is none.
    :ivar inode: the device and the inode of that directory, if there is no such path.
    :ivar terminal: its controlling terminal, such as ``pts/3``; None if it has none.
    :ivar files: a directory of links to the files that it has open; empty on macOS, whose kernel
        lists them; None if they are unknown.
    :ivar is_ours: whether it runs as our user.
    :ivar is_whole: whether more was read of it than its command line and its program.
    """

    pid: int
    start: str | None
    arguments: tuple[str, ...] = ()
    command: str = ""
    leads: bool = False
    directory: str | None = None
    link: str | None = None
    program: str | None = None
    leader: int | None = None
    inode: tuple[int, int] | None = None
    terminal: str | None = None
    files: str | None = None
    is_ours: bool = True
    is_whole: bool = True

    @property
    def began(self) -> str:
        """Its start time and the boot it counts from: no other process of this pid has both."""
        return f"{self.start}@{_boot()}" if sys.platform == "linux" else self.start or ""

    @property
    def names(self) -> frozenset[str]:
        """The names under which its program runs."""
        names = names_of(self.arguments)
        if self.command:
            names |= {self.command}
        return names if self.program is None else names | _names_in(self.program)

    @property
    def title(self) -> str:
        """The name of its program, for a person."""
        name = self.command or os.path.basename(self.arguments[0] if self.arguments else "")
        return printable(name or "without a name", NAME_LIMIT)

    @property
    def age(self) -> float | None:
        """Seconds since it started; None if the system does not say."""
        if sys.platform == "darwin" and self.start is not None and self.start.isdigit():
            return time.time() - int(self.start) / 1_000_000
        uptime = machine.table("/proc/uptime") if _LINUX else None
        if uptime is None or self.start is None or not self.start.isdigit():
            return None
        return float(uptime.split()[0]) - int(self.start) / os.sysconf("SC_CLK_TCK")

    def is_in(self, directory: str) -> bool | None:
        """
        Return whether a directory, which may have several names, is its current one.

        None if that directory cannot be looked at.
        """
        if self.directory == directory:
            return True
        try:
            # Asked of few processes: it may hang if a network file system does not answer.
            if self.inode is not None:
                found = os.stat(directory)
                return (found.st_dev & 0xFFFFFFFF, found.st_ino) == self.inode
            return self.link is not None and os.path.samefile(self.link, directory)
        except OSError as error:
            return False if error.errno in _MISSING else None

    def mentions(self, text: str) -> bool:
        """
        Return whether a text, such as a session's id, is in its command line.

        The text must be a word, or the last part of a path: a longer name that holds it does not
        count.
        """
        if not any(text in argument for argument in self.arguments):
            return False
        pattern = rf"(?<![\w.-]){re.escape(text)}(?![\w./-])"
        return re.search(pattern, "\0".join(self.arguments), re.ASCII) is not None

    def open_files(self) -> dict[str, list[str]]:
        """
        Return paths of the files that it has open for writing, by the names of the files.

        On Linux they are links that lead to the files even if those have another name by now.

        :raises OSError: if it is another user's, or hides them.
        """
        found: dict[str, list[str]] = {}
        if self.files is None:
            return found
        if not self.files:
            with suppress(ProcessLookupError):
                for file in macos_kernel().files(self.pid):
                    if file.written:
                        found.setdefault(os.path.basename(file.path), []).append(file.path)
            return found
        try:
            descriptors = os.listdir(self.files)
        except (FileNotFoundError, ProcessLookupError):
            return found  # it ended meanwhile
        for descriptor in descriptors:
            link = os.path.join(self.files, descriptor)
            target = _target(link)
            if target is not None and target.startswith("/") and _is_written(link):
                found.setdefault(os.path.basename(target), []).append(link)
        return found


def look_at(pid: int) -> Process | None:
    """Return a process; None if it is gone, a zombie, or cannot be seen."""
    try:
        if sys.platform == "darwin":
            return _in_kernel(macos_kernel(), pid)
        return _in_proc(f"/proc/{pid}", pid) if _LINUX else _by_ps(pid)
    except ProcessLookupError:
        return None
    except OSError:
        return _by_ps(pid) if sys.platform == "darwin" else None


def is_alive(pid: int, began: str) -> bool:
    """Return whether the process that began then still runs under this pid."""
    found = look_at(pid)
    return found is not None and found.began == began


def ours() -> list[Process]:
    """Return the living processes of our user that can be seen; none if they cannot be listed."""
    uid = os.geteuid()
    try:
        if sys.platform == "darwin":
            return list(processes_of(uid))
        pids = [pid for pid in _listed("/proc") if _is_of(pid, uid)]
    except OSError:
        return []
    return [process for pid in pids if (process := look_at(pid)) is not None]


def is_led_by(leader: int) -> bool:
    """Return whether our processes live in the session of a leader that has ended, setsid(2)."""
    # If the leader's pid is in use, it is another process's by now, and so is the session.
    return look_at(leader) is None and any(process.leader == leader for process in ours())


def have_open(paths: Collection[str], proc: str = "/proc") -> bool:
    """
    Return whether another process has one of some files open, as far as that can be seen.

    Of another user's process nothing is seen, except by root.

    :param paths: without links.
    """
    try:
        pids = _listed(proc)
    except OSError:
        return False
    for pid in pids:
        if pid != os.getpid():
            directory = f"{proc}/{pid}/fd"
            try:
                links = [f"{directory}/{number}" for number in os.listdir(directory)]
            except OSError:
                continue  # it ended meanwhile, or is another user's
            if any(_target(link) in paths for link in links):
                return True
    return False


def processes_of(uid: int) -> Iterator[Process]:
    """
    Yield the living processes of a user on macOS.

    :raises OSError: if they cannot be listed, or one that lives cannot be looked at, as without
        a free descriptor.
    """
    kernel = macos_kernel()
    for pid in kernel.pids():
        try:
            process = _in_kernel(kernel, pid) if kernel.process(pid).uid == uid else None
        except ProcessLookupError:
            continue  # it ended meanwhile
        if process is not None:
            yield process


def every_process(
    uid: int, programs: frozenset[str] | None, proc: str = "/proc"
) -> Iterator[Process]:
    """
    Yield the living processes of all users on Linux, those of some programs as a whole.

    To read the command line alone takes a fifth of the time.

    :param uid: which processes are ours.
    :param programs: the names of the programs; every process is read as a whole if None.
    :param proc: where proc(5) is mounted.
    :raises OSError: if they cannot be listed, or one that lives cannot be looked at, as without
        a free descriptor.
    """
    for pid in _listed(proc):
        directory = f"{proc}/{pid}"
        ours = False
        try:
            ours = os.stat(directory).st_uid == uid
            arguments = _arguments(directory)
            program = _target(f"{directory}/exe") if ours else None
            if arguments == ("",) and program is None:
                continue  # a zombie, or a thread of the kernel
            process = Process(pid, None, arguments, program=program, is_ours=ours, is_whole=False)
            if programs is None or not programs.isdisjoint(process.names):
                process = whole(process, uid, proc)
            yield process
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        except PermissionError:
            if ours:
                raise


def whole(process: Process, uid: int, proc: str = "/proc") -> Process:
    """
    Read the rest of a process on Linux.

    :raises OSError: if it is gone, or cannot be looked at.
    """
    directory = f"{proc}/{process.pid}"
    found = _in_proc(directory, process.pid)
    if found is None:
        raise ProcessLookupError(process.pid)
    # One that may not be traced belongs to root in proc(5), whoever it runs as.
    ours = process.is_ours or _real_user(directory) == uid
    return replace(found, is_ours=ours, files=f"{directory}/fd")


def names_of(arguments: Iterable[str]) -> frozenset[str]:
    """
    Return the names under which a command runs.

    They are those of its program and, after an interpreter, of each argument up to the first
    that is no option.
    """
    first, *others = [*arguments] or [""]
    names = _names_in(first)
    if _INTERPRETER.fullmatch(os.path.basename(first)):
        for argument in others:
            names |= _names_in(argument)
            if not argument.startswith("-"):
                break
    return names


@lru_cache(maxsize=4096)
def _names_in(path: str) -> frozenset[str]:
    """
    Return the names of a program: its base name, or its directory's if that alone names it.

    A program may change its own name: of ``claude bg-spare``, the first word counts too.
    """
    directory, base = os.path.split(path)
    names = {base, base.partition(" ")[0]}
    parent, last = os.path.split(directory)
    if base == "cli.js":
        names.add(last)
    elif last == "versions":
        names.add(os.path.basename(parent))
    return frozenset(names)


def _listed(proc: str) -> list[int]:
    """Return the pids that proc(5) lists."""
    names = names_in(proc, PROCESS_LIMIT)
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _is_of(pid: int, uid: int) -> bool:
    """Return whether a process is a user's; False if it ended meanwhile."""
    try:
        return os.stat(f"/proc/{pid}").st_uid == uid
    except (FileNotFoundError, ProcessLookupError):
        return False


def _in_proc(directory: str, pid: int) -> Process | None:
    """
    Read a process from its directory below ``/proc``; None for a zombie.

    :raises OSError: if it is gone, or cannot be looked at.
    """
    # The command, the state, and so on: field N of proc_pid_stat(5) is at N - 2.
    stat = parse_stat(_read(f"{directory}/stat"))
    if len(stat) < 21 or stat[1] in (b"Z", b"X", b"x"):
        return None
    command = os.fsdecode(stat[0])
    leads = str(pid).encode() == stat[3] == stat[4]
    start = stat[20].decode("ascii", "replace")
    current = _target(f"{directory}/cwd")
    return Process(
        pid,
        start,
        _arguments(directory),
        command,
        leads,
        current,
        link=None if current is None else f"{directory}/cwd",
        program=_target(f"{directory}/exe"),
        leader=int(stat[4]),
        terminal=_terminal(int(stat[5])),
    )


def _arguments(directory: str) -> tuple[str, ...]:
    return tuple(os.fsdecode(_read(f"{directory}/cmdline")).rstrip("\0").split("\0"))


def _real_user(directory: str) -> int | None:
    found = re.search(rb"^Uid:\t(\d+)", _read(f"{directory}/status"), re.MULTILINE)
    return None if found is None else int(found[1])


def _terminal(device: int) -> str | None:
    """Return the name of a terminal by its device, as Linux's ``devices.txt`` has them."""
    major, minor = os.major(device & 0xFFFFFFFF), os.minor(device & 0xFFFFFFFF)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return f"tty{minor}" if major == 4 and minor < 64 else None


def _is_written(link: str) -> bool:
    """Return whether an open file may be written; its flags are in proc_pid_fdinfo(5)."""
    directory, descriptor = os.path.split(link)
    try:
        content = _read(os.path.join(f"{directory}info", descriptor))
    except OSError:
        return True
    flags = re.search(rb"^flags:\s+([0-7]+)", content, re.MULTILINE)
    return flags is None or int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _target(link: str) -> str | None:
    try:
        return os.readlink(link).removesuffix(" (deleted)")
    except OSError:
        return None


def _in_kernel(kernel: Kernel, pid: int) -> Process | None:
    """
    Read a process from macOS's kernel; None for a zombie.

    What cannot be read is left out. If that is the command line or the name of the directory, the
    directory is left out, so that a candidate counts as unknown.

    :raises ProcessLookupError: if it is gone.
    :raises OSError: if nothing can be read.
    """
    found = kernel.process(pid)
    if found.zombie:
        return None
    line = _read_by(kernel.arguments, pid)
    directory = _read_by(kernel.directory, pid)
    started = _read_by(kernel.started, pid)
    leader = _read_by(os.getsid, pid)
    program = None
    with suppress(OSError):
        # ESRCH is no proof of an end here: it is said of a program on a volume that was forced off.
        program = kernel.program(pid)
    process = Process(
        pid,
        None if started is None else str(started),
        () if line is None else tuple(line[1]),
        found.name,
        pid == leader == found.group,
        program=program,
        leader=leader,
        files="",
    )
    # A directory that was deleted may have no name, and lie where a new one is now.
    if line is None or directory is None or not directory.path:
        return process
    inode = (directory.device, directory.inode)
    return replace(process, directory=directory.path, inode=inode)


def _read_by(question: Callable[[int], _T], pid: int) -> _T | None:
    """Return what a question is answered; None if it may not be asked."""
    try:
        return question(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None


def _by_ps(pid: int) -> Process | None:
    # One option each: after an equals sign, FreeBSD's takes all that follows for the header.
    options = ("-o", "stat=", "-o", "pgid=", "-o", "lstart=", "-p", str(pid))
    # macOS has no session in ps(1): the flag "s" of its state marks a session's leader.
    for line in (machine.run(_PS, *options, environment=_ENVIRONMENT) or "").splitlines():
        state, group, *start = line.split()
        if not state.startswith("Z"):
            return Process(pid, " ".join(start), leads="s" in state and int(group) == pid)
    return None


def _boot() -> str:
    try:
        # The kernel refuses to read much of it at once.
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return ""


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = os.read(descriptor, _USUAL)
        # A larger buffer costs more than a usual read.
        return content if len(content) < _USUAL else content + os.read(descriptor, COMMAND_LINE)
    finally:
        os.close(descriptor)
