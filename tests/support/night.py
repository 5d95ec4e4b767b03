"""A staged night, as a ledger tells it, for the report and its picture."""

from __future__ import annotations

from typing import Any

from palingenesis.monitor.ledger import Entry
from palingenesis.monitor.ledger.history import Sums
from palingenesis.monitor.report import facts
from palingenesis.words import Event, Kind

#: When it begins and ends, in seconds since the epoch: 2026-11-26, 22:00 to 07:00 UTC.
BEGIN = 1_795_730_400.0
END = BEGIN + 9 * 3600
HOUR = 3600.0


def entry(session: str, hours: float, event: Event, **known: Any) -> Entry:
    """Make an entry so many hours after the night began."""
    paths = {
        "directory": f"/home/you/{session}",
        "transcript": f"/home/you/.claude/{session}.jsonl",
    }
    named = {"session": f"{session}-id", "agent": "claude", "key": f"{session}-1", **paths}
    return Entry(BEGIN + hours * HOUR, event, **{**named, **known})


def staged_night() -> list[Entry]:
    """Return the entries of a night in which each thing happens once."""
    limit: dict[str, Any] = {"kind": Kind.LIMIT}
    night = [
        # It hits a limit, comes back, and works for two hours.
        entry("app", 1, Event.STOPPED, due=BEGIN + 3 * HOUR, **limit),
        entry("app", 3, Event.INTENT, attempt=1, **limit),
        entry("app", 3, Event.STARTED, attempt=1, pid=5, **limit),
        entry("app", 3.1, Event.WORKED, attempt=1, **limit),
        entry("app", 5.1, Event.ENDED, attempt=1, seconds=7200.0, exit=0, **limit),
        # It asks something.
        entry("<b>&site", 2, Event.STOPPED, kind=Kind.ASKING),
        entry("<b>&site", 2, Event.NEEDS_YOU, kind=Kind.ASKING, reason="an answer"),
        # Its revivals fail, and it is given up.
        entry("api", 2, Event.STOPPED, kind=Kind.TRANSIENT, due=BEGIN + 2.1 * HOUR),
        entry("api", 2.1, Event.INTENT, attempt=1, kind=Kind.TRANSIENT),
        entry("api", 2.1, Event.STARTED, attempt=1, pid=6, kind=Kind.TRANSIENT),
        entry("api", 2.2, Event.FAILED, attempt=1, exit=3, kind=Kind.TRANSIENT),
        entry("api", 2.2, Event.GAVE_UP, attempt=1, kind=Kind.TRANSIENT),
        # It waits until after the night.
        entry("docs", 8, Event.STOPPED, due=END + 2 * HOUR, **limit),
        # It was left.
        entry("old", 4, Event.LEFT, kind=Kind.USER),
    ]
    return sorted(night, key=lambda each: each.at)


def night_of(entries: list[Entry], **known: Any) -> dict[str, Any]:
    """Return the facts of a night."""
    sums = Sums()
    for each in entries:
        sums.add(each)
    told: dict[str, Any] = {"paused": False, "since": BEGIN, "now": END, **known}
    return facts(entries, sums.sessions, **told)
