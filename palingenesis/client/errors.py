"""
Every error that the clients raise, and how one is made from a failure.

::

    ClientError                a command was not carried out, or its outcome is unknown
        SocketPathError        the path cannot be a socket's
        NotRunning             no daemon listens at the path
            NoDirectory        the socket's directory does not exist
            NoSocket           the directory exists, the socket does not
            NotASocket         something other than a socket is at the path
            StaleSocket        the socket of a daemon that crashed or was killed
        PermissionDenied       the socket, or a directory above it, is closed to this user
        TimedOut               the daemon did not reply in time
        ErrorReply             the daemon replied with an ``ERR:`` line
        InvalidReply           the reply breaks the contract
"""

from __future__ import annotations

import errno
import os
import stat

from palingenesis.locate import is_chosen
from palingenesis.text import MESSAGE_LIMIT, NAME_LIMIT, VALUE_LIMIT, printable
from palingenesis.wire import REPLY_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.locate import Location

_OTHER_PATH = "name the right socket with --socket or $PALINGENESIS_SOCKET"


class ClientError(Exception):
    """
    A command was not carried out, or its outcome is unknown.

    Its text is one line fit for a terminal: what was tried, why it failed, what to do.

    :ivar path: the socket.
    :ivar reason: why it failed.
    :ivar advice: what to do about it; empty if nothing is known to help.
    """

    tried = "cannot reach the daemon at"

    # BaseException.__new__ keeps the arguments as given, so errors whose arguments differ
    # from these survive pickling too.
    def __init__(self, path: str, reason: str, advice: str = "") -> None:
        self.path = path
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        text = f"{self.tried} {self.path}: {self.reason}"
        return printable(f"{text}; {self.advice}" if self.advice else text, MESSAGE_LIMIT)


class SocketPathError(ClientError):
    """The path cannot be a socket's, or the file that should name it cannot be used."""

    tried = "cannot locate the socket:"


class NotRunning(ClientError):
    """No daemon listens at the path; the subclasses say what is there instead."""

    tried = "no daemon is running at"


class NoDirectory(NotRunning):
    """The socket's directory does not exist."""


class NoSocket(NotRunning):
    """The directory exists, the socket does not."""


class NotASocket(NotRunning):
    """Something other than a socket is at the path."""


class StaleSocket(NotRunning):
    """The socket of a daemon that crashed or was killed."""


class PermissionDenied(ClientError):
    """
    The socket, or a directory above it, is closed to this user.

    :ivar owner: the user id that it belongs to, or None if that cannot be seen either.
    """

    def __init__(self, path: str, reason: str, advice: str, owner: int | None) -> None:
        super().__init__(path, reason, advice)
        self.owner = owner


class TimedOut(ClientError):
    """
    The daemon did not reply in time.

    :ivar timeout: the seconds it was given.
    :ivar pending: the command that it may still carry out; None if the command only asks,
        or was never sent.
    """

    tried = "no reply from the daemon at"

    def __init__(
        self, path: str, timeout: float, pending: str | None = None, advice: str = ""
    ) -> None:
        reason = f"waited {timeout:g} s; it may be stopped, hung or overloaded"
        if pending is not None:
            reason += f", and may still carry out {printable(pending, NAME_LIMIT)}"
        super().__init__(path, reason, advice)
        self.timeout = timeout
        self.pending = pending


class ErrorReply(ClientError):
    """
    The daemon replied with an ``ERR:`` line.

    :ivar command: the name of the command that it was sent.
    :ivar message: the daemon's message, fit for a terminal.
    """

    def __init__(self, path: str, command: str, message: str) -> None:
        super().__init__(path, message)
        self.tried = f"error reply to {printable(command, NAME_LIMIT)} from the daemon at"
        self.command = command
        self.message = message


class InvalidReply(ClientError):
    """
    The reply breaks the contract.

    :ivar received: the bytes that came, at most `REPLY_LIMIT`.
    """

    tried = "invalid reply from the daemon at"

    def __init__(self, path: str, received: bytes) -> None:
        shown = printable(received.rstrip(b"\n"), VALUE_LIMIT)
        if not received:
            reason = "it closed the connection without a reply"
        elif received.endswith(b"\n"):
            reason = f"it sent '{shown}'"
        elif len(received) < REPLY_LIMIT:
            reason = f"it closed the connection in the middle of a line, '{shown}'"
        else:
            reason = f"it sent {REPLY_LIMIT} bytes without an end of line, '{shown}'"
        super().__init__(path, reason, "is something else listening there?")
        self.received = received


def connect_error(location: Location, number: int | None) -> ClientError:
    """
    Return the error for an error number of connect(2), by what is at the path.

    :param number: None if there is none.
    """
    path = location.path
    if number in (errno.ENOENT, errno.ENOTDIR):
        return _nothing_there(location)
    if number in (errno.ECONNREFUSED, errno.ENOTSOCK):
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return _nothing_there(location)
        if not stat.S_ISSOCK(mode):
            kind = "directory" if stat.S_ISDIR(mode) else "file"
            return NotASocket(path, f"that is a {kind}, not a socket", _OTHER_PATH)
        again = "start it again" if is_chosen(location) else "start it with `palingenesis start`"
        return StaleSocket(
            path,
            "its socket is stale, left behind when it crashed or was killed",
            _elsewhere(location) or f"{again}, and it takes the socket over",
        )
    if number in (errno.EACCES, errno.EPERM):
        return _denied(path)
    return ClientError(path, os.strerror(number).lower() if number else "no reason given")


def user_name(uid: int) -> str:
    """Return a user's name, or the number if there is none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _nothing_there(location: Location) -> NotRunning:
    path = location.path
    directory = os.path.dirname(path)
    if os.path.isfile(directory):
        return NoDirectory(path, f"{directory} is not a directory", _OTHER_PATH)
    if not os.path.isdir(directory):
        return NoDirectory(path, f"the directory {directory} does not exist", _start(location))
    return NoSocket(path, "there is no socket", _start(location))


def _start(location: Location) -> str:
    if is_chosen(location):
        return f"start the daemon that should listen there, or {_OTHER_PATH}"
    return _elsewhere(location) or f"start it with `palingenesis start`, or {_OTHER_PATH}"


def _elsewhere(location: Location) -> str:
    from palingenesis.client.listener import listener_elsewhere

    found = listener_elsewhere(location)
    return f"but {found}: name that with --socket" if found else ""


def _denied(path: str) -> PermissionDenied:
    # stat(2) fails for a file in a closed directory: then the directory is the reason.
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
