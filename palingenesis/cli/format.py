"""How the command line lays out what it prints."""

from __future__ import annotations

import json
import sys

from palingenesis.text import MESSAGE_LIMIT, NAME_LIMIT, printable
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeGuard

    from palingenesis.client.errors import ClientError

# Codes of a terminal, ECMA-48 and xterm: colours first.
PLAIN, DIM, RED, GREEN, YELLOW = "", "2", "31", "32", "33"
#: To the alternate screen, without a cursor and without wrapping long lines.
ENTER_SCREEN = "\x1b[?1049h\x1b[?25l\x1b[?7l"
#: Back to the screen as it was before.
LEAVE_SCREEN = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME = "\x1b[H"
CLEAR_LINE, CLEAR_BELOW = "\x1b[K", "\x1b[J"

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_LABEL_WIDTH = 9
#: The last second of the year 9999, since the epoch: later is no time that a clock shows.
_LAST_TIME = 253_402_300_799


def in_words(seconds: int) -> str:
    """Write a number of seconds in its two largest units: 3 days 4 hours."""
    first = next((index for index, (_, size) in enumerate(_UNITS) if seconds >= size), -1)
    (name, size), *smaller = _UNITS[first:][:2]
    count, rest = divmod(seconds, size)
    words = counted(count, name)
    for name, size in smaller:
        if rest >= size:
            words += f" {counted(rest // size, name)}"
    return words


def from_now(at: float, now: float) -> str:
    """Write a time as seen from now: in 5 minutes; both in seconds since the epoch."""
    ahead = int(at - now)
    if ahead > 0:
        return f"in {in_words(ahead)}"
    return f"{in_words(-ahead)} ago" if ahead else "now"


def is_time(value: object) -> TypeGuard[float]:
    """Return whether a value from a daemon is a time, in seconds since the epoch."""
    return isinstance(value, (int, float)) and value is not True and 0 < value <= _LAST_TIME


def due_of(session: Mapping[str, object]) -> object:
    """Return when a session goes on: its own due time may pass before its home's limit does."""
    until = session.get(Key.UNTIL)
    return until if is_time(until) else session.get(Key.DUE)


def counted(count: int, name: str) -> str:
    """Write a number of things: 1 save, 2 saves."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def numbers_in_words(numbers: Mapping[str, int]) -> str:
    """Write a number for each name: 3 working, 1 waiting."""
    return ", ".join(f"{count} {printable(name, NAME_LIMIT)}" for name, count in numbers.items())


def keeper_in_words(keeper: object) -> str:
    """
    Describe which daemon revives.

    :param keeper: what ``STATUS`` and ``INSPECT`` reply: true, or the pid of another daemon.
    """
    if keeper is True:
        return "this daemon"
    if isinstance(keeper, int) and keeper > 0:
        return f"pid {keeper}, so this daemon only monitors"
    return "not known, so this daemon only monitors"


def trouble_lines(error: ClientError, colour: bool) -> list[str]:
    """Show why there is no status, in its place."""
    return [
        labelled(Key.STATE, trouble(error), colour, RED),
        labelled(Key.REASON, printable(error.reason), colour),
        labelled("socket", printable(error.path), colour),
    ]


def trouble(error: ClientError) -> str:
    """Describe in two or three words what an error means for the daemon."""
    from palingenesis.client.errors import NotRunning

    return "not running" if isinstance(error, NotRunning) else "no usable answer"


def table_lines(rows: Mapping[str, str]) -> list[str]:
    """Lay out two columns of a daemon's own words."""
    from palingenesis.cli.columns import padded, width

    shown = [(printable(left), printable(right)) for left, right in rows.items()]
    widest = max((width(left) for left, _ in shown), default=0)
    return [f"{padded(left, widest)}  {right}".rstrip() for left, right in shown]


def json_line(line: bytes) -> bytes:
    """Return ``OK`` or a line of JSON as it came; escaped if it would drive a terminal."""
    if line.decode("utf-8", "replace").rstrip("\n").isprintable():
        return line
    return json.dumps(json.loads(line)).encode() + b"\n"


def labelled(
    label: str, value: str, colour: bool, value_colour: str = PLAIN, width: int = _LABEL_WIDTH
) -> str:
    """Lay out a label and its value, which begins in a column of its own."""
    padded = f"{label:<{width}}" if len(label) < width else f"{label} "
    if not colour:
        return padded + value
    return coloured(padded, DIM) + coloured(value, value_colour)


def complain(message: str) -> None:
    """Print an error as one printable line on standard error, if that can be written to."""
    try:  # noqa: SIM105 - contextlib is slow to import
        print(f"palingenesis: {printable(message, MESSAGE_LIMIT)}", file=sys.stderr, flush=True)
    except OSError:
        pass  # The exit status says enough.


def coloured(text: str, code: str) -> str:
    """Put the codes of a colour around a text."""
    return f"\x1b[{code}m{text}\x1b[0m" if code else text
