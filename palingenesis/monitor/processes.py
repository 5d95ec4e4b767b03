"""Processes by pid and start time, so that a pid that is used again is never taken for another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from palingenesis.procfs import process_stat

_LINUX = sys.platform == "linux"
_PS = "/bin/ps"
#: Bytes of a command line that are looked at.
_COMMAND_LIMIT = 128 * 1024
#: Seconds that ps(1) may take; Linux is not asked by it.
_PS_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """
    One process at one moment.

    :ivar began: its start time, as text that no other process of this pid has: field 22 of
        proc_pid_stat(5) and the boot it counts from, or ``lstart`` of ps(1).
    :ivar leads: whether it leads its process group and its session.
    """

    pid: int
    began: str
    leads: bool


def look_at(pid: int) -> Process | None:
    """Look at a process; None where it is gone, a zombie, or cannot be seen."""
    return _look_in_proc(pid) if _LINUX else _look_by_ps(pid)


def is_alive(pid: int, began: str) -> bool:
    """Tell whether the process that began then still runs under this pid."""
    found = look_at(pid)
    return found is not None and found.began == began


def mentioning(text: str) -> Process | None:
    """
    Find a process of our user whose command line holds a text, such as a session's id.

    The text must stand alone, at most behind a ``=``: a file's name that holds it does not count.
    One that leads its session is preferred, and never the process that asks.
    """
    pattern = re.compile(rb"(?<![\w./-])" + re.escape(os.fsencode(text)) + rb"(?![\w./-])")
    found = None
    for pid, command in _commands_in_proc() if _LINUX else _commands_by_ps():
        if pid == os.getpid() or not pattern.search(command):
            continue
        process = look_at(pid)
        if process is not None and process.leads:
            return process
        found = found or process
    return found


def _look_in_proc(pid: int) -> Process | None:
    stat = process_stat(pid)
    if len(stat) < 20 or stat[0] in (b"Z", b"X", b"x"):
        return None
    group, session = int(stat[2]), int(stat[3])
    return Process(pid, f"{int(stat[19])}@{_boot()}", pid == group == session)


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return ""


def _commands_in_proc() -> Iterator[tuple[int, bytes]]:
    uid = os.geteuid()
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if not name.isdecimal():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != uid:
                continue
            with open(f"/proc/{name}/cmdline", "rb") as file:
                yield int(name), file.read(_COMMAND_LIMIT)
        except OSError:
            continue


def _ps(*arguments: str) -> list[bytes]:
    try:
        done = subprocess.run(  # noqa: S603 - an argument list of our own
            [_PS, *arguments],
            env={"LC_ALL": "C", "PATH": "/bin:/usr/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PS_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _look_by_ps(pid: int) -> Process | None:
    # macOS has no session in ps(1): the flag "s" of its state marks a session's leader.
    for line in _ps("-o", "stat=,pgid=,lstart=", "-p", str(pid)):
        state, group, *start = line.split()
        if not state.startswith(b"Z"):
            leads = b"s" in state and int(group) == pid
            return Process(pid, b" ".join(start).decode("ascii", "replace"), leads)
    return None


def _commands_by_ps() -> Iterator[tuple[int, bytes]]:
    for line in _ps("-U", str(os.geteuid()), "-ww", "-o", "pid=,args="):
        pid, _, command = line.strip().partition(b" ")
        if pid.isdigit():
            yield int(pid), command
