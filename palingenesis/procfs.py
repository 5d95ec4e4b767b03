"""Who is at the other end of a Unix socket, as far as the kernel tells."""

from __future__ import annotations

import socket
import struct
from collections import namedtuple

from palingenesis.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SOL_SOCKET: int = socket.SOL_SOCKET
_SO_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)
_UCRED = struct.Struct("i2I")
#: The uid the kernel gives for a socket that is not a Unix socket.
_NOBODY_KNOWN = 0xFFFFFFFF


class Credentials(namedtuple("Credentials", ("pid", "uid", "gid"))):
    """
    The process at the other end, as it was when it connected or began to listen.

    :ivar pid: its process id; 0 when it lives in another PID namespace.
    :ivar uid: its effective user id.
    :ivar gid: its effective group id.
    """

    __slots__ = ()

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"pid {self.pid} ({command_of(self.pid) or 'command unknown'}), uid {self.uid}"


def peer_credentials(connection: Any) -> Credentials | None:
    """
    Ask the kernel who is at the other end of a socket (``SO_PEERCRED``, unix(7)).

    None where the kernel does not tell: on other systems than Linux, and for sockets that
    are not Unix sockets.
    """
    if _SO_PEERCRED is None:
        return None
    try:
        answer = connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    credentials = Credentials(*_UCRED.unpack(answer))
    return None if credentials.uid == _NOBODY_KNOWN else credentials


def process_stat(pid: int) -> list[bytes]:
    """Tell what proc_pid_stat(5) has of a process, from its state on; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command before it, in parentheses, may itself hold spaces and parentheses.
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def command_of(pid: int) -> str | None:
    """Tell the name of a process, fit to print, or None where it is gone or hidden."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return printable(file.read().rstrip("\n"), 40)
    except OSError:
        return None
