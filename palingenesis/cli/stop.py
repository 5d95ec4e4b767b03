"""``palingenesis stop``: stop the daemon that answers, and wait until it has exited."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.cli.outcome import STOPPED
from palingenesis.client.blocking import Deadline, connect
from palingenesis.client.errors import ErrorReply, connect_error, user_name
from palingenesis.client.exchange import Exchange
from palingenesis.client.location import find_socket
from palingenesis.procfs import (
    command_of,
    has_ended,
    namespace_pids,
    peer_credentials,
    process_stat,
)
from palingenesis.text import in_short, printable
from palingenesis.wire import REPLY_LIMIT, Command
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.cli.outcome import Report
    from palingenesis.darwin import KqueueProcess

#: Seconds that the daemon has to exit.
STOP_TIMEOUT = 10.0
#: Seconds between two checks of a process that no descriptor holds.
RETRY = 0.05

#: The place of the start time among the fields that `process_stat` returns.
_START_TIME = 19
_UCRED = struct.Struct("i2I")
#: Whether the kernel names the sender of a message, unix(7).
_NAMES_SENDERS = hasattr(socket, "SCM_CREDENTIALS")
_BY_MANAGER = "launchctl bootout" if sys.platform == "darwin" else "systemctl --user stop"


def stop(
    given: str | None,
    timeout: float | None,
    report: Report = lambda _done, pid, _socket: print(f"{STOPPED}: pid {pid}"),
) -> Exit:
    """
    Send SIGTERM to the process that answers at the socket, and wait until it has exited.

    A process gets the signal only if the kernel names it twice, as the one that listens
    (``SO_PEERCRED``) and as the one that sent the reply (``SCM_CREDENTIALS``, unix(7)), and if it
    is the one that its ``STATUS`` names. On macOS, the kernel is asked by ``LOCAL_PEERPID``,
    before the request and after the reply; if the daemon has closed by then, ``STATUS`` has to
    name it.

    :param given: the path of the socket, or None to look for it.
    :param timeout: seconds that the daemon has to exit; None for `STOP_TIMEOUT`.
    :param report: reports a daemon that was stopped.
    :raises palingenesis.client.errors.ClientError: when nothing answers there.
    """
    location = find_socket(given)
    path = location.path
    seconds = STOP_TIMEOUT if timeout is None else timeout
    deadline = Deadline(seconds)
    exchange = Exchange(location, Command.STATUS)
    try:
        with connect(path, deadline, name_senders=_NAMES_SENDERS) as connection:
            if not _NAMES_SENDERS and sys.platform != "darwin":
                return _refuse(path, "this system does not name the process that answers")
            listener = peer_credentials(connection)
            if listener is None or listener.pid <= 0:
                why = "its process is in another container, and has no pid here; stop it there"
                if sys.platform == "darwin":
                    why = "the kernel does not name the process that listens; try again"
                return _refuse(path, why)
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
    with process:
        reported = _reported_pid(exchange)
        name = command_of(listener.pid) or "a process"
        if sys.platform == "darwin" and not sender:
            sender = reported or 0
        if sender != listener.pid:
            answers = f"pid {sender}" if sender else "a process that the kernel does not name"
            return _refuse(
                path,
                f"{name} with pid {listener.pid} listens, and {answers} answers, as it is when "
                f"a service manager made the socket; stop it by that one, `{_BY_MANAGER}` for "
                "example",
            )
        if reported is not None and reported not in namespace_pids(listener.pid):
            return _refuse(
                path,
                f"{name} with pid {listener.pid} answers for a daemon with pid {reported}; "
                "stop that one at its own socket",
            )
        status = _end(process, listener.pid, seconds)
    if status is Exit.DONE:
        report(STOPPED, listener.pid, path)
    return status


def _hold(pid: int) -> _Process | KqueueProcess:
    if sys.platform == "darwin":
        from palingenesis.darwin import KqueueProcess

        with suppress(ProcessLookupError):
            return KqueueProcess(pid)
    return _Process(pid)


class _Process:
    """
    A process that is held, so that its pid cannot come to mean another.

    A descriptor holds it, pidfd_open(2). If that is forbidden, as some containers and old
    kernels have it, its start time is compared before each use of the pid.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = process_stat(pid)[_START_TIME:][:1]
        self._descriptor: int | None = None
        if sys.platform == "linux":
            with suppress(AttributeError, OSError):
                self._descriptor = os.pidfd_open(pid)

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def terminate(self) -> bool:
        """
        Send SIGTERM, and return whether there was still a process to get it.

        :raises OSError: when the system forbids it.
        """
        try:
            if sys.platform == "linux" and self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
            elif self._has_ended():
                return False
            else:
                os.kill(self._pid, signal.SIGTERM)
        except ProcessLookupError:
            return False
        return True

    def ends_within(self, seconds: float) -> bool:
        """Wait until it has exited, so many seconds at most."""
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], seconds)[0])
        deadline = Deadline(seconds)
        try:
            while not self._has_ended():
                time.sleep(min(RETRY, deadline.remaining()))
        except TimeoutError:
            return False
        return True

    def _has_ended(self) -> bool:
        return has_ended(self._pid) or process_stat(self._pid)[_START_TIME:][:1] != self._began


def _sender(connection: socket.socket, exchange: Exchange, deadline: Deadline) -> int:
    """
    Read the reply, and return the pid of the process that sent it; 0 if the kernel names none.

    An ``ERR:`` will do: a daemon that has too many clients can be stopped too.
    """
    connection.settimeout(deadline.remaining())
    with suppress(BrokenPipeError, ConnectionResetError):
        # It may have closed first, but sent the reason.
        connection.sendall(exchange.request)
    sender, complete = 0, False
    while not complete:
        connection.settimeout(deadline.remaining())
        try:
            data, ancillary, _flags, _address = connection.recvmsg(
                REPLY_LIMIT, socket.CMSG_SPACE(_UCRED.size)
            )
        except ConnectionResetError:
            break
        if sys.platform == "darwin":
            if data and (peer := peer_credentials(connection)) is not None:
                sender = peer.pid
            complete = exchange.receive(data) or not data
            continue
        for level, kind, value in ancillary:
            if data and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                sender = _UCRED.unpack(value[: _UCRED.size])[0]
        complete = exchange.receive(data) or not data
    return sender


def _reported_pid(exchange: Exchange) -> int | None:
    """Return the pid in the daemon's own reply; None if an application reports none."""
    try:
        pid = exchange.status().extra.get(Key.PID)
    except ErrorReply:
        return None
    return pid if isinstance(pid, int) else None


def _end(process: _Process | KqueueProcess, pid: int, seconds: float) -> Exit:
    name = command_of(pid) or "command unknown"
    try:
        ended = not process.terminate() or process.ends_within(seconds)
    except OSError as error:
        complain(f"cannot send SIGTERM to pid {pid} ({name}): {in_short(error)}")
        return Exit.NO_ANSWER
    if not ended:
        complain(
            f"pid {pid} ({name}) was sent SIGTERM but has not exited after {seconds:g} s; "
            "it may be busy with a command, or hung"
        )
        return Exit.NO_ANSWER
    return Exit.DONE


def _refuse(path: str, why: str) -> Exit:
    complain(f"cannot stop the daemon at {printable(path)}: {why}")
    return Exit.NO_ANSWER
