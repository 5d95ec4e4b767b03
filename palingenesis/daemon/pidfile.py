"""
The PID file that twistd keeps, where its PID is somebody else's by now.

twistd takes a PID file for a running daemon's whenever its PID is in use. After a kill and
a reboot, or in a container, where the next daemon gets the same PID, that is wrong.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress

from palingenesis.procfs import process_stat


def discard_stale(path: str) -> None:
    """
    Remove a PID file whose process cannot have written it.

    That is so when the PID is our own, when the process of that PID began after the file
    was written, or when it is dead and only waits to be reaped. Where that cannot be told,
    the file stays for twistd to judge.
    """
    try:
        with open(path, encoding="ascii") as file:
            pid = int(file.read())
            written = os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError):
        return
    if pid == os.getpid() or _began(pid) > written + 1:
        with suppress(OSError):
            os.unlink(path)


def _began(pid: int) -> float:
    """
    Tell when a process began, in seconds since the epoch.

    Never where it is a zombie, which serves nobody; at the epoch where it cannot be told.
    """
    state, *numbers = process_stat(pid) or [b""]
    if state in (b"Z", b"X"):
        return math.inf
    try:
        ticks = int(numbers[18])
        # Of a boot the kernel tells whole seconds only.
        with open("/proc/stat", encoding="ascii") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
    return boot + ticks / os.sysconf("SC_CLK_TCK")
