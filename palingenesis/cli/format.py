"""How the command line shows a daemon to people."""

from __future__ import annotations

import json
import sys

from palingenesis.text import printable
from palingenesis.wire import MONITORING, PAUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.client.blocking import ClientError
    from palingenesis.wire import DaemonStatus

#: How much of a daemon's own words is shown on a line, in characters.
VALUE_LIMIT = 200

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_WIDTH = 9

_STATE_COLOURS = {MONITORING: "32", PAUSED: "33"}
_TROUBLE_COLOUR = "31"
_LABEL_COLOUR = "2"


def in_words(seconds: int) -> str:
    """Say a number of seconds in the two largest units that it fills: 3 days 4 hours."""
    first = next((index for index, (_, size) in enumerate(_UNITS) if seconds >= size), -1)
    (name, size), *smaller = _UNITS[first:][:2]
    count, rest = divmod(seconds, size)
    words = counted(count, name)
    for name, size in smaller:
        if rest >= size:
            words += f" {counted(rest // size, name)}"
    return words


def counted(count: int, name: str) -> str:
    """Say how many of a thing there are."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def status_lines(status: DaemonStatus, path: str, colour: bool) -> list[str]:
    """Show a status, a line for each of its values, those of the daemon's own included."""
    own = (
        (
            printable(name, VALUE_LIMIT),
            printable(
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
                VALUE_LIMIT,
            ),
        )
        for name, value in status.extra.items()
    )
    return [
        labelled("state", status.state, colour, _STATE_COLOURS.get(status.state, "")),
        labelled("uptime", in_words(status.uptime_secs or 0), colour),
        labelled("session", _session(status), colour),
        labelled("saves", str(status.saves_count), colour),
        labelled("resumes", str(status.total_resumes), colour),
        *(labelled(name, value, colour) for name, value in own),
        labelled("socket", printable(path, VALUE_LIMIT), colour),
    ]


def status_sentence(status: DaemonStatus) -> str:
    """Show a status on one line."""
    return (
        f"{status.state}, up {in_words(status.uptime_secs or 0)}, session {_session(status)}, "
        f"{counted(status.saves_count, 'save')}, {counted(status.total_resumes, 'resume')}"
    )


def json_line(line: bytes) -> bytes:
    """
    Return the daemon's own line, as it came unless it would drive a terminal.

    Then it is the same value, with everything escaped.
    """
    if line.decode("utf-8", "replace").rstrip("\n").isprintable():
        return line
    return json.dumps(json.loads(line)).encode() + b"\n"


def trouble_lines(error: ClientError, colour: bool) -> list[str]:
    """Show why there is no status, in the place of one."""
    return [
        labelled("state", trouble(error), colour, _TROUBLE_COLOUR),
        labelled("reason", printable(error.reason, VALUE_LIMIT), colour),
        labelled("socket", printable(error.path, VALUE_LIMIT), colour),
    ]


def trouble(error: ClientError) -> str:
    """Say in two or three words what an error means for the daemon."""
    from palingenesis.client.blocking import NotRunning

    return "not running" if isinstance(error, NotRunning) else "no usable answer"


def labelled(
    label: str, value: str, colour: bool, value_colour: str = "", width: int = _WIDTH
) -> str:
    """Lay out a label and its value, which begins in a column of its own."""
    padded = f"{label:<{width}}" if len(label) < width else f"{label} "
    if not colour:
        return padded + value
    return _coloured(padded, _LABEL_COLOUR) + _coloured(value, value_colour)


def _coloured(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _session(status: DaemonStatus) -> str:
    if status.current_session is None:
        return "none"
    return printable(status.current_session, VALUE_LIMIT)


def complain(message: str) -> None:
    """Print an error, as the one line that it is."""
    if sys.stderr is not None:
        print(f"palingenesis: {message}", file=sys.stderr)
