"""How the command line shows things to people."""

from __future__ import annotations

import json
import sys

from palingenesis.text import VALUE_LIMIT, printable
from palingenesis.wire import MONITORING, PAUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from palingenesis.client.errors import ClientError
    from palingenesis.wire import DaemonStatus

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
_STATE_COLOURS = {MONITORING: GREEN, PAUSED: YELLOW}


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
    """Show a status, a line for each value, those of the daemon's own included."""
    rows = {"uptime": in_words(status.uptime_secs or 0)}
    if _has_sessions(status):
        rows["session"] = _session(status)
        rows["saves"] = str(status.saves_count)
        rows["resumes"] = str(status.total_resumes)
    return [
        labelled("state", status.state, colour, _STATE_COLOURS.get(status.state, PLAIN)),
        *(labelled(label, value, colour) for label, value in rows.items()),
        *(labelled(printable(key), _shown(value), colour) for key, value in status.extra.items()),
        labelled("socket", printable(path), colour),
    ]


def status_sentence(status: DaemonStatus) -> str:
    """Show a status on one line."""
    sentence = f"{status.state}, up {in_words(status.uptime_secs or 0)}"
    if not _has_sessions(status):
        return sentence
    return (
        f"{sentence}, session {_session(status)}, "
        f"{counted(status.saves_count, 'save')}, {counted(status.total_resumes, 'resume')}"
    )


def trouble_lines(error: ClientError, colour: bool) -> list[str]:
    """Show why there is no status, in the place of one."""
    return [
        labelled("state", trouble(error), colour, RED),
        labelled("reason", printable(error.reason), colour),
        labelled("socket", printable(error.path), colour),
    ]


def trouble(error: ClientError) -> str:
    """Say in two or three words what an error means for the daemon."""
    from palingenesis.client.errors import NotRunning

    return "not running" if isinstance(error, NotRunning) else "no usable answer"


def table_lines(rows: Mapping[str, str]) -> list[str]:
    """Lay out two columns of a daemon's own words."""
    shown = [(printable(left), printable(right)) for left, right in rows.items()]
    width = max((len(left) for left, _ in shown), default=0)
    return [f"{left:<{width}}  {right}".rstrip() for left, right in shown]


def json_line(line: bytes) -> bytes:
    """Return ``OK`` or a line of JSON as it came; escaped where it would drive a terminal."""
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
    return _coloured(padded, DIM) + _coloured(value, value_colour)


def complain(message: str) -> None:
    """Print an error as one line on standard error."""
    if sys.stderr is not None:
        print(f"palingenesis: {message}", file=sys.stderr)


def _coloured(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _has_sessions(status: DaemonStatus) -> bool:
    return bool(status.current_session is not None or status.saves_count or status.total_resumes)


def _session(status: DaemonStatus) -> str:
    return "none" if status.current_session is None else printable(status.current_session)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text, VALUE_LIMIT)
