"""
The facts of a night: what needs a person, failed, went on and waits, from the ledger alone.

Everything is plain values fit for JSON; times are in seconds since the epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from palingenesis.agents import NO_VARIABLES, continuation
from palingenesis.monitor.forecast import Outlook
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Entry, Name
from palingenesis.text import NAME_LIMIT, clock, printable
from palingenesis.words import REVIVABLE, Event, Key, Kind, State

#: Returns what becomes of a session, by the entry of its last stop; None if that is not known.
Forecasts = Callable[[Entry], Outlook | None]

#: Seconds that a report looks back by default.
SPAN = 12 * 3600.0
#: Lines of a digest after its first one.
DIGEST_LINES = 5
#: The events that the picture marks.
_MARKS = frozenset(
    {
        *(Event.NEEDS_YOU, Event.STARTED, Event.WORKED, Event.FAILED, Event.GAVE_UP),
        *(Event.LEFT, Event.KILLED, Event.ENDED, Event.CONTINUED),
    }
)

#: What a session does after an event, whatever it did before.
_AFTER: Mapping[Event, str] = {
    **dict.fromkeys((Event.INTENT, Event.STARTED), State.REVIVING),
    Event.WORKED: State.WORKING,
    Event.FAILED: State.WAITING,
    Event.GAVE_UP: State.STOPPED,
    **dict.fromkeys((Event.ENDED, Event.LEFT, Event.CONTINUED), "over"),
}


def facts(
    entries: Iterable[Entry],
    *,
    paused: bool,
    since: float,
    now: float,
    forecasts: Forecasts = lambda _: None,
    homes: Iterable[Home] = (),
) -> dict[str, Any]:
    """
    Return the facts of the time from ``since`` to ``now``.

    :param entries: the ledger's entries, the oldest first.
    :param forecasts: returns what becomes of a session that has stopped.
    :param homes: the homes of ``[homes]``.
    """
    stories: dict[Name, _Story] = {}
    for entry in entries:
        if entry.agent is not None and entry.session is not None and entry.at <= now:
            name = entry.agent, entry.session
            stories.setdefault(name, _Story(name)).add(entry)
    told = [story for story in stories.values() if story.last >= since or story.is_open]
    for story in told:
        if story.stop is not None:
            story.outlook = forecasts(story.stop)
        place = story.transcript
        story.home = next((each for each in homes if place and each.holds(place)), None)
    return {
        Key.SINCE: since,
        "now": now,
        Key.PAUSED: paused,
        Key.NEEDS_YOU: [each for story in told if (each := story.need())],
        Event.FAILED: [each for story in told if (each := story.failure(since))],
        "went_on": [each for story in told for each in story.spells(since, now)],
        State.WAITING: [each for story in told if (each := story.wait())],
        "forecast": [each for story in told if (each := story.forecast())],
        "lanes": [story.lane(since, now) for story in told if story.last >= since or story.due],
    }


def sentence(night: Mapping[str, Any]) -> str:
    """Return a night in one line."""
    needs, went, waits = (len(night[each]) for each in (Key.NEEDS_YOU, "went_on", State.WAITING))
    parts = []
    if needs:
        parts.append(f"{needs} need{'s' if needs == 1 else ''} you")
    if night[Event.FAILED]:
        failed = len(night[Event.FAILED])
        parts.append(f"{failed} revival{'' if failed == 1 else 's'} failed")
    if went:
        parts.append(f"{went} went on")
    if waits:
        dues = [each[Key.DUE] for each in night[State.WAITING] if each[Key.DUE] is not None]
        when = clock(min(dues), night["now"]) if dues else None
        next_one = f" until {when}" if waits == 1 else f" (the next until {when})"
        waiting = f"{waits} wait{'s' if waits == 1 else ''} for a reset or a retry"
        parts.append(waiting if when is None else waiting + next_one)
    if night[Key.PAUSED]:
        parts.append("the monitor is paused")
    return ", ".join(parts) or "nothing happened"


def last_time(time_of_day: tuple[int, int], now: float) -> float:
    """
    Return the last moment before now that had a time of day, in the local zone.

    :param time_of_day: an hour and a minute.
    """
    hour, minute = time_of_day
    year, month, day, *_ = time.localtime(now)
    at = time.mktime((year, month, day, hour, minute, 0, 0, 0, -1))
    return at if at <= now else time.mktime((year, month, day - 1, hour, minute, 0, 0, 0, -1))


def digest(night: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first lines of a report as an event for ``[notify]``."""
    needs = [f"{name_of(each)}: needs you: {each[Key.REASON]}" for each in night[Key.NEEDS_YOU]]
    failed = [f"{name_of(each)}: failed: {each['cause']}" for each in night[Event.FAILED]]
    first = [sentence(night), *(needs + failed)[:DIGEST_LINES]]
    return {Key.AT: night["now"], Key.EVENT: Event.DIGEST, "summary": "\n".join(first)}


def name_of(fact: Mapping[str, Any]) -> str:
    """Return how a session is called: by the end of its directory, else by its agent."""
    directory = (fact[Key.DIRECTORY] or "").rstrip("/")
    return printable(directory.rpartition("/")[2] or fact[Key.AGENT], NAME_LIMIT)


class _Story:
    """What happened to one session, and how it is at the end."""

    def __init__(self, name: Name) -> None:
        self.name = name
        self.directory: str | None = None
        self.transcript: str | None = None
        self.home: Home | None = None
        self.last = 0.0
        self.due: float | None = None
        self.stop: Entry | None = None
        self.outlook: Outlook | None = None
        self._entries: list[Entry] = []
        self._call: Entry | None = None
        self._failed: Entry | None = None

    def add(self, entry: Entry) -> None:
        """Take an entry into account."""
        self._entries.append(entry)
        self.last = entry.at
        self.directory = entry.directory or self.directory
        self.transcript = entry.transcript or self.transcript
        match entry.event:
            case Event.STOPPED:
                self.stop, self.due = entry, entry.due
                self._call = None
                if entry.fresh:
                    self._failed = None
            case Event.FAILED:
                self._failed = entry
            case Event.WORKED:
                self.stop = self._call = self._failed = self.due = None
            case Event.GAVE_UP:
                self._call, self.due = entry, None
            case Event.NEEDS_YOU:
                self._call = entry
            case Event.LEFT | Event.CONTINUED:
                self.stop = self._call = self.due = None

    @property
    def is_open(self) -> bool:
        """Whether the session waits for a person or for a time."""
        return self._call is not None or (self.stop is not None and self.due is not None)

    def need(self) -> dict[str, Any] | None:
        """Return what it needs from a person; None if nothing."""
        if self._call is None:
            return None
        reason = self._call.reason or "given up"
        who = None if self.outlook is None else self.outlook.who
        variables = NO_VARIABLES if self.home is None else self.home.environment
        # Nobody should start a second program.
        line = continuation(*self.name, self.directory, variables) if who is None else None
        at = self._call.at
        return {**self._who(), Key.AT: at, Key.REASON: reason, "line": line, Key.WHO: who}

    def failure(self, since: float) -> dict[str, Any] | None:
        """Return its last failure, if it has not worked since; None if there is none."""
        failed = self._failed
        if failed is None or failed.at < since:
            return None
        killed = next(
            (
                each.reason
                for each in self._entries
                if each.event is Event.KILLED and _attempt(each) == _attempt(failed)
            ),
            None,
        )
        cause = _cause(failed) if killed is None else f"ended by the daemon: {killed}"
        # What was never started has printed nothing.
        line = f"palingenesis output {self.name[1]}" if failed.output else None
        return {
            **self._who(),
            Key.AT: failed.at,
            Key.ATTEMPT: failed.attempt,
            "cause": cause,
            "line": line,
        }

    def spells(self, since: float, now: float) -> list[dict[str, Any]]:
        """Return each time that it went on after a revival, and for how long."""
        spells = []
        for start, end, running in self._working(now):
            if end >= since:
                known = {Key.AT: start, Key.SECONDS: round(end - start), "running": running}
                spells.append({**self._who(), **known})
        return spells

    def _working(self, now: float) -> list[tuple[float, float, bool]]:
        found = []
        start: float | None = None
        for entry in self._entries:
            if entry.event is Event.WORKED:
                start = entry.at
            elif start is not None and entry.event in (Event.ENDED, Event.STOPPED, Event.LEFT):
                found.append((start, entry.at, False))
                start = None
        if start is not None:
            found.append((start, now, True))
        return found

    def wait(self) -> dict[str, Any] | None:
        """Return for what it waits, and until when; None if nothing would bring it back."""
        if self.stop is None or not self._comes_back:
            return None
        kind = self.stop.kind or Kind.UNKNOWN
        return {**self._who(), Key.KIND: kind.value, Key.DUE: self._at}

    def forecast(self) -> dict[str, Any] | None:
        """Return whether it will be brought back, when, or why not; None if it does not stop."""
        if self.stop is None or self.outlook is None:
            return None
        known = {"comes_back": self._comes_back, Key.DUE: self._at}
        return {**self._who(), **known, Key.REASON: self.outlook.reason}

    @property
    def _comes_back(self) -> bool:
        return self.outlook is not None and self.outlook.reason is None

    @property
    def _at(self) -> float | None:
        return None if self.outlook is None else self.outlook.at

    def lane(self, since: float, now: float) -> dict[str, Any]:
        """Return its lane in the picture: segments, marks, and what is planned."""
        segments: list[dict[str, Any]] = []
        what, start = Kind.UNKNOWN.value, since
        for entry in self._entries:
            then = _after(entry, what)
            if then != what:
                _append(segments, what, max(start, since), entry.at)
                what, start = then, max(entry.at, since)
        _append(segments, what, start, now)
        marks = [
            {Key.AT: each.at, Key.EVENT: each.event.value, "words": _words(each)}
            for each in self._entries
            if each.at >= since and each.event in _MARKS
        ]
        planned = self._at if self._comes_back else None
        return {**self._who(), "segments": segments, "marks": marks, "planned": planned}

    def _who(self) -> dict[str, Any]:
        return {Key.AGENT: self.name[0], Key.SESSION: self.name[1], Key.DIRECTORY: self.directory}


def _after(entry: Entry, before: str) -> str:
    """Return what a session does after an entry."""
    if entry.event is Event.STOPPED:
        waits = entry.kind in REVIVABLE and entry.due is not None
        return State.WAITING if waits else State.STOPPED
    if entry.event is Event.NEEDS_YOU and before == State.WAITING:
        return State.STOPPED
    return _AFTER.get(entry.event, before)


def _append(segments: list[dict[str, Any]], what: str, start: float, end: float) -> None:
    if end > start and what != "over":
        segments.append({"what": what, "from": start, "to": end})


def _words(entry: Entry) -> str:
    words = entry.event.value
    if entry.attempt is not None:
        words += f", attempt {entry.attempt}"
    return words if entry.reason is None else f"{words}: {entry.reason}"


def _cause(failed: Entry) -> str:
    """Return why an attempt failed, as far as its entry shows."""
    status = failed.exit
    if status is None:
        return failed.reason or "its exit status is unknown"
    shown = f"signal {-status}" if status < 0 else f"exit status {status}"
    if failed.reason is None:
        return shown
    return f"{failed.reason} ({shown})" if status else failed.reason


def _attempt(entry: Entry) -> tuple[str | None, int | None]:
    return entry.key, entry.attempt
