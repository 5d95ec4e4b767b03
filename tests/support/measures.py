"""What a process takes: memory, processor time, descriptors, seconds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable


def memory(pid: int, field: str = "VmRSS") -> int:
    """Return a process's memory in bytes: ``VmRSS`` now, ``VmHWM`` at most."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field} of process {pid}")


def processor_time(pid: int) -> float:
    """Return how many seconds of processor time a process has had."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> list[str]:
    """List the open file descriptors of a process."""
    return os.listdir(f"/proc/{pid}/fd")


def median_seconds(do: Callable[[], object], times: int = 9) -> float:
    """Return how long something takes: the median, since the machine may be busy."""
    taken = []
    for _ in range(times):
        begin = time.monotonic()
        do()
        taken.append(time.monotonic() - begin)
    return statistics.median(taken)
