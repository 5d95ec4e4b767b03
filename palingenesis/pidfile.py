"""
The PID file that twistd keeps, where its PID is somebody else's by now.

twistd takes a PID file for a running daemon's whenever its PID is in use. After a kill and
a reboot, or in a container, where the next daemon gets the same PID, that is wrong.
"""

from __future__ import annotations

import os
from contextlib import suppress


def discard_stale(path: str) -> None:
    """
    Remove a PID file whose process cannot have written it.

    That is so when the PID is our own, or when the process of that PID began after the file
    was written. Where that cannot be told, the file stays for twistd to judge.
    """
    try:
        with open(path, encoding="ascii") as file:
            pid = int(file.read())
            written = os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError):
        return
    began = _began(pid)
    # The kernel tells the start in hundredths of a second, but of a boot in whole ones.
    if pid == os.getpid() or (began is not None and began > written + 1):
        with suppress(OSError):
            os.unlink(path)


def _began(pid: int) -> float | None:
    """Tell when a process began, in seconds since the epoch; see proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The command, in parentheses, may itself hold spaces and parentheses.
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/stat", encoding="ascii") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")
