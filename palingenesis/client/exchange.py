"""
One command and its reply, as both clients see them: bytes in, bytes out, no I/O.

A client sends `Exchange.request`, feeds what it reads to `Exchange.receive`, and asks for
the reply as what it should be: `Exchange.status`, `Exchange.value` and so on.
"""

from __future__ import annotations

import json

from palingenesis.client.errors import ErrorReply, InvalidReply, TimedOut
from palingenesis.text import printable
from palingenesis.wire import (
    ERROR_LIMIT,
    OK,
    REPLY_LIMIT,
    BadStatus,
    Command,
    parse_help,
    parse_status,
    render_request,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from palingenesis.locate import Location
    from palingenesis.wire import DaemonStatus

#: Seconds that a call may take by default.
DEFAULT_TIMEOUT = 5.0
#: The longest timeout, in seconds: a day. Longer ones are mistakes, and overflow poll(2).
TIMEOUT_LIMIT = 86_400.0

_ERROR = b"ERR:"
_ASKING = (Command.STATUS, Command.HELP)


class Exchange:
    """
    One command and its reply.

    :param location: the socket, for errors.
    :param name: the command's name.
    :param arguments: its arguments.
    :raises ValueError: if name and arguments are not one line of at most 512 bytes.
    :ivar request: the line to send.
    :ivar sent: set by the client once a part of the request may have reached the daemon.
    """

    def __init__(self, location: Location, name: str, *arguments: str) -> None:
        self.request = render_request(name, *arguments)
        self.sent = False
        self._location = location
        self._name = name
        self._received = b""

    def receive(self, data: bytes) -> bool:
        """Take bytes as they come, and return whether the reply is complete."""
        self._received += data
        return b"\n" in self._received or len(self._received) >= REPLY_LIMIT

    def line(self) -> bytes:
        """
        Return the reply: a full line that is no error.

        :raises ErrorReply: if it is an ``ERR:`` line.
        :raises InvalidReply: if it is no full line of at most `REPLY_LIMIT` bytes.
        """
        end = self._received.find(b"\n", 0, REPLY_LIMIT) + 1
        line = self._received[: end or REPLY_LIMIT]
        if not end:
            raise InvalidReply(self._location.path, line)
        if line.startswith(_ERROR):
            message = printable(line[len(_ERROR) :].strip(), ERROR_LIMIT)
            raise ErrorReply(self._location.path, self._name, message)
        return line

    def done(self) -> None:
        """Check that the reply is ``OK``; raises what `line` does."""
        if self.line() != OK:
            raise InvalidReply(self._location.path, self.line())

    def status(self) -> DaemonStatus:
        """Return the reply as a status; raises what `line` does."""
        try:
            return parse_status(self.line())
        except BadStatus as error:
            raise InvalidReply(self._location.path, self.line()) from error

    def summaries(self) -> dict[str, str]:
        """Return the reply to ``HELP``, usage to summary; raises what `line` does."""
        try:
            return parse_help(self.line())
        except BadStatus as error:
            raise InvalidReply(self._location.path, self.line()) from error

    def value(self) -> Any:
        """Return None for ``OK``, else the decoded JSON; raises what `line` does."""
        line = self.line()
        if line == OK:
            return None
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidReply(self._location.path, line) from error

    def timed_out(self, timeout: float) -> TimedOut:
        """
        Return the error for a reply that did not come in time.

        :param timeout: the seconds that it was given.
        """
        only_asks = self._name.strip().upper() in _ASKING
        pending = self._name if self.sent and not only_asks else None
        path = self._location.path
        doctor = "palingenesis doctor"
        if self._location.source == "--socket":
            from shlex import quote

            doctor = f"palingenesis --socket {quote(path)} doctor"
        return TimedOut(path, timeout, pending, f"`{doctor}` shows which process it is")


def check_timeout(timeout: float) -> float:
    """Return a timeout, in seconds, that can be waited for, or raise ``ValueError``."""
    if not 0 < timeout <= TIMEOUT_LIMIT:
        raise ValueError(f"timeout is {timeout!r}, not above 0 and at most {TIMEOUT_LIMIT:g}")
    return timeout


def retry_delays() -> Iterator[float]:
    """Yield the seconds to wait before each further try to connect to a full backlog."""
    delay = 0.001
    while True:
        yield delay
        delay = min(2 * delay, 0.05)
