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
from palingenesis.client.errors import ErrorReply, connect_error, user_name
from palingenesis.client.exchange import Exchange
from palingenesis.client.location import find_socket
from palingenesis.procfs import command_of, peer_credentials
from palingenesis.text import printable
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
    exchange = Exchange(location, Command.STATUS)
    try:
        with connect(path, deadline, name_senders=_NAMES_SENDERS) as connection:
            if not _NAMES_SENDERS:
                return _refuse(path, "this system does not tell which process answers")
            listener = peer_credentials(connection)
            if listener is None or listener.pid <= 0:
                return _refuse(
                    path, "its process is in another container, and has no pid here; stop it there"
                )
            if listener.uid != os.geteuid():
                owner = user_name(listener.uid)
                return _refuse(path, f"{listener} belongs to {owner}; run this as {owner}")
            # Held before the reply: the process that sends it is then still this one.
            process = _hold(listener.pid)
            sender = _sender(connection, exchange, deadline)
    except TimeoutError:
        raise exchange.timed_out(seconds) from None
    except OSError as error:
        raise connect_error(location, error.errno) from error
    if process is None or sender != listener.pid:
        return _refuse(
            path,
            f"{command_of(listener.pid) or 'a process'} with pid {listener.pid} listens, "
            f"and pid {sender} answers, as it is when a service manager made the socket; "
            "stop it by that one, `systemctl --user stop` for example",
        )
    with process:
        return _end(process, listener.pid, seconds)


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

    def terminate(self) -> bool:
        """Send SIGTERM, and return whether there was still a process to get it."""
        try:
            signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
        except ProcessLookupError:
            return False
        return True

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end, so many seconds at most."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def _hold(pid: int) -> _Process | None:
    try:
        return _Process(pid)
    except ProcessLookupError:
        return None


def _sender(connection: socket.socket, exchange: Exchange, deadline: Deadline) -> int:
    """
    Ask for a reply, and return the pid of the process that sent it.

    An ``ERR:`` will do: a daemon that has too many clients can be stopped too.
    """
    connection.settimeout(deadline.remaining())
    try:  # noqa: SIM105 - contextlib is slow to import
        connection.sendall(exchange.request)
    except (BrokenPipeError, ConnectionResetError):
        pass  # It closed first, but may have said why.
    sender, complete = 0, False
    while not complete:
        connection.settimeout(deadline.remaining())
        try:
            data, ancillary, _flags, _address = connection.recvmsg(
                REPLY_LIMIT, socket.CMSG_SPACE(_UCRED.size)
            )
        except ConnectionResetError:
            break
        for level, kind, value in ancillary:
            if data and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                sender = _UCRED.unpack(value[: _UCRED.size])[0]
        complete = exchange.receive(data) or not data
    try:  # noqa: SIM105
        exchange.status()
    except ErrorReply:
        pass
    return sender


def _end(process: _Process, pid: int, seconds: float) -> Exit:
    name = command_of(pid)
    if process.terminate() and not process.ends_within(seconds):
        complain(
            f"pid {pid} ({name or 'command unknown'}) has SIGTERM, and has not ended after "
            f"{seconds:g} s; it may be busy with a command, or hung"
        )
        return Exit.NO_ANSWER
    print(f"stopped: pid {pid}")
    return Exit.DONE


def _refuse(path: str, why: str) -> Exit:
    complain(f"cannot stop the daemon at {printable(path)}: {why}")
    return Exit.NO_ANSWER
