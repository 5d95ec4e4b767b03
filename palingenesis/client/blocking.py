"""
A blocking client of the control socket, on the standard library alone.

::

    from palingenesis import ClientError, ControlClient

    try:
        print(ControlClient().status().uptime_secs)
    except ClientError as error:
        print(error)
"""

from __future__ import annotations

import socket
import sys
import time

from palingenesis.client.errors import connect_error
from palingenesis.client.exchange import DEFAULT_TIMEOUT, Exchange, check_timeout, retry_delays
from palingenesis.client.location import find_socket
from palingenesis.wire import REPLY_LIMIT, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

    from palingenesis.wire import DaemonStatus


class ControlClient:
    """
    A client of a daemon's control socket.

    It holds no connection: each call makes one, so a client can be kept, shared between
    threads, and used again after the daemon restarted. A call that fails raises a
    `palingenesis.client.errors.ClientError`.

    :param path: the socket; if None, the one that the daemon would use.
    :param timeout: seconds that a call may take, connecting included.
    :raises palingenesis.client.errors.SocketPathError: if the path cannot be a socket's.
    :raises ValueError: if the timeout is not above 0 and at most a day.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.location = find_socket(path)
        self.path = self.location.path
        self.timeout = check_timeout(timeout)

    def status(self) -> DaemonStatus:
        """Return the daemon's status."""
        return self._ask(Command.STATUS).status()

    def status_line(self) -> bytes:
        """Return the daemon's status as the line of JSON that came, checked."""
        exchange = self._ask(Command.STATUS)
        exchange.status()
        return exchange.line()

    def pause(self) -> None:
        """Pause the daemon; nothing changes if it is paused."""
        self._ask(Command.PAUSE).done()

    def resume(self) -> None:
        """End the daemon's pause; nothing changes if it is not paused."""
        self._ask(Command.RESUME).done()

    def reload(self) -> None:
        """Have the daemon apply its configuration again; raises `ErrorReply` if that fails."""
        self._ask(Command.RELOAD).done()

    def commands(self) -> dict[str, str]:
        """Return every command that the daemon has, usage to summary."""
        return self._ask(Command.HELP).summaries()

    def send(self, name: str, *arguments: str) -> Any:
        """
        Send any command, an application's own for example; its words are joined by a blank.

        :returns: None for ``OK``, else the reply's decoded JSON.
        :raises ValueError: if name and arguments are not one line of at most 512 bytes.
        """
        return self._ask(name, *arguments).value()

    def send_line(self, name: str, *arguments: str) -> bytes:
        """Send any command as `send` does, and return the reply's line as it came, checked."""
        exchange = self._ask(name, *arguments)
        exchange.value()
        return exchange.line()

    def _ask(self, name: str, *arguments: str) -> Exchange:
        exchange = Exchange(self.location, name, *arguments)
        deadline = Deadline(self.timeout)
        try:
            with connect(self.path, deadline) as connection:
                converse(connection, exchange, deadline)
        except TimeoutError:
            raise exchange.timed_out(self.timeout) from None
        except OSError as error:
            raise connect_error(self.location, error.errno) from error
        return exchange


class Deadline:
    """
    The end of a wait, on the monotonic clock.

    :param seconds: the time until then.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left, or raise ``TimeoutError`` if there are none."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining


def connect(path: str, deadline: Deadline, *, name_senders: bool = False) -> socket.socket:
    """
    Connect to a socket, and retry while its backlog is full.

    :param name_senders: whether recvmsg(2) also returns which process sent what is read,
        ``SO_PASSCRED`` of unix(7); only Linux has it.
    :raises TimeoutError: at the deadline.
    :raises OSError: as connect(2) does; `connect_error` turns it into a `ClientError`.
    """
    connection = _socket(name_senders)
    try:
        for delay in retry_delays():
            connection.settimeout(deadline.remaining())
            try:
                connection.connect(path)
                break
            except BlockingIOError:
                pass  # poll(2) does not report when a full backlog has room again.
            except ConnectionRefusedError:
                from palingenesis.pathlock import may_be_busy

                if not may_be_busy(path):
                    raise
                # After a connection that failed, POSIX promises nothing of a socket.
                connection.close()
                connection = _socket(name_senders)
            time.sleep(min(delay, deadline.remaining()))
    except BaseException:
        connection.close()
        raise
    return connection


def _socket(name_senders: bool) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if sys.platform == "linux" and name_senders:
        # Before connecting: the kernel names no sender for what arrived earlier.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return connection


def converse(connection: socket.socket, exchange: Exchange, deadline: Deadline) -> None:
    """
    Send a command, and read its reply until it is complete or the connection ends.

    :raises TimeoutError: at the deadline.
    """
    connection.settimeout(deadline.remaining())
    exchange.sent = True
    try:  # noqa: SIM105 - contextlib is slow to import
        connection.sendall(exchange.request)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The daemon closed first, but may have said why: too many connections.
    data = b""
    while not exchange.receive(data):
        connection.settimeout(deadline.remaining())
        try:
            data = connection.recv(REPLY_LIMIT)
        except ConnectionResetError:
            return
        if not data:
            return
