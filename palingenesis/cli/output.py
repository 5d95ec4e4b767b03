"""``palingenesis output``: what the command that revived a session has printed."""

from __future__ import annotations

import os
import re
import stat
import sys

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.cli.monitor import INSPECT
from palingenesis.client.errors import ClientError
from palingenesis.paths import PathError, state_directory
from palingenesis.text import in_short, printable
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from palingenesis.client.blocking import ControlClient

#: Where the daemon keeps the output, in its state directory.
DIRECTORY = "output"
#: The name of a file of output: when it was made, the agent and the session's id.
_NAME = re.compile(r"(\d+)-[a-z]+-(.+)\.log")
#: The most bytes of a line that are shown as one.
_LINE_LIMIT = 65_536


def output(client: ControlClient, session: str) -> Exit:
    """
    Print the output of the last revival of a session, with its control characters escaped.

    It is read from the state directory, so that it can be read without a daemon too.

    :param session: its id, or a beginning of it that no other session has.
    """
    directory = os.path.join(_state_directory(client), DIRECTORY)
    found = _files(directory, session)
    if session in found:
        found = {session: found[session]}
    if len(found) != 1:
        shown = printable(session)
        complain(
            f"{shown}: more than one session begins so: {', '.join(sorted(found)[:5])}"
            if found
            else f"{shown}: no revival of such a session has left output in {directory}"
        )
        return Exit.USAGE
    (path,) = found.values()
    with open(path, "rb", opener=_open) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            complain(f"{path}: not a regular file")
            return Exit.USAGE
        _print(file)
    return Exit.DONE


def _state_directory(client: ControlClient) -> str:
    try:
        directory = client.send(INSPECT)[Key.STATE_DIRECTORY]
    except (ClientError, KeyError, TypeError):
        directory = None
    return directory if isinstance(directory, str) else state_directory()


def _files(directory: str, beginning: str) -> dict[str, str]:
    """Return the newest file of each session whose id begins so."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise PathError(directory, f"no revival has left output: {in_short(error)}") from None
    found = [(int(name[1]), name[2], name[0]) for each in names if (name := _NAME.fullmatch(each))]
    return {
        session: os.path.join(directory, name)
        for _, session, name in sorted(found)
        if session.startswith(beginning)
    }


def _print(file: BinaryIO) -> None:
    while line := file.readline(_LINE_LIMIT):
        text = line.decode("utf-8", "backslashreplace").rstrip("\r\n").expandtabs()
        print(printable(text, 4 * _LINE_LIMIT))
    sys.stdout.flush()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
