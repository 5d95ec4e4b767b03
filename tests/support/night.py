"""A staged night, as a ledger tells it, for the report and its picture."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from palingenesis.monitor.forecast import Forecast
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Entry
from palingenesis.monitor.ledger.history import Sums
from palingenesis.monitor.owners import NOTHING, Owners, Snapshot, Witness
from palingenesis.monitor.report import facts
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.settings import HomeRevival, Settings
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import Living, World
from palingenesis.words import Event, Kind

#: When it begins and ends, in seconds since the epoch: 2026-11-26, 22:00 to 07:00 UTC.
BEGIN = 1_795_730_400.0
END = BEGIN + 9 * 3600
HOUR = 3600.0
#: Settings that bring the sessions of the staged night back.
REVIVES = Settings(agents=("claude",), revive={"claude": HomeRevival(command=("claude", "{id}"))})


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
        entry("api", 2.2, Event.FAILED, attempt=1, exit=3, output="6.log", kind=Kind.TRANSIENT),
        entry("api", 2.2, Event.GAVE_UP, attempt=1, kind=Kind.TRANSIENT),
        # It waits until after the night.
        entry("docs", 8, Event.STOPPED, due=END + 2 * HOUR, **limit),
        # It was left.
        entry("old", 4, Event.LEFT, kind=Kind.USER),
    ]
    return sorted(night, key=lambda each: each.at)


class _Nobody(Owners):
    """The owners, if nothing has any session."""

    def witness(self, session: Identity, transcript: str) -> Witness:  # noqa: ARG002
        return NOTHING

    witnessed = witness


class _Nothing(Living):
    """The living, if nothing lives."""

    def of(self, home: Home) -> Owners:  # noqa: ARG002
        return _Nobody(Snapshot(None))


class _Nowhere(World):
    """A world in which nothing runs, and every directory can be used."""

    def look(self, homes: Iterable[Home], commands: Container[int]) -> Living:  # noqa: ARG002
        return _Nothing({})

    def directory_warning(self, path: str) -> str | None:  # noqa: ARG002
        return None


class _Then(Times):
    def __init__(self, now: float) -> None:
        self._now = now

    def wall(self) -> float:
        return self._now


def night_of(
    entries: list[Entry], *, settings: Settings = REVIVES, now: float = END, since: float = BEGIN
) -> dict[str, Any]:
    """Return the facts of a night after which nothing runs."""
    sums = Sums()
    for each in entries:
        sums.add(each)
    times = _Then(now)
    world = _Nowhere("/none", lambda _: None, times, environment={"HOME": "/home/you"})
    forecast = Forecast(settings, sums, entries, world, times)
    return facts(entries, paused=sums.paused, since=since, now=now, forecasts=forecast.outlook)
