"""The sessions in memory: what was read of each one, and when it last grew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from palingenesis.monitor.gate import TOO_FAR
from palingenesis.monitor.scan import SLICE, Change
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import Stamp
from palingenesis.monitor.world import World
from palingenesis.text import MESSAGE_LIMIT, in_short, printable
from palingenesis.words import Kind, Owner, State

#: Sessions that are kept in memory however old they are.
KEPT = 2000
#: Different troubles with transcripts that are told.
TROUBLE_LIMIT = 1000


@dataclass(slots=True, eq=False)
class Session:
    """
    A session as it was last read. A transcript that grows makes a new one.

    :ivar path: its transcript.
    :ivar verdict: what its last meaningful record says.
    :ivar grown: when it last grew, in seconds of a clock that is never set back.
    :ivar kind: how it stopped; None where it has not, or that is not known yet.
    :ivar owner: whether its process lived when that was last asked; None before.
    :ivar state: what it was doing at the last look.
    :ivar due: when it goes on by itself, as planned at the last look, in seconds since the
        epoch; None where nothing is planned.
    :ivar settled: whether nothing can change about it until it grows.
    """

    agent: str
    identity: Identity
    path: str
    stamp: Stamp
    verdict: Verdict
    grown: float
    kind: Kind | None = None
    owner: Owner | None = None
    state: State = State.WORKING
    due: float | None = None
    settled: bool = False

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from every other session: its agent and its id."""
        return self.agent, self.identity.id

    @property
    def since(self) -> float:
        """When its transcript was last written, in seconds since the epoch."""
        return self.stamp.mtime_ns / 1e9


class Roster:
    """
    The sessions that are known, by transcript and by name.

    :param world: where they are read from.
    :param trouble: called with one line for every transcript that cannot be read, once.
    :param timer: tells seconds, to measure slices with.
    :ivar sessions: by agent and id; of two transcripts of one session, the one that grew last.
    """

    def __init__(
        self,
        world: World,
        trouble: Callable[[str], None],
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._world = world
        self._trouble = trouble
        self._timer = timer
        self._told: set[str] = set()
        self._by_path: dict[str, Session] = {}
        self._looked: float | None = None
        self.sessions: dict[tuple[str, str], Session] = {}

    def look(
        self, homes: Mapping[str, str], now: float, monotonic: float, max_age: float
    ) -> Iterator[None]:
        """
        Read every transcript that has changed, the newest first.

        It yields wherever about `SLICE` seconds of work are done.

        :param now: the time, in seconds since the epoch.
        :param monotonic: the time, in seconds of a clock that is never set back.
        :param max_age: seconds after which a stop is too old to act on.
        """
        changes = []
        for change in self._world.scan(homes):
            if change is None:
                yield
            else:
                changes.append(change)
        changes.sort(key=_newest_first)
        horizon = now - max_age - TOO_FAR
        began = self._timer()
        for change in changes:
            self._take(change, now, monotonic, horizon)
            if self._timer() - began >= SLICE:
                yield
                began = self._timer()
        if changes:
            self._forget_the_oldest(horizon)
            self._elect()
        self._looked = monotonic

    def refresh(self, session: Session, now: float, monotonic: float) -> Session | None:
        """Read a session again if its transcript has changed; None where it is gone."""
        stamp = self._world.stamp(session.path)
        if stamp == session.stamp:
            return session
        self._take(Change(session.agent, session.path, stamp), now, monotonic, 0.0)
        self._elect()
        return self.sessions.get(session.name)

    def find(self, agent: str, path: str, now: float, monotonic: float) -> Session | None:
        """Read a transcript that is not among those looked at; None where that is impossible."""
        stamp = self._world.stamp(path)
        if stamp is None:
            return None
        try:
            told = self._world.read(agent, path, None)
        except OSError:
            return None
        if told is None:
            return None
        age = max(0.0, now - stamp.mtime_ns / 1e9)
        return Session(agent, told[0], path, stamp, told[1], monotonic - age)

    def _take(self, change: Change, now: float, monotonic: float, horizon: float) -> None:
        agent, path, stamp = change
        old = self._by_path.pop(path, None)
        if stamp is None:
            return
        written = stamp.mtime_ns / 1e9
        if old is None and written < horizon and len(self._by_path) >= KEPT:
            return
        grows = (
            old is not None
            and old.stamp[:2] == stamp[:2]
            and old.stamp.size <= stamp.size
            and old.agent == agent
        )
        try:
            told = self._world.read(agent, path, old.identity if old and grows else None)
        except FileNotFoundError:
            self._world.forget(path)
            return
        except OSError as error:
            self._world.forget(path)
            self._tell(f"{path}: cannot be read: {in_short(error)}; its session is left alone")
            return
        if told is not None:
            age = max(0.0, now - written)
            if old is not None and self._looked is not None:
                # It grew since the last look, whatever a clock that was set says.
                age = min(age, monotonic - self._looked)
            identity, verdict = told
            self._by_path[path] = Session(agent, identity, path, stamp, verdict, monotonic - age)

    def _forget_the_oldest(self, horizon: float) -> None:
        if len(self._by_path) > KEPT:
            by_age = sorted(self._by_path.values(), key=attrgetter("since"), reverse=True)
            for session in by_age[KEPT:]:
                if session.since < horizon:
                    del self._by_path[session.path]

    def _elect(self) -> None:
        """Choose the transcript of each session: of several, the one that grew last."""
        sessions: dict[tuple[str, str], Session] = {}
        for session in self._by_path.values():
            other = sessions.get(session.name)
            if other is None or (other.since, other.path) < (session.since, session.path):
                sessions[session.name] = session
        self.sessions = sessions

    def _tell(self, trouble: str) -> None:
        if trouble not in self._told and len(self._told) < TROUBLE_LIMIT:
            self._told.add(trouble)
            self._trouble(printable(trouble, MESSAGE_LIMIT))


def _newest_first(change: Change) -> float:
    return float("-inf") if change.stamp is None else -change.stamp.mtime_ns
