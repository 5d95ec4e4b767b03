"""
Processes and users, as far as the kernel reports them: the peer of a socket, and proc(5).

On macOS, `palingenesis.darwin` asks the kernel for the same.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections import namedtuple

from palingenesis.text import NAME_LIMIT, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from palingenesis.darwin import Kernel

_SOL_SOCKET: int = socket.SOL_SOCKET
_SO_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)
_UCRED = struct.Struct("i2I")
#: The uid the kernel gives for a socket that is not a Unix socket.
_NOBODY_KNOWN = 0xFFFFFFFF
#: The map of the initial user namespace, which has every user, user_namespaces(7).
_EVERY_USER = [b"0", b"0", b"4294967295"]


class Credentials(namedtuple("Credentials", ("pid", "uid", "gid"))):
    """
    A process; of a socket's peer, as it was when it connected or began to listen.

    :ivar pid: its process id; 0 if it lives in another PID namespace, or is connected over TCP.
    :ivar uid: its effective user id.
    :ivar gid: its effective group id.
    """

    __slots__ = ()

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        if not self.pid:
            return f"a process in another container, {user_in_words(self.uid)}"
        command = command_of(self.pid) or "command unknown"
        return f"pid {self.pid} ({command}), {user_in_words(self.uid)}"


def client_in_words(peer: Credentials | None) -> str:
    """Name a client by its user and process, as far as the kernel reports them, for a log."""
    if peer is None:
        return "an unknown client"
    return f"uid {peer.uid}, pid {peer.pid}" if peer.pid else f"uid {peer.uid}"


def peer_credentials(connection: Any) -> Credentials | None:
    """
    Ask the kernel for the process at the other end of a socket (``SO_PEERCRED``, unix(7)).

    On macOS, that is the process that has used the other end last. None on
    other systems, and for sockets that are not Unix sockets.
    """
    if sys.platform == "darwin":
        try:
            from palingenesis.darwin import peer
        except ImportError:
            return None
        found = peer(connection)
        return None if found is None else Credentials(*found)
    if _SO_PEERCRED is None:
        return None
    try:
        answer = connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    credentials = Credentials(*_UCRED.unpack(answer))
    return None if credentials.uid == _NOBODY_KNOWN else credentials


def parse_stat(content: bytes) -> list[bytes]:
    """
    Return the fields of proc_pid_stat(5): the command, then the state and all that follows it.

    Field N of the manual page is at N - 2. The list is empty if the command is not whole.
    """
    # The command stands in parentheses, and may itself hold spaces and parentheses.
    head, end, tail = content.rpartition(b")")
    _, begin, command = head.partition(b"(")
    return [command, *tail.split()] if begin and end else []


def process_stat(pid: int) -> list[bytes]:
    """Return the fields of proc_pid_stat(5) from the state on; none if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse_stat(file.read())[1:]
    except OSError:
        return []


def namespace_pids(pid: int) -> list[int]:
    """Return a process's pids, in our PID namespace and in each one below, pid_namespaces(7)."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"NSpid:"):
                    return [int(word) for word in line.split()[1:]]
    except OSError:
        pass
    return [pid]


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    if sys.platform == "darwin":
        try:
            return macos_kernel().has_ended(pid)
        except OSError:
            return False
    return process_stat(pid)[:1] == [b"Z"]


def is_stopped(pid: int) -> bool:
    """Return whether a process waits for SIGCONT; False if unknown."""
    if sys.platform == "darwin":
        try:
            return macos_kernel().process(pid).stopped
        except OSError:
            return False
    return process_stat(pid)[:1] == [b"T"]


def directory_of(pid: int) -> str | None:
    """Return the current directory of a process; None if it is gone, or another user's."""
    try:
        if sys.platform == "darwin":
            return macos_kernel().directory(pid).path or None
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def command_of(pid: int) -> str | None:
    """Return the name of a process, fit to print, or None if it is gone or hidden."""
    try:
        if sys.platform == "darwin":
            return printable(macos_kernel().process(pid).name, NAME_LIMIT)
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return printable(file.read().rstrip("\n"), NAME_LIMIT)
    except OSError:
        return None


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process; empty if it is gone, a zombie or hidden."""
    try:
        if sys.platform == "darwin":
            return macos_kernel().arguments(pid)[1]
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def environment_of(pid: int) -> dict[str, str] | None:
    """
    Return the environment with which a process was started, proc_pid_environ(5).

    None if it cannot be read, as that of another user, or of a program that macOS protects.
    """
    try:
        if sys.platform == "darwin":
            variables = macos_kernel().environment(pid)
            if not variables:
                return None
        else:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = os.fsdecode(file.read()).split("\0")
    except OSError:
        return None
    pairs = (each.partition("=") for each in variables)
    return {name: value for name, equals, value in pairs if equals}


def macos_kernel() -> Kernel:
    """
    Return macOS's table of processes.

    :raises OSError: if this Python cannot call the system's functions.
    """
    try:
        from palingenesis.darwin import Kernel
    except ImportError as error:
        raise OSError(errno.ENOSYS, "this Python has no ctypes") from error
    return Kernel()


def user_in_words(uid: int) -> str:
    """
    Name a user by number: ``uid 1000``.

    In a user namespace, the kernel gives every user from outside the same number, and that
    is said too, user_namespaces(7).
    """
    if is_unmapped(uid):
        return f"uid {uid} (in this user namespace, any user from outside it)"
    return f"uid {uid}"


def is_unmapped(uid: int) -> bool:
    """Return whether a number stands for every user from outside this user namespace."""
    try:
        with open("/proc/sys/kernel/overflowuid", "rb") as file:
            if int(file.read()) != uid:
                return False
        with open("/proc/self/uid_map", "rb") as file:
            return file.read().split() != _EVERY_USER
    except (OSError, ValueError):
        return False
