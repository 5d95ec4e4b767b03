"""``palingenesis sessions``: the agents' sessions, and what they wait for."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import pairwise, takewhile

from palingenesis.agents import NO_VARIABLES, continuation
from palingenesis.cli.columns import WIDTH, at_home, cut, padded, terminal_columns, width, wrapped
from palingenesis.cli.format import (
    DIM,
    GREEN,
    PLAIN,
    RED,
    YELLOW,
    coloured,
    counted,
    due_of,
    from_now,
    is_time,
    labelled,
    numbers_in_words,
)
from palingenesis.cli.inspection import agents_in_words
from palingenesis.cli.monitor import INSPECT, SESSIONS, every_session, list_line, objects
from palingenesis.cli.open_programs import goes_on, is_open, open_program, what_has_it
from palingenesis.cli.reasons import KINDS, REASONS
from palingenesis.client.errors import ClientError
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import OK_WORD, Key, Owner, Reason, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any

    from palingenesis.client.blocking import ControlClient

HEADS = (Key.ID, Key.AGENT, Key.DIRECTORY, Key.STATE, "stop")
#: The widest agent and state that are shown whole, in columns.
CELL_WIDTH = 12
#: The columns that a directory has at least, however long the text about a stop is.
DIRECTORY_WIDTH = 18
#: The fewest columns in which the table has a row for each session; in fewer it has two.
ONE_ROW_WIDTH = 72
#: The fewest columns that a table is made for.
NARROWEST = 40
#: Sessions that are shown unless all are asked for.
SHOWN = 20
#: The widest id that is shown whole, in columns.
ID_WIDTH = 16
#: More attempts than these are no number that a daemon sends.
MOST_ATTEMPTS = 1_000_000
#: The fewest characters of an id that name a session to the daemon.
SHORTEST_ID = 4
#: Those that hardly any other session has, however many there are.
LONGER_ID = 8

_BETWEEN = "  "
_COLOURS: dict[str, str] = {
    State.WORKING: GREEN,
    State.REVIVING: GREEN,
    State.WAITING: YELLOW,
    State.GIVEN_UP: RED,
}
#: The states of sessions that go on without anybody.
_GO_ON = (State.WORKING, State.REVIVING)


class SessionsView:
    """
    The sessions, as a `palingenesis.cli.live.View`.

    :param colour: whether the lines are in colour.
    :param filters: those of ``SESSIONS``.
    :param everything: whether all sessions are shown, and not only the first.
    :ivar matching: a text that each session that is shown has somewhere.
    """

    matching = ""

    def __init__(
        self, client: ControlClient, colour: bool, filters: Sequence[str], everything: bool
    ) -> None:
        self._client = client
        self._colour = colour
        self._filters = filters
        self._everything = everything

    def lines(self) -> list[str]:
        """Show them in a table, and explain its words below it."""
        sessions, total, scan = self._asked()
        columns, now = max(terminal_columns(), NARROWEST), time.time()
        failed = wrapped(f"the last scan failed: {printable(scan)}", columns) if scan else []
        if not sessions:
            return [_nowhere(self._client) if not self._filters else "no such sessions", *failed]
        length = id_length(sessions)
        if self._filters or total > len(sessions):
            # There are others, which may begin like those that are known here.
            length = max(length, LONGER_ID)
        if self.matching:
            sessions = [each for each in sessions if _has(each, self.matching)]
            total = len(sessions)
        shown = sessions if self._everything else sessions[:SHOWN]
        lines = [
            *table(shown, now, self._colour, columns, length),
            *legend(shown, self._colour, columns),
            *open_programs(shown, now, self._colour, columns, length),
        ]
        if total > len(shown):
            lines += ["", *wrapped(f"{total - len(shown)} more: --all shows them", columns)]
        if failed:
            lines += ["", *failed]
        return [*lines, *advice(shown)]

    def sentence(self) -> str:
        """Count them by state."""
        states = Counter(
            _text(each, Key.STATE) for each in every_session(self._client, self._filters)
        )
        return printable(numbers_in_words(states)) or "no sessions"

    def line(self) -> bytes:
        """Return the daemon's own line; of more than a page, one that is made of all pages."""
        if self._everything:
            sessions = every_session(self._client, self._filters)
            return json.dumps(sessions).encode() + b"\n"
        return list_line(self._client, SESSIONS, *self._filters)

    def _asked(self) -> tuple[list[dict[str, Any]], int, str | None]:
        """Return the sessions, how many there are in all, and why the last scan failed."""
        is_all = self._everything or bool(self._filters)
        sessions = (
            every_session(self._client, self._filters)
            if is_all
            else objects(self._client, SESSIONS)
        )
        extra = self._client.status().extra
        known, scan = extra.get(Key.KNOWN_SESSIONS), extra.get(Key.SCAN)
        total = known if type(known) is int and not is_all else len(sessions)
        return sessions, total, scan if isinstance(scan, str) and scan != OK_WORD else None


def _has(session: dict[str, Any], text: str) -> bool:
    shown = (Key.ID, Key.AGENT, Key.DIRECTORY, Key.STATE, Key.KIND, Key.HELD)
    return any(text.lower() in str(session.get(key)).lower() for key in shown)


def id_length(sessions: Sequence[dict[str, Any]]) -> int:
    """Return how many characters of their ids distinguish the sessions."""
    ids = sorted({_text(each, Key.ID) for each in sessions})
    longest = SHORTEST_ID
    for one, other in pairwise(ids):
        same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        longest = max(longest, len(list(same)) + 1)
    return longest


def table(
    sessions: Sequence[dict[str, Any]],
    now: float,
    colour: bool,
    columns: int = WIDTH,
    id_width: int | None = None,
) -> list[str]:
    """
    Lay out sessions in a table; in few columns, each session has two lines.

    :param sessions: as ``SESSIONS`` lists them.
    :param now: the time, in seconds since the epoch.
    :param columns: those of the terminal, `NARROWEST` or more.
    :param id_width: the characters of an id that are shown; None for as many as differ.
    """
    length = id_width or id_length(sessions)
    rows = [HEADS, *(_cells(each, now, length) for each in sessions)]
    if columns < ONE_ROW_WIDTH:
        return _narrow(rows[1:], colour, columns)
    session, agent, directory, state, stop = (
        max(width(cell) for cell in column) for column in zip(*rows, strict=True)
    )
    room = columns - session - agent - state - 4 * len(_BETWEEN)
    directory = min(directory, max(room - stop, DIRECTORY_WIDTH))
    widths = (session, agent, directory, state)
    lines = []
    for row in rows:
        colours = (DIM,) * 4 if row is HEADS else (PLAIN, PLAIN, PLAIN, _COLOURS.get(row[3], PLAIN))
        first, *further = wrapped(row[4], room - directory)
        cells = [padded(cut(cell, space), space) for cell, space in zip(row, widths, strict=False)]
        if colour:
            cells = [coloured(cell, code) for cell, code in zip(cells, colours, strict=True)]
            first = coloured(first, colours[0])
        lines.append(_BETWEEN.join((*cells, first)).rstrip())
        indent = " " * (columns - room + directory)
        lines += [indent + line for line in further]
    return lines


def _narrow(rows: Sequence[tuple[str, ...]], colour: bool, columns: int) -> list[str]:
    lines = []
    for session, agent, directory, state, stop in rows:
        room = columns - width(session) - width(state) - 2 * len(_BETWEEN)
        shown = coloured(state, _COLOURS.get(state, PLAIN)) if colour else state
        lines.append(_BETWEEN.join((session, shown, cut(directory, room))))
        indent = columns - len(_BETWEEN)
        lines += [_BETWEEN + line for line in wrapped(f"{agent}: {stop}", indent)]
    return lines


def advice(sessions: Sequence[dict[str, Any]]) -> list[str]:
    """Return how to continue the first session that does not go on by itself."""
    for session in sessions:
        if session.get(Key.STATE) in _GO_ON:
            continue
        if is_open(session):
            if not goes_on(session):
                return ["", f"continue it there: {what_has_it(session)}"]
        elif (line := _line(session)) is not None:
            if session.get(Key.OWNER) == Owner.GONE:
                return ["", f"continue it yourself: {line}"]
            return ["", "continue it yourself, unless its program is open:", line]
    return []


def _line(session: dict[str, Any]) -> str | None:
    """Return the line to type to continue a session; None if nobody can type it."""
    id, directory = session.get(Key.ID), session.get(Key.DIRECTORY)  # noqa: A001
    if (
        not isinstance(id, str)
        or not isinstance(directory, str)
        or not (id + directory).isprintable()
    ):
        return None
    variables = session.get(Key.VARIABLES)
    return continuation(
        _text(session, Key.AGENT),
        id,
        directory,
        {name: str(value) for name, value in variables.items()}
        if isinstance(variables, dict)
        else NO_VARIABLES,
    )


def legend(sessions: Sequence[dict[str, Any]], colour: bool, columns: int = WIDTH) -> list[str]:
    """Explain each word of the table once, with what to do."""
    words = dict.fromkeys(word for each in sessions for word in _words(each))
    waiting = dict.fromkeys(
        f"[revive.{_text(each, Key.HOME if each.get(Key.HOME) else Key.AGENT)}]"
        for each in sessions
        if each.get(Key.HELD) == Reason.NO_METHOD
    )
    meanings = {
        word: text.format(tables=" or ".join(waiting))
        for word in words
        if (text := REASONS.get(word) or KINDS.get(word))
    }
    return _explained(meanings.items(), colour, columns)


def open_programs(
    sessions: Sequence[dict[str, Any]], now: float, colour: bool, columns: int, id_width: int
) -> list[str]:
    """Say of each session whose program is open what will be done for it."""
    sentences = [(_id(each, id_width), open_program(each, now)) for each in sessions]
    return _explained([(id, text) for id, text in sentences if text], colour, columns)  # noqa: A001


def _explained(texts: Collection[tuple[str, str]], colour: bool, columns: int) -> list[str]:
    """Lay out texts below their labels' column, after an empty line."""
    if not texts:
        return []
    label = max(width(word) for word, _ in texts) + len(_BETWEEN)
    lines = [""]
    for word, text in texts:
        first, *further = wrapped(text, columns - label)
        lines.append(labelled(word, first, colour, width=label))
        lines += [" " * label + line for line in further]
    return lines


def _cells(session: dict[str, Any], now: float, id_width: int) -> tuple[str, ...]:
    directory = session.get(Key.DIRECTORY)
    return (
        _id(session, id_width),
        cut(_text(session, Key.AGENT), CELL_WIDTH),
        at_home(directory) if isinstance(directory, str) else "?",
        cut(_text(session, Key.STATE), CELL_WIDTH),
        _stop(session, now),
    )


def _id(session: dict[str, Any], id_width: int) -> str:
    # Characters, since the daemon knows the session by that many; and no more than fit.
    return cut(_text(session, Key.ID)[:id_width], ID_WIDTH)


def _stop(session: dict[str, Any], now: float) -> str:
    """Describe how a session stopped, when it goes on, and why it is not revived."""
    due, since = due_of(session), session.get(Key.SINCE)
    words = tuple(_words(session))
    kind, *reason = words if session.get(Key.KIND) is not None else ("grew", *words)
    attempts = session.get(Key.ATTEMPTS)
    if type(attempts) is int and 0 < attempts < MOST_ATTEMPTS:
        reason.append(counted(attempts, Key.ATTEMPT))
    if isinstance(needs := session.get(Key.NEEDS), str):
        kind = f"needs you: {printable(needs, NAME_LIMIT)}; {kind}"
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
    implied = Reason.NOT_DUE if is_time(due_of(session)) else None
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
