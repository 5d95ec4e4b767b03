"""The exit statuses of the ``palingenesis`` command."""

from __future__ import annotations

from enum import IntEnum

from palingenesis.client.errors import ClientError, ErrorReply, NotRunning, SocketPathError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Exit(IntEnum):
    """Every exit status, and its meaning: the help, the manual and the README show it."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        status = int.__new__(cls, value)
        status._value_ = value
        status.meaning = meaning
        return status

    DONE = 0, "done"
    ERROR_REPLY = 1, "the daemon replied with an ERR; of doctor: no session would come back"
    USAGE = 2, "a mistake in the command line, the configuration or the path"
    NOT_RUNNING = 3, "the daemon is not running"
    NO_ANSWER = 4, "no usable answer: timeout, permission denied, or an invalid reply"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    CLOSED_PIPE = 141, "the reader of the output closed it"


def exit_status(error: ClientError) -> Exit:
    """Return the status with which an error ends the process."""
    if isinstance(error, ErrorReply):
        return Exit.ERROR_REPLY
    if isinstance(error, SocketPathError):
        return Exit.USAGE
    if isinstance(error, NotRunning):
        return Exit.NOT_RUNNING
    return Exit.NO_ANSWER
