"""The exit statuses of the ``palingenesis`` command."""

from __future__ import annotations

from enum import IntEnum

from palingenesis.client.blocking import ClientError, NotLocated, NotRunning, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Exit(IntEnum):
    """Every exit status, and its meaning: the help, the manual and the README have it."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        status = int.__new__(cls, value)
        status._value_ = value
        status.meaning = meaning
        return status

    DONE = 0, "done"
    REFUSED = 1, "the daemon refused: its answer was an ERR"
    USAGE = 2, "a mistake in the command line, the configuration or the path"
    NOT_RUNNING = 3, "the daemon is not running"
    NO_ANSWER = 4, "no usable answer: too late, no permission, or no sense in it"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    CLOSED_PIPE = 141, "nobody was left to read the output"


def exit_status(error: ClientError) -> Exit:
    """Tell with which status an error ends the process."""
    if isinstance(error, Refused):
        return Exit.REFUSED
    if isinstance(error, NotLocated):
        return Exit.USAGE
    if isinstance(error, NotRunning):
        return Exit.NOT_RUNNING
    return Exit.NO_ANSWER
