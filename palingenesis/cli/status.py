"""``palingenesis status``: the daemon's status, once or live."""

from __future__ import annotations

import json
import time

from palingenesis.cli.format import (
    GREEN,
    PLAIN,
    YELLOW,
    counted,
    from_now,
    in_words,
    is_time,
    keeper_in_words,
    labelled,
    numbers_in_words,
)
from palingenesis.text import VALUE_LIMIT, clock, printable
from palingenesis.words import OK_WORD, DaemonWord, Key, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from palingenesis.client.blocking import ControlClient
    from palingenesis.wire import DaemonStatus

_STATE_COLOURS: dict[str, str] = {DaemonWord.MONITORING: GREEN, DaemonWord.PAUSED: YELLOW}


#: What stands in a short status for a pause, for work and for waiting.
MARKS = ("⏸", "▶", "⏳")
#: The same on a terminal that only has ASCII.
ASCII_MARKS = ("paused", ">", "~")
#: Values that are only shown if they are not as they should be, with their labels.
_ONLY_IF_WRONG: dict[str, tuple[str, object]] = {
    Key.LEDGER: ("memory", OK_WORD),
    Key.SCAN: ("scan", OK_WORD),
    Key.NEEDS_YOU: ("need you", 0),
}


class StatusView:
    """
    The status, as a `palingenesis.cli.live.View`.

    :param colour: whether the lines are in colour.
    :ivar matching: unused; a status is not filtered.
    """

    matching = ""

    def __init__(self, client: ControlClient, colour: bool) -> None:
        self._client = client
        self._colour = colour

    def lines(self) -> list[str]:
        """Show it, one line for each value, the daemon's further ones included."""
        status, colour = self._client.status(), self._colour
        rows = [("uptime", in_words(status.uptime_secs or 0))]
        if _is_monitor(status):
            if status.total_resumes:
                worked, started = status.saves_count, status.total_resumes
                rows.append(("revivals", f"{started} started, {worked} worked"))
        elif _has_sessions(status):
            rows += [
                (Key.SESSION, _session(status)),
                ("saves", str(status.saves_count)),
                ("resumes", str(status.total_resumes)),
            ]
        rows += _further(status.extra, time.time())
        return [
            labelled(Key.STATE, status.state, colour, _STATE_COLOURS.get(status.state, PLAIN)),
            *(labelled(label, value, colour) for label, value in rows),
            labelled("socket", printable(self._client.path), colour),
        ]

    def sentence(self) -> str:
        """Show it on one line."""
        status = self._client.status()
        sentence = f"{status.state}, up {in_words(status.uptime_secs or 0)}"
        if _is_monitor(status):
            worked, started = status.saves_count, status.total_resumes
            if not started:
                return sentence
            return f"{sentence}, {counted(started, 'revival')} started, {worked} worked"
        if not _has_sessions(status):
            return sentence
        return (
            f"{sentence}, session {_session(status)}, "
            f"{counted(status.saves_count, 'save')}, {counted(status.total_resumes, 'resume')}"
        )

    def line(self) -> bytes:
        """Return the daemon's own line."""
        return self._client.status_line()


def short(status: DaemonStatus, marks: tuple[str, str, str] = MARKS) -> str:
    """
    Show a status in some characters, for a prompt or a status bar.

    They are how many sessions work, how many wait and until when, and how many need a person.

    :param marks: what stands for a pause, for work and for waiting.
    """
    pause, work, wait = marks
    found = status.extra.get(Key.SESSIONS)
    numbers: dict[str, int] = found if _are_numbers(found) else {}  # type: ignore[assignment]
    working = numbers.get(State.WORKING, 0) + numbers.get(State.REVIVING, 0)
    parts = [pause] if status.state == DaemonWord.PAUSED else []
    waiting = numbers.get(State.WAITING, 0)
    due, needs = status.extra.get(Key.NEXT_REVIVAL), status.extra.get(Key.NEEDS_YOU)
    if working or not waiting:
        parts.append(f"{working} {work}")
    if waiting:
        parts.append(f"{waiting} {wait}")
        if is_time(due):
            parts.append(clock(due, time.time()))
    if type(needs) is int and needs > 0:
        parts.append(f"{needs} !")
    return " ".join(parts)


def _further(extra: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    """Label the daemon's further values; those of a monitor are put into words."""
    is_monitor = Key.NEXT_REVIVAL in extra
    for key, value in extra.items():
        if key == Key.SESSIONS and _are_numbers(value):
            yield key, printable(numbers_in_words(value)) or "none"
        elif key == Key.NEXT_REVIVAL and is_time(value):
            yield "revival", from_now(value, now)
        elif key == Key.NEXT_REVIVAL and value is None:
            continue
        elif key == Key.KEEPER and is_monitor:
            yield "revives", keeper_in_words(value)
        elif is_monitor and key in _ONLY_IF_WRONG:
            if value != _ONLY_IF_WRONG[key][1]:
                yield _ONLY_IF_WRONG[key][0], _shown(value)
        elif not (is_monitor and key == Key.KNOWN_SESSIONS):
            yield printable(key), _shown(value)


def _is_monitor(status: DaemonStatus) -> bool:
    return Key.NEXT_REVIVAL in status.extra


def _are_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(type(number) is int for number in value.values())


def _has_sessions(status: DaemonStatus) -> bool:
    return bool(status.current_session is not None or status.saves_count or status.total_resumes)


def _session(status: DaemonStatus) -> str:
    return "none" if status.current_session is None else printable(status.current_session)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text, VALUE_LIMIT)
