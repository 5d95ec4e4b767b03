"""``palingenesis sessions``: the agents' sessions, and what they wait for."""

from __future__ import annotations

import time
from collections import Counter

from palingenesis.cli.columns import WIDTH, at_home, cut, padded, width, wrapped
from palingenesis.cli.format import (
    DIM,
    GREEN,
    PLAIN,
    RED,
    YELLOW,
    coloured,
    from_now,
    is_time,
    labelled,
    numbers_in_words,
)
from palingenesis.cli.inspection import agents_in_words
from palingenesis.cli.monitor import INSPECT, SESSIONS, list_line, objects
from palingenesis.cli.reasons import KINDS, REASONS
from palingenesis.client.errors import ClientError
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import Key, Reason, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from palingenesis.client.blocking import ControlClient

HEADS = (Key.AGENT, Key.DIRECTORY, Key.STATE, Key.ATTEMPTS, "stop")
#: The widest agent, state and number of attempts that are shown whole, in columns.
CELL_WIDTH = 12
#: The columns that a directory has at least, however long the text about a stop is.
DIRECTORY_WIDTH = 18

_BETWEEN = "  "
_COLOURS: dict[str, str] = {
    State.WORKING: GREEN,
    State.REVIVING: GREEN,
    State.WAITING: YELLOW,
    State.GIVEN_UP: RED,
}


class SessionsView:
    """
    The sessions, as a `palingenesis.cli.live.View`.

    :param colour: whether the lines are in colour.
    """

    def __init__(self, client: ControlClient, colour: bool) -> None:
        self._client = client
        self._colour = colour

    def lines(self) -> list[str]:
        """Show them in a table, and explain its words below it."""
        sessions = objects(self._client, SESSIONS)
        if not sessions:
            return [_nowhere(self._client)]
        return [*table(sessions, time.time(), self._colour), *legend(sessions, self._colour)]

    def sentence(self) -> str:
        """Count them by state."""
        states = Counter(_text(each, Key.STATE) for each in objects(self._client, SESSIONS))
        return printable(numbers_in_words(states)) or "no sessions"

    def line(self) -> bytes:
        """Return the daemon's own line."""
        return list_line(self._client, SESSIONS)


def table(sessions: Sequence[dict[str, Any]], now: float, colour: bool) -> list[str]:
    """
    Lay out sessions in a table of 80 columns.

    :param sessions: as ``SESSIONS`` lists them.
    :param now: the time, in seconds since the epoch.
    """
    rows = [HEADS, *(_cells(each, now) for each in sessions)]
    agent, directory, state, attempts, stop = (
        max(width(cell) for cell in column) for column in zip(*rows, strict=True)
    )
    room = WIDTH - agent - state - attempts - 4 * len(_BETWEEN)
    directory = min(directory, max(room - stop, DIRECTORY_WIDTH))
    widths = (agent, directory, state, attempts)
    lines = []
    for row in rows:
        colours = (DIM,) * 4 if row is HEADS else (PLAIN, PLAIN, _COLOURS.get(row[2], PLAIN), PLAIN)
        first, *further = wrapped(row[4], room - directory)
        cells = [padded(cut(cell, space), space) for cell, space in zip(row, widths, strict=False)]
        if colour:
            cells = [coloured(cell, code) for cell, code in zip(cells, colours, strict=True)]
            first = coloured(first, colours[0])
        lines.append(_BETWEEN.join((*cells, first)).rstrip())
        indent = " " * (WIDTH - room + directory)
        lines += [indent + line for line in further]
    return lines


def legend(sessions: Sequence[dict[str, Any]], colour: bool) -> list[str]:
    """Explain each word of the table once, with what to do."""
    words = dict.fromkeys(word for each in sessions for word in _words(each))
    waiting = dict.fromkeys(
        f"[revive.{_text(each, Key.AGENT)}]"
        for each in sessions
        if each.get(Key.HELD) == Reason.NO_METHOD
    )
    meanings = {
        word: text.format(tables=" or ".join(waiting))
        for word in words
        if (text := REASONS.get(word) or KINDS.get(word))
    }
    if not meanings:
        return []
    label = max(map(len, meanings)) + len(_BETWEEN)
    lines = [""]
    for word, meaning in meanings.items():
        first, *further = wrapped(meaning, WIDTH - label)
        lines.append(labelled(word, first, colour, width=label))
        lines += [" " * label + line for line in further]
    return lines


def _cells(session: dict[str, Any], now: float) -> tuple[str, ...]:
    directory = session.get(Key.DIRECTORY)
    return (
        cut(_text(session, Key.AGENT), CELL_WIDTH),
        at_home(directory) if isinstance(directory, str) else "?",
        cut(_text(session, Key.STATE), CELL_WIDTH),
        cut(_text(session, Key.ATTEMPTS), CELL_WIDTH),
        _stop(session, now),
    )


def _stop(session: dict[str, Any], now: float) -> str:
    """Describe how a session stopped, when it goes on, and why it is not revived."""
    due, since = session.get(Key.DUE), session.get(Key.SINCE)
    words = tuple(_words(session))
    kind, *reason = words if session.get(Key.KIND) is not None else ("grew", *words)
    if is_time(due):
        return "; ".join((kind, f"due {from_now(due, now)}", *reason))
    if is_time(since):
        kind = f"{kind} {from_now(min(since, now), now)}"
    return "; ".join((kind, *reason))


def _words(session: dict[str, Any]) -> Iterator[str]:
    """Yield the monitor's words for a session's stop that its table shows."""
    if session.get(Key.KIND) is not None:
        yield _text(session, Key.KIND)
    # A due time says as much.
    implied = Reason.NOT_DUE if is_time(session.get(Key.DUE)) else None
    if session.get(Key.HELD) not in (None, implied):
        yield _text(session, Key.HELD)


def _text(session: dict[str, Any], key: str) -> str:
    value = session.get(key)
    return "?" if value is None or value == "" else printable(str(value), NAME_LIMIT)


def _nowhere(client: ControlClient) -> str:
    """Report that there are no sessions, and where the daemon looks if that is known."""
    try:
        return f"no sessions (agents: {agents_in_words(client.send(INSPECT)[Key.AGENTS])})"
    except (ClientError, AttributeError, KeyError, TypeError):
        return "no sessions"
