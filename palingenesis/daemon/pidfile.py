"""
The PID file that twistd keeps, where it names no daemon.

twistd takes a PID file for a running daemon's whenever its PID is in use, and gives up
where it cannot read one. After a kill and a reboot, in a container, where the next daemon
gets the same PID, or after a power cut, that is wrong: which daemon runs is for the
socket's lock to say. A file that a living twistd keeps is always left for twistd to judge.
"""

from __future__ import annotations

import os
import stat

from palingenesis.paths import PathError, move_aside
from palingenesis.procfs import arguments_of, has_ended, process_stat
from palingenesis.text import VALUE_LIMIT, in_short, printable

#: The longest content that a torn PID file can have, in bytes; more is something else.
_TORN_LIMIT = 32
#: The largest PID that kill(2) takes.
_PID_LIMIT = 2**31 - 1
_ADVICE = "name another with twistd --pidfile=FILE"


def clear_unusable(path: str) -> list[str]:
    """
    Remove a PID file that no living daemon keeps.

    That is so when it holds no PID, when the PID is our own, nobody's or a zombie's, and when
    the process of that PID is no twistd and began after the file was written. A file that is
    longer than a PID is some other file, and moved aside.

    :returns: what to log.
    :raises PathError: when it is no regular file, or cannot be read or removed.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PathError(path, f"is not a regular file; {_ADVICE}")
            content = file.read(_TORN_LIMIT + 1)
            written = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PathError(path, f"cannot be read: {in_short(error)}; {_ADVICE}") from error
    shown = printable(path, VALUE_LIMIT)
    try:
        if len(content) > _TORN_LIMIT:
            moved = printable(move_aside(path), VALUE_LIMIT)
            return [f"The PID file {shown} was no PID file: moved it to {moved}"]
        pid = _parse(content)
        if pid is None:
            os.unlink(path)
            return [f"The PID file {shown} held no PID: removed it"]
        if not _may_keep(pid, path, written):
            os.unlink(path)
            return [f"The PID file {shown} named pid {pid}, which is no such daemon: removed it"]
    except OSError as error:
        raise PathError(path, f"cannot be replaced: {in_short(error)}; {_ADVICE}") from error
    return []


def _parse(content: bytes) -> int | None:
    digits = content.strip()
    pid = int(digits) if digits.isdigit() else 0
    return pid if 0 < pid <= _PID_LIMIT else None


def _may_keep(pid: int, path: str, written: float) -> bool:
    """Tell whether a process may keep its PID in a file that was written then."""
    if pid == os.getpid() or has_ended(pid):
        return False
    # Times are compared last: the clock may have been set since the file was written.
    return _is_kept_by(pid, path) or _began(pid) <= written + 1


def _is_kept_by(pid: int, path: str) -> bool:
    """Tell whether a process is a twistd with this PID file, by its command line."""
    arguments = arguments_of(pid)
    if not any(_is_twistd(word) for word in arguments[:4]):
        return False
    try:
        directory = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return True  # It is another user's, so that there is no telling.
    kept = os.path.join(directory, _pidfile_of(arguments))
    return os.path.realpath(kept) == os.path.realpath(path)


def _began(pid: int) -> float:
    """Return when a process began, in seconds since the epoch; 0 if unknown."""
    try:
        ticks = int(process_stat(pid)[19])
        # Of a boot the kernel tells whole seconds only.
        with open("/proc/stat", encoding="ascii") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def _is_twistd(word: str) -> bool:
    return os.path.basename(word).startswith(("twistd", "twisted"))


def _pidfile_of(arguments: list[str]) -> str:
    """Find the PID file that a command line of twistd names."""
    kept = "twistd.pid"
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        # getopt(3) takes any beginning that no other option has.
        if len(option) >= len("--pi") and "--pidfile".startswith(option):
            kept = value if equals else following
    return kept


def _open_at_once(path: str, flags: int) -> int:
    # A FIFO would hold us up until somebody writes to it.
    return os.open(path, flags | os.O_NONBLOCK)
