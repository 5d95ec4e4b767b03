"""Tonight's forecast: what becomes of a session that has stopped, by the monitor's own gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.case import Case, Circumstances, ending_of, newest_resets
from palingenesis.monitor.gate import PASSING, goes_on_at, reasons_against
from palingenesis.monitor.ledger import Entry, Stop
from palingenesis.monitor.ledger.history import History, Sums
from palingenesis.monitor.roster import Roster, Session
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Stamp
from palingenesis.monitor.world import World
from palingenesis.words import Kind, Reason

#: Why a session is not brought back, in a few words.
_WORDS: Mapping[Reason, str] = {
    Reason.PAUSED: "the monitor is paused",
    Reason.NO_METHOD: "no method that fits is named in [revive.{name}]",
    Reason.NOT_THE_KEEPER: "its home {name} is not monitored, or another daemon revives there",
    Reason.LEDGER: "the ledger cannot be written",
    Reason.KIND: "waiting does not cure its stop ({stop})",
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
    :ivar who: what has it open, in words; None if nothing is known to.
    """

    reason: str | None
    at: float | None
    who: str | None = None


def outlook(case: Case, key: str | None) -> Outlook:
    """
    Return what becomes of a session that has stopped: tonight, not just now.

    :param key: the key of its last stop in the ledger.
    """
    session = case.session
    who = (session.who or "a program") if session.is_open else None
    if session.verdict.key not in (key, case.history.found):
        return Outlook(_WORDS[Reason.NEWER_RECORD], None, who)
    for reason in reasons_against(case):
        if reason is Reason.ALREADY_RUNNING:
            return Outlook(None, None, who)
        if reason not in PASSING:
            words = _WORDS[reason].format(name=session.home.name, stop=case.kind)
            return Outlook(words, None, who)
    return Outlook(None, goes_on_at(case), who)


class Forecast:
    """
    The forecast from a ledger, for which no daemon has to run.

    :param sums: what follows from the ledger's entries.
    :param entries: the last of these.
    """

    def __init__(
        self, settings: Settings, sums: Sums, entries: Iterable[Entry], world: World, times: Times
    ) -> None:
        homes = world.homes(settings.agents, settings.homes.values())
        attempts = [a for each in sums.sessions.values() for a in (each.open, each.last) if a]
        self._sums = sums
        self._world = world
        self._roster = Roster(world, times, lambda _: None)
        self._living = world.look(homes, {each.pid for each in attempts if each.pid is not None})
        now = times.wall()
        self._sessions: dict[str, Session | None] = {}
        stops = [each for each in entries if each.kind is Kind.LIMIT and each.agent in AGENTS]
        limits = [session for each in stops if (session := self._find(each.stop))]
        self._circumstances = Circumstances(
            now=now,
            monotonic=times.monotonic(),
            settings=settings,
            paused=sums.paused,
            kept={home.name: sums.kept.get(home.directory) for home in homes},
            may_start=True,
            first_at=sums.first_at,
            starts=lambda home: sums.starts(home, now),
            resets=newest_resets(limits, settings.margin),
        )

    def outlook(self, entry: Entry) -> Outlook:
        """Return what becomes of a session by the entry of its last stop."""
        if entry.agent is None or entry.agent not in AGENTS:
            return Outlook(f"{entry.agent} is not known", None)
        stop = entry.stop
        history = self._sums.sessions.get((stop.agent, stop.session), History())
        home = self._world.home_of(stop)
        session = self._find(stop)
        is_read = session is not None
        if session is None:
            # As the ledger has it.
            stamp = Stamp(0, 0, 0, round(entry.at * 1e9))
            verdict = Verdict(entry.kind, stop.key, entry.at)
            identity = Identity(stop.session, stop.directory)
            session = Session(home, identity, stop.transcript, stamp, verdict, 0.0)
        session.kind = entry.kind
        if is_read:
            session.see(self._living.of(home))
        session.unusable = self._world.directory_warning(session.identity.directory)
        ending = ending_of(session, history, self._circumstances)
        if ending is not None and not is_read:
            ending = replace(ending, due=entry.due, reset_stated=entry.due is not None)
        return outlook(Case(session, history, self._circumstances, ending), stop.key)

    def _find(self, stop: Stop) -> Session | None:
        path = stop.transcript
        if path not in self._sessions:
            self._sessions[path] = self._roster.find(self._world.home_of(stop), path)
        return self._sessions[path]
