"""Tonight's forecast: what becomes of a session that has stopped, by the monitor's own gate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.case import (
    PASSING,
    Case,
    Circumstances,
    is_within,
    reasons_against,
)
from palingenesis.monitor.ledger import Entry, Stop
from palingenesis.monitor.ledger.history import History, Sums
from palingenesis.monitor.roster import Roster, Session
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Stamp
from palingenesis.monitor.world import World
from palingenesis.words import Reason

#: Why a session is not brought back, in a few words.
_WORDS: Mapping[Reason, str] = {
    Reason.PAUSED: "the monitor is paused",
    Reason.NO_METHOD: "no method that fits is named in [revive.{name}]",
    Reason.NOT_THE_KEEPER: "its home {name} is not monitored, or another daemon revives there",
    Reason.LEDGER: "the ledger cannot be written",
    Reason.KIND: "waiting does not cure {stop}",
    Reason.CRASHES: "a crash may be a closed terminal, and `crashes` is not set",
    Reason.ON_HOLD: "it is on hold",
    Reason.PROJECT: "[[projects]] says so for its directory",
    Reason.GIVEN_UP: "it is given up",
    Reason.NEWER_RECORD: "its transcript has grown since",
    Reason.TOO_FAR: "its reset is over 8 days away",
    Reason.TOO_OLD: "it stopped too long ago",
    Reason.WINDOWS: "it was brought back after `windows` resets already",
    Reason.SPEND: "going on costs more than the plan, and `spend` is not set",
    Reason.OWNER_ALIVE: "its agent still runs",
    Reason.OWNER_UNKNOWN: "it is unknown whether its agent still runs",
    Reason.DIRECTORY: "its directory cannot be used",
    Reason.ATTEMPTS: "its attempts are used up",
    Reason.NO_BINARY: "its command's program is not found",
}


class Outlook(NamedTuple):
    """
    What becomes of a session.

    :ivar reason: why it is not brought back, in words; None if it is.
    :ivar at: when, in seconds since the epoch; None if that is not known, or never.
    """

    reason: str | None
    at: float | None


def outlook(case: Case, key: str | None) -> Outlook:
    """
    Return what becomes of a session that has stopped: tonight, not just now.

    :param key: the key of its last stop in the ledger.
    """
    if case.session.verdict.key not in (key, case.history.found):
        return Outlook(_WORDS[Reason.NEWER_RECORD], None)
    for reason in reasons_against(case):
        if reason is Reason.ALREADY_RUNNING:
            return Outlook(None, None)
        if reason not in PASSING:
            words = _WORDS[reason].format(name=case.session.home.name, stop=case.kind)
            return Outlook(words, None)
    return Outlook(None, _within_hours(case.settings, case.due))


def _within_hours(settings: Settings, due: float | None) -> float | None:
    """Return when a session goes on that is due then, if only at some hours."""
    if due is None or settings.hours is None:
        return due
    year, month, day, hour, minute, *_ = time.localtime(due)
    clock = hour * 60 + minute
    if is_within(settings.hours, clock):
        return due
    begin, _ = settings.hours
    return time.mktime((year, month, day + (begin < clock), 0, begin, 0, 0, 0, -1))


class Forecast:
    """
    The forecast from a ledger, for which no daemon has to run.

    :param sums: what follows from the ledger's entries.
    """

    def __init__(self, settings: Settings, sums: Sums, world: World, times: Times) -> None:
        homes = world.homes(settings.agents, settings.homes.values())
        attempts = [a for each in sums.sessions.values() for a in (each.open, each.last) if a]
        self._settings = settings
        self._sums = sums
        self._world = world
        self._times = times
        self._roster = Roster(world, times, lambda _: None)
        self._living = world.look(homes, {each.pid for each in attempts if each.pid is not None})
        self._circumstances = Circumstances(
            now=times.wall(),
            monotonic=times.monotonic(),
            settings=settings,
            paused=sums.paused,
            kept={home.name: sums.kept.get(home.directory) for home in homes},
            may_start=True,
            first_at=sums.first_at,
            starts=lambda _: 0,
        )

    def outlook(self, entry: Entry) -> Outlook:
        """Return what becomes of a session by the entry of its last stop."""
        if entry.agent is None or entry.agent not in AGENTS:
            return Outlook(f"{entry.agent} is not known", None)
        path, directory = entry.transcript or "", entry.directory or ""
        agent, name, key = entry.agent, entry.session or "", entry.key or ""
        stop = Stop(agent, name, key, entry.kind, path, directory)
        history = self._sums.sessions.get((stop.agent, stop.session), History())
        home = self._world.home_of(stop)
        session = self._roster.find(home, path)
        is_read = session is not None
        if session is None:
            # As the ledger has it.
            stamp = Stamp(0, 0, 0, round(entry.at * 1e9))
            verdict = Verdict(entry.kind, stop.key, entry.at)
            session = Session(home, Identity(stop.session, directory), path, stamp, verdict, 0.0)
        session.kind = entry.kind
        if is_read and history.open is None:
            witness = self._living.of(home).witness(session.identity, path)
            session.owner, session.who = witness.owner, witness.who
        session.unusable = self._world.directory_warning(session.identity.directory)
        case = Case.of(session, history, self._circumstances)
        if case.ending is not None and not is_read:
            stated = replace(case.ending, due=entry.due, reset_stated=entry.due is not None)
            case = replace(case, ending=stated)
        return outlook(case, stop.key)
