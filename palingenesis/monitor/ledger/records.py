"""The entries of the ledger: their fields, how a line is written, and how one is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from palingenesis.words import Event, Kind

#: Seconds.
HOUR = 3600.0
#: The word for what the first line of a file is, in place of an event.
SUMS = "sums"


@dataclass(frozen=True, slots=True)
class Stop:
    """
    One stop of one session; agent, session and key tell it from every other.

    :ivar key: the key of the record that it was read from.
    """

    agent: str
    session: str
    key: str
    kind: Kind | None
    transcript: str
    directory: str


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One line of the ledger; times are in seconds since the epoch.

    :ivar attempt: which attempt since the session's last progress, from 1.
    :ivar exit: a command's exit status, negative for a signal; None where it is unknown.
    :ivar by: who paused or resumed.
    :ivar began: the start time of the process ``pid``, as `processes.Process` has it.
    :ivar output: the file that takes the command's output.
    :ivar fresh: whether the session made progress between this stop and the one before.
    :ivar quick: whether a command ended soon after its start and left no record.
    :ivar found: the key of the last record that a failed command left in the transcript.
    """

    at: float
    event: Event
    session: str | None = None
    agent: str | None = None
    kind: Kind | None = None
    attempt: int | None = None
    pid: int | None = None
    exit: int | None = None
    due: float | None = None
    by: str | None = None
    key: str | None = None
    transcript: str | None = None
    directory: str | None = None
    began: str | None = None
    output: str | None = None
    fresh: bool | None = None
    quick: bool | None = None
    found: str | None = None

    def line(self) -> bytes:
        """Render the entry as it is in the file, newline included."""
        known = {name: getattr(self, name) for name in _NAMES}
        return render({name: value for name, value in known.items() if value is not None})

    def public(self) -> dict[str, Any]:
        """Tell the entry as ``LOG`` does: the first five keys always, others where they belong."""
        told = {name: getattr(self, name) for name in _NAMES[:5]}
        for name in _PUBLIC:
            value = getattr(self, name)
            if value is not None or (name == "exit" and self.event is Event.FAILED):
                told[name] = value
        return told


_NAMES = tuple(each.name for each in fields(Entry))
_PUBLIC = ("attempt", "pid", "exit", "due", "by")
_TEXTS = ("session", "agent", "by", "key", "transcript", "directory", "began", "output", "found")
_NUMBERS = ("attempt", "pid", "exit")
_FLAGS = ("fresh", "quick")


def render(value: dict[str, Any]) -> bytes:
    """Return an object as a line of the file, newline included."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the object that a line holds, if it has a time; else None."""
    try:
        told = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and is_number(told.get("at")) else None


def is_number(value: object) -> bool:
    """Return whether a value is a finite number that JSON keeps exactly."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def entry_of(told: dict[str, Any]) -> Entry | None:
    """Make an entry of a line that was read; None where it is not one, or a part is nonsense."""
    known = {name: told[name] for name in _NAMES if told.get(name) is not None}
    try:
        known["event"] = Event(known["event"])
        if "kind" in known:
            known["kind"] = Kind(known["kind"])
    except (KeyError, ValueError):
        return None
    sane = (
        all(isinstance(known.get(name, ""), str) for name in _TEXTS)
        and all(isinstance(known.get(name, 0), int) for name in _NUMBERS)
        and all(is_number(known.get(name, 0)) for name in _NUMBERS)
        and is_number(known.get("due", 0))
        and all(isinstance(known.get(name, False), bool) for name in _FLAGS)
    )
    return Entry(**known) if sane else None


def lines(content: bytes) -> Iterator[dict[str, Any]]:
    """Return the objects of a file's lines, in order, without those that are none."""
    for line in content.split(b"\n"):
        told = parse(line) if line.strip() else None
        if told is not None:
            yield told
