"""
A simulated macOS for whole test runs on Linux: put this directory on ``PYTHONPATH``.

Every Python that starts with it believes that it runs on macOS: no ``/proc``, no pidfd, no
``SO_PEERCRED``, a full backlog that refuses, fchmod(2) of a socket that fails; libSystem, kqueue,
``F_GETLK`` and ``LOCAL_PEERPID`` answer for the real processes and locks of this machine. What a
real kernel answers, this does not show. ``/tmp`` is no link, names are compared byte by byte,
launchd is missing, and programs that are no Python see Linux.
"""

from __future__ import annotations

import asyncio
import builtins
import ctypes
import errno
import fcntl
import multiprocessing
import os
import re
import select
import socket
import stat
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from types import ModuleType
from typing import Any

# These choose by the platform when they are imported, so they are imported before it changes.
_CHOSEN = (asyncio, multiprocessing, subprocess, sysconfig.get_config_vars(), tempfile)

_open, _listdir, _readlink, _stat, _fcntl = (
    *(builtins.open, os.listdir, os.readlink, os.stat),
    fcntl.fcntl,
)
_pidfd_open, _fchmod, _isdir = os.pidfd_open, os.fchmod, os.path.isdir
with _open("/proc/stat") as _file:
    _BOOT = next(int(line.split()[1]) for line in _file if line.startswith("btime "))
_SO_PEERCRED, _UCRED = 17, struct.Struct("iII")


class Hiding:
    """A function of a path for which nothing is below ``/proc``; like those in C, no method."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __call__(self, path: Any = ".", *arguments: Any, **how: Any) -> Any:
        if isinstance(path, str) and (path == "/proc" or path.startswith("/proc/")):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._real(path, *arguments, **how)


def _status(pid: int) -> list[str] | None:
    """Return the fields of proc_pid_stat(5), the command first; None if there is no process."""
    try:
        with _open(f"/proc/{pid}/stat", encoding="utf-8", errors="surrogateescape") as file:
            head, _, tail = file.read().rpartition(")")
    except OSError:
        return None
    return [head.partition("(")[2], *tail.split()]


def _started(fields: list[str]) -> tuple[int, int]:
    """Return the seconds and microseconds since the epoch at which a process started."""
    # The time of the boot is known to a second, and has to be the same in every process.
    ticks = int(fields[20]) + os.sysconf("SC_CLK_TCK") // 2
    seconds, ticks = divmod(ticks, os.sysconf("SC_CLK_TCK"))
    return _BOOT + seconds, ticks * 10_000


class Library:
    """libSystem, as xnu would answer for the processes of this machine."""

    def proc_listpids(self, _kind: int, _info: int, buffer: Any, size: int) -> int:
        pids = [int(name) for name in _listdir("/proc") if name.isdecimal()]
        return self._fill(buffer, struct.pack(f"<{len(pids)}i", *pids)[:size])

    def proc_pidinfo(self, pid: int, flavour: int, argument: int, buffer: Any, size: int) -> int:
        fields = _status(pid)
        if fields is None or (fields[1] in "ZX" and not argument):
            return self._fail(errno.ESRCH)
        try:
            owner = _stat(f"/proc/{pid}")
            data = self._answer(pid, flavour, fields, owner)
        except PermissionError:
            return self._fail(errno.EPERM)
        except OSError:
            return self._fail(errno.ESRCH)
        return self._fill(buffer, data[:size])

    def _answer(self, pid: int, flavour: int, fields: list[str], owner: os.stat_result) -> bytes:
        command, state, parent, group = fields[:4]
        name = os.fsencode(command)
        if flavour == 13:
            status = {"Z": 5, "X": 5, "T": 4, "t": 4}.get(state, 2)
            return struct.pack(
                "<4I16s8I",
                *(pid, int(parent), int(group), status, name, 0, owner.st_uid, owner.st_gid),
                *[0] * 5,
            )
        if os.geteuid() not in (0, owner.st_uid):
            raise PermissionError
        if flavour == 3:
            return struct.pack(
                "<12I16s32s5Ii2Q",
                *(0, 2, 0, pid, int(parent), owner.st_uid, owner.st_gid, *[0] * 5),
                *(name, name, 0, int(group), 0, 0, 0, 0, *_started(fields)),
            )
        if flavour == 9:
            return self._vnode(f"/proc/{pid}/cwd") + bytes(1176)
        found = b""
        for number in _listdir(f"/proc/{pid}/fd"):
            try:
                kind = _stat(f"/proc/{pid}/fd/{number}").st_mode
            except FileNotFoundError:
                continue  # The one that listed them.
            is_file = stat.S_ISREG(kind) or stat.S_ISDIR(kind)
            found += struct.pack("<iI", int(number), 1 if is_file else 2)
        return found

    def proc_pidfdinfo(self, pid: int, number: int, flavour: int, buffer: Any, size: int) -> int:
        link = f"/proc/{pid}/fd/{number}"
        try:
            if flavour == 2:
                with _open(f"/proc/{pid}/fdinfo/{number}") as file:
                    flags = int(re.search(r"flags:\s*(\d+)", file.read())[1], 8)  # type: ignore[index]
                data = struct.pack("<I20x", (flags & 3) + 1) + self._vnode(link)
            else:
                data = self._socket(_readlink(link))
        except OSError:
            return self._fail(errno.EBADF)
        return self._fill(buffer, data[:size])

    def _socket(self, name: str) -> bytes:
        inode = name.removeprefix("socket:[").removesuffix("]")
        with _open("/proc/net/unix", errors="surrogateescape") as file:
            for line in file:
                words = line.split(None, 7)
                if len(words) == 8 and words[6] == inode:
                    path = os.fsencode(words[7].rstrip("\n"))[:104]
                    options = 2 if int(words[3], 16) & 0x10000 else 0
                    return struct.pack("<188xH66xi4x16xBx104s406x", options, 3, len(path) + 2, path)
        return struct.pack("<188xH66xi4x16xBx104s406x", 0, 0, 0, b"")

    def proc_pidpath(self, pid: int, buffer: Any, _size: int) -> int:
        try:
            return self._fill(buffer, os.fsencode(_readlink(f"/proc/{pid}/exe")))
        except OSError:
            return self._fail(errno.ESRCH)

    def sysctl(self, name: Any, _count: int, buffer: Any, size: Any, *_new: Any) -> int:
        if name[1] == 14:
            fields = _status(name[3])
            data = struct.pack("<qi636x", *_started(fields)) if fields else b""
            size._obj.value = self._fill(buffer, data)
            return 0
        pid = name[2]
        try:
            if os.geteuid() not in (0, _stat(f"/proc/{pid}").st_uid):
                raise PermissionError
            path = os.fsencode(_readlink(f"/proc/{pid}/exe")) + b"\0"
            # Linux lets the parent go on before the new program's arguments are in their place.
            for _ in range(100):
                with _open(f"/proc/{pid}/cmdline", "rb") as file:
                    line = file.read()
                if line:
                    break
                time.sleep(0.001)
            with _open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            ctypes.set_errno(errno.EINVAL)
            return -1
        count = struct.pack("<i", line.count(b"\0"))
        size._obj.value = self._fill(
            buffer, count + path + bytes(-len(path) % 8) + line + environment
        )
        return 0

    def statfs(self, _path: Any, buffer: Any) -> int:
        self._fill(buffer, struct.pack("<64xI4x16s2080x", 0x1000, b"apfs"))
        return 0

    def _vnode(self, link: str) -> bytes:
        found = _stat(link)
        path = os.fsencode(_readlink(link).removesuffix(" (deleted)"))
        return struct.pack("<I4xQ136x1024s", found.st_dev & 0xFFFFFFFF, found.st_ino, path)

    def _fill(self, buffer: Any, data: bytes) -> int:
        ctypes.memmove(buffer, data, len(data))
        return len(data)

    def _fail(self, number: int) -> int:
        ctypes.set_errno(number)
        return 0


class Queue:
    """kqueue(2) for the end of one process."""

    def __init__(self) -> None:
        self._descriptor = -1

    def control(self, changes: Any, size: int, timeout: float | None = None) -> list[Any]:
        for change in changes or ():
            self._descriptor = _pidfd_open(change[0])
        return select.select([self._descriptor], [], [], timeout)[0] if size else []

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _control(descriptor: Any, request: int, argument: Any = 0) -> Any:
    """Do fcntl(2), and what macOS has by these numbers."""
    if request == 51:
        return os.fsync(descriptor)
    if request == 7 and isinstance(argument, bytes):
        inode = os.fstat(descriptor).st_ino
        with _open("/proc/locks") as file:
            held = re.search(rf" \w+:\w+:{inode} ", file.read())
        return struct.pack("<2qi2h", 0, 0, -1, 3 if held else 2, 0)
    return _fcntl(descriptor, request, argument)


def _change_mode(descriptor: int, mode: int) -> None:
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    _fchmod(descriptor, mode)


class Socket(socket.socket):
    """A socket whose full backlog refuses, and that names its peer as macOS does."""

    def connect(self, address: Any) -> None:
        try:
            super().connect(address)
        except BlockingIOError as error:
            if error.errno == errno.EAGAIN and self.family == socket.AF_UNIX:
                number = errno.ECONNREFUSED
                raise ConnectionRefusedError(number, os.strerror(number)) from None
            raise

    def connect_ex(self, address: Any) -> int:
        number = super().connect_ex(address)
        refused = number == errno.EAGAIN and self.family == socket.AF_UNIX
        return errno.ECONNREFUSED if refused else number

    def getsockopt(self, level: int, option: int, *size: int) -> Any:
        if level == 0 and self.family == socket.AF_UNIX:
            data = super().getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _UCRED.size)
            pid, uid, gid = _UCRED.unpack(data)
            if not pid:
                raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
            return pid if option == 2 else struct.pack("<2Ih2x16I", 0, uid, 1, gid, *[0] * 15)
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        return super().getsockopt(level, option, *size)


class Finder:
    """Puts libSystem into `palingenesis.darwin`, and epoll(7) into Twisted's kqueue reactor."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "palingenesis.darwin":
            return None
        from importlib.machinery import PathFinder

        found = PathFinder.find_spec(name, path, target)
        assert found is not None
        assert found.loader is not None
        execute = found.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            module._load = Library
            real = module.file_system
            module.file_system = lambda path, library=None: real(path, library or Library())

        found.loader.exec_module = exec_module  # type: ignore[method-assign]
        return found


def _install_epoll() -> None:
    from twisted.internet.epollreactor import install

    install()


_kqreactor = ModuleType("twisted.internet.kqreactor")
_kqreactor.install = _install_epoll  # type: ignore[attr-defined]
sys.modules[_kqreactor.__name__] = _kqreactor
_scproxy = ModuleType("_scproxy")  # What urllib asks for proxies.
_scproxy._get_proxies = _scproxy._get_proxy_settings = dict  # type: ignore[attr-defined]
sys.modules[_scproxy.__name__] = _scproxy
sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]

for _module, _names in (
    (os, ("pidfd_open", "fdatasync")),
    (socket, ("SO_PEERCRED", "SO_PASSCRED", "SCM_CREDENTIALS")),
):
    for _name in _names:
        delattr(_module, _name)
for _name, _value in (
    *(("kqueue", Queue), ("kevent", lambda *fields: fields), ("KQ_FILTER_PROC", -5)),
    *(("KQ_EV_ADD", 1), ("KQ_EV_ONESHOT", 16), ("KQ_NOTE_EXIT", 0x80000000)),
):
    setattr(select, _name, _value)
builtins.open = Hiding(_open)
os.listdir, os.readlink, os.stat = Hiding(_listdir), Hiding(_readlink), Hiding(_stat)
os.path.isdir = lambda path: not str(path).startswith("/proc") and _isdir(path)
os.fchmod = _change_mode
# Hypothesis would import trio, which needs more of a platform than is simulated.
os.environ["HYPOTHESIS_NO_PLUGINS"] = "1"
fcntl.fcntl = _control
socket.socket = Socket  # type: ignore[misc]
# The clocks that stand still, and go on, while the machine sleeps.
time.CLOCK_UPTIME_RAW, time.CLOCK_MONOTONIC_RAW = time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME  # type: ignore[attr-defined,misc]
sys.platform = "darwin"
