"""
A blocking client of the control socket, on the standard library alone.

::

    from palingenesis.client.blocking import ClientError, ControlClient

    try:
        print(ControlClient().status().uptime_secs)
    except ClientError as error:
        print(error)
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time

from palingenesis.locate import Location, locate_socket
from palingenesis.paths import PathError
from palingenesis.text import MESSAGE_LIMIT, printable
from palingenesis.wire import (
    ERROR_LIMIT,
    OK,
    REPLY_LIMIT,
    BadStatus,
    Command,
    DaemonStatus,
    parse_status,
    render_request,
)

#: Seconds a call may take when nobody says otherwise.
DEFAULT_TIMEOUT = 5.0
#: The longest timeout, in seconds: more than that is a mistake, and overflows in poll(2).
TIMEOUT_LIMIT = 86_400.0
#: How much of an answer that makes no sense is shown, in characters.
SHOWN_LIMIT = 100
#: Seconds until a full backlog is tried again, at first and at most.
RETRY_FIRST = 0.001
RETRY_LIMIT = 0.05

_OTHER_PATH = "name the right socket with --socket or $PALINGENESIS_SOCKET"


class ClientError(Exception):
    """
    A command that was not carried out, or whose outcome is not known.

    Its text is one line fit for a terminal: what was tried, why it failed, what to do.

    :ivar path: the socket.
    :ivar reason: why it failed.
    :ivar advice: what to do about it; empty when nothing is known to help.
    """

    tried = "cannot reach the daemon at"

    # The arguments are kept by BaseException.__new__, as given: so every kind of error,
    # whatever its own arguments are, survives pickling.
    def __init__(self, path: str, reason: str, advice: str = "") -> None:
        self.path = path
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        text = f"{self.tried} {self.path}: {self.reason}"
        return printable(f"{text}; {self.advice}" if self.advice else text, MESSAGE_LIMIT)


class NotLocated(ClientError):
    """The path of the socket cannot be used, or the configuration that should name it."""

    tried = "cannot tell where the socket is:"


class NotRunning(ClientError):
    """No daemon listens at the path; its subclasses say what is there instead."""

    tried = "no daemon is running at"


class NoDirectory(NotRunning):
    """Not even the directory of the socket exists."""


class NoSocket(NotRunning):
    """The directory is there, and no socket in it."""


class NotASocket(NotRunning):
    """Something else than a socket is at the path."""


class StaleSocket(NotRunning):
    """The socket of a daemon that crashed or was killed."""


class PermissionDenied(ClientError):
    """
    The socket, or a directory on the way to it, is not for this user.

    :ivar owner: the user id that it belongs to, or None where that is hidden too.
    """

    def __init__(self, path: str, reason: str, advice: str, owner: int | None) -> None:
        super().__init__(path, reason, advice)
        self.owner = owner


class TimedOut(ClientError):
    """
    The daemon did not answer in time; a command may have been carried out all the same.

    :ivar timeout: the seconds it was given.
    """

    tried = "no answer from the daemon at"

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__(
            path,
            f"waited {timeout:g} s; it may be stopped, hung or overloaded",
            "`palingenesis doctor` tells which process it is",
        )
        self.timeout = timeout


class Refused(ClientError):
    """
    The daemon answered ``ERR:``.

    :ivar command: what it was asked to do.
    :ivar message: its own words.
    """

    def __init__(self, path: str, command: Command, message: str) -> None:
        super().__init__(path, message)
        self.tried = f"{command.name} refused by the daemon at"
        self.command = command
        self.message = message


class NotUnderstood(ClientError):
    """
    What came is not an answer.

    :ivar received: the bytes that came, `REPLY_LIMIT` of them at most.
    """

    tried = "no sensible answer from the daemon at"

    def __init__(self, path: str, received: bytes) -> None:
        shown = printable(received.rstrip(b"\n"), SHOWN_LIMIT)
        if not received:
            reason = "it hung up without a word"
        elif received.endswith(b"\n"):
            reason = f"it said '{shown}'"
        elif len(received) < REPLY_LIMIT:
            reason = f"it hung up in the middle of a line, '{shown}'"
        else:
            reason = f"it said {REPLY_LIMIT} bytes and more on one line, '{shown}'"
        super().__init__(path, reason, "is something else listening there?")
        self.received = received


class ControlClient:
    """
    A daemon's control socket, to be called from anywhere.

    It holds no connection: each call makes one, so it can be kept, shared between
    threads, and used again after the daemon restarted. Each call raises a `ClientError`.

    :param path: the socket; where None, it is looked for as the daemon does.
    :param timeout: seconds that a call may take in all, from before it connects.
    :raises NotLocated: when there is no telling where the socket is.
    :raises ValueError: when the timeout is not above 0 and at most `TIMEOUT_LIMIT`.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.path = find_socket(path).path
        self.timeout = check_timeout(timeout)

    def status(self) -> DaemonStatus:
        """Ask how the daemon is."""
        return parse_status(self.status_line())

    def status_line(self) -> bytes:
        """Ask how the daemon is; the line of JSON is checked, and returned as it came."""
        return self._ask(Command.STATUS)

    def pause(self) -> None:
        """Have the daemon pause; no matter when it is paused already."""
        self._ask(Command.PAUSE)

    def resume(self) -> None:
        """Have the daemon go on; no matter when it is not paused."""
        self._ask(Command.RESUME)

    def reload(self) -> None:
        """Have the daemon read its configuration again, or raise `Refused`."""
        self._ask(Command.RELOAD)

    def _ask(self, command: Command) -> bytes:
        deadline = time.monotonic() + self.timeout
        try:
            with connect(self.path, deadline) as connection:
                reply = exchange(connection, command, deadline)
        except TimeoutError:
            raise TimedOut(self.path, self.timeout) from None
        except OSError as error:
            raise connect_error(self.path, error.errno) from error
        check_reply(self.path, command, reply)
        return reply


def find_socket(path: str | os.PathLike[str] | None = None) -> Location:
    """
    Find the socket as `palingenesis.locate.locate_socket` does.

    :raises NotLocated: when that fails, or the configuration that it reads is broken.
    """
    try:
        return locate_socket(None if path is None else os.fspath(path))
    except PathError as error:
        raise NotLocated(error.path, error.reason) from error


def check_timeout(timeout: float) -> float:
    """Return a timeout, in seconds, that can be waited for, or raise ``ValueError``."""
    if not 0 < timeout <= TIMEOUT_LIMIT:
        raise ValueError(f"timeout is {timeout!r}, not above 0 and at most {TIMEOUT_LIMIT:g}")
    return timeout


def connect(path: str, deadline: float) -> socket.socket:
    """
    Connect to a socket.

    :param deadline: when to give up, by the monotonic clock.
    :raises TimeoutError: when it is not there by then.
    :raises OSError: when it cannot be, see `connect_error`.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        delay = RETRY_FIRST
        while True:
            connection.settimeout(_remaining(deadline))
            try:
                connection.connect(path)
            except BlockingIOError:
                # Its backlog is full, and poll(2) does not tell when it no longer is.
                time.sleep(min(delay, _remaining(deadline)))
                delay = min(2 * delay, RETRY_LIMIT)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


def exchange(connection: socket.socket, command: Command, deadline: float) -> bytes:
    """
    Send a command, and read the reply, or as much of it as comes before the end.

    :raises TimeoutError: when the deadline, by the monotonic clock, comes first.
    """
    connection.settimeout(_remaining(deadline))
    try:  # noqa: SIM105 - contextlib is slow to import
        connection.sendall(request(command))
    except (BrokenPipeError, ConnectionResetError):
        pass  # It hung up first, but may have said why: too many connections.
    received = b""
    while (reply := cut_reply(received)) is None:
        connection.settimeout(_remaining(deadline))
        try:
            data = connection.recv(REPLY_LIMIT)
        except ConnectionResetError:
            return received
        if not data:
            return received
        received += data
    return reply


def cut_reply(received: bytes) -> bytes | None:
    """Cut the reply, a line or `REPLY_LIMIT` bytes, out of what came; None until it is there."""
    end = received.find(b"\n", 0, REPLY_LIMIT)
    if end < 0 and len(received) < REPLY_LIMIT:
        return None
    return received[: end + 1] if end >= 0 else received[:REPLY_LIMIT]


def request(command: Command) -> bytes:
    """Render a command as its line."""
    return render_request(command)


def check_reply(path: str, command: Command, reply: bytes) -> None:
    """
    See that a reply is an answer to the command.

    :raises Refused: when it is an ``ERR:``.
    :raises NotUnderstood: when it is no whole line, or not one that answers the command.
    """
    whole = reply.endswith(b"\n")
    if whole and reply.startswith(b"ERR:"):
        raise Refused(path, command, printable(reply[len(b"ERR:") :].strip(), ERROR_LIMIT))
    if whole and command is Command.STATUS:
        try:
            parse_status(reply)
        except BadStatus as error:
            raise NotUnderstood(path, reply) from error
    elif reply != OK:
        raise NotUnderstood(path, reply)


def connect_error(path: str, number: int | None) -> ClientError:
    """Tell what an error number of connect(2) means, by what is at the path."""
    if number in (errno.ENOENT, errno.ENOTDIR):
        return _nothing(path)
    if number in (errno.ECONNREFUSED, errno.ENOTSOCK):
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return _nothing(path)
        if not stat.S_ISSOCK(mode):
            kind = "directory" if stat.S_ISDIR(mode) else "file"
            return NotASocket(path, f"that is a {kind}, not a socket", _OTHER_PATH)
        return StaleSocket(
            path,
            "its socket is stale, left behind when it crashed or was killed",
            "start it again, it takes the socket over",
        )
    if number in (errno.EACCES, errno.EPERM):
        return _denied(path)
    return ClientError(path, os.strerror(number) if number else "no reason given")


def _nothing(path: str) -> NotRunning:
    directory = os.path.dirname(path)
    if os.path.isfile(directory):
        return NoDirectory(path, f"{directory} is not a directory", _OTHER_PATH)
    if not os.path.isdir(directory):
        return NoDirectory(
            path,
            f"the directory {directory} does not exist",
            f"start the daemon, which makes it, or {_OTHER_PATH}",
        )
    return NoSocket(
        path, "there is no socket", f"start it with `twistd palingenesis`, or {_OTHER_PATH}"
    )


def _denied(path: str) -> PermissionDenied:
    # What is behind a closed directory can't be looked at: then it is the directory.
    place = path
    while True:
        try:
            found = os.stat(place)
            break
        except OSError:
            if place == "/":
                return PermissionDenied(path, "permission denied", _OTHER_PATH, None)
            place = os.path.dirname(place)
    owner = user_name(found.st_uid)
    thing = "it" if place == path else f"the directory {place}"
    return PermissionDenied(
        path,
        f"permission denied: {thing} belongs to {owner} "
        f"(mode {stat.S_IMODE(found.st_mode):04o}), and you are {user_name(os.geteuid())}",
        f"run this as {owner}, or {_OTHER_PATH}",
        found.st_uid,
    )


def user_name(uid: int) -> str:
    """Tell a user's name, or the number where there is none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
