"""``palingenesis stop``: end the daemon that answers, and wait until it has let go."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.client.blocking import Deadline, connect
from palingenesis.client.errors import connect_error, find_socket, user_name
from palingenesis.client.exchange import Exchange
from palingenesis.procfs import command_of, peer_credentials
from palingenesis.wire import REPLY_LIMIT, Command

#: Seconds that the daemon has to end.
STOP_TIMEOUT = 10.0

_UCRED = struct.Struct("i2I")
#: Whether the kernel names the sender of a message, unix(7).
_NAMES_SENDERS = hasattr(socket, "SCM_CREDENTIALS") and hasattr(os, "pidfd_open")


def stop(given: str | None, timeout: float | None) -> Exit:
    """
    Send SIGTERM to the process that answers at the socket, and wait until it has ended.

    A process is signalled only when the kernel names it twice, as the one that listens
    (``SO_PEERCRED``) and as the one that sent the reply (``SCM_CREDENTIALS``, unix(7)), and
    through a descriptor that cannot come to mean another process (pidfd_open(2)).

    :param given: the path of the socket, or None to look for it.
    :param timeout: seconds that the daemon has to end; None for `STOP_TIMEOUT`.
    :raises palingenesis.client.errors.ClientError: when nothing answers there.
    """
    location = find_socket(given)
    path = location.path
    seconds = STOP_TIMEOUT if timeout is None else timeout
    deadline = Deadline(seconds)
    if not _NAMES_SENDERS:
        return _refuse(path, "this system does not tell which process answers", "")
    try:
        with connect(path, deadline) as connection:
            listener = peer_credentials(connection)
            if listener is None or listener.pid <= 0:
                return _refuse(
                    path,
                    "its process is in another container, and has no pid here",
                    "; stop it there",
                )
            if listener.uid != os.geteuid():
                owner = user_name(listener.uid)
                return _refuse(path, f"{listener} belongs to {owner}", f"; run this as {owner}")
            sender, process = _answering(connection, Exchange(location, Command.STATUS), deadline)
        if process is None or sender != listener.pid:
            return _refuse(
                path,
                f"{command_of(listener.pid) or 'a process'} with pid {listener.pid} listens, "
                f"and pid {sender} answers, as it is when a service manager made the socket",
                "; stop it by that one, `systemctl --user stop` for example",
            )
        with process:
            return _end(process, listener.pid, seconds)
    except TimeoutError:
        raise Exchange(location, Command.STATUS).timed_out(seconds) from None
    except OSError as error:
        raise connect_error(location, error.errno) from error


class _Process:
    """
    A process that is held by a descriptor, so that its pid cannot come to mean another.

    :raises ProcessLookupError: when there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def terminate(self) -> None:
        """Send SIGTERM."""
        signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end, so many seconds at most."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def _answering(
    connection: socket.socket, exchange: Exchange, deadline: Deadline
) -> tuple[int, _Process | None]:
    """
    Ask for a reply, and return the process that sent it, by its pid and held.

    :returns: 0 and None where it has ended since.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    listener = peer_credentials(connection)
    try:
        # Held before the reply: the process that sends it is then still this one.
        process = _Process(listener.pid) if listener else None
    except ProcessLookupError:
        process = None
    connection.settimeout(deadline.remaining())
    connection.sendall(exchange.request)
    sender, complete = 0, False
    while not complete:
        connection.settimeout(deadline.remaining())
        data, ancillary, _flags, _address = connection.recvmsg(
            REPLY_LIMIT, socket.CMSG_SPACE(_UCRED.size)
        )
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                sender = _UCRED.unpack(value[: _UCRED.size])[0]
        complete = exchange.receive(data) or not data
    exchange.status()
    return sender, process


def _end(process: _Process, pid: int, seconds: float) -> Exit:
    process.terminate()
    if process.ends_within(seconds):
        print(f"stopped: pid {pid}")
        return Exit.DONE
    complain(
        f"pid {pid} ({command_of(pid)}) has SIGTERM, and has not ended after {seconds:g} s; "
        "it may be busy with a command, or hung"
    )
    return Exit.NO_ANSWER


def _refuse(path: str, why: str, advice: str) -> Exit:
    complain(f"cannot stop the daemon at {path}: {why}{advice}")
    return Exit.NO_ANSWER
