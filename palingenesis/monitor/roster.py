"""The sessions in memory: what was read of each one, and when it last grew."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from palingenesis.monitor.homes import Home
from palingenesis.monitor.owners import Owners
from palingenesis.monitor.scan import Change
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Stamp
from palingenesis.monitor.world import World
from palingenesis.text import in_short
from palingenesis.words import Kind, Owner, State

#: Sessions that are kept in memory however old they are.
KEPT = 2000


@dataclass(slots=True, eq=False)
class Session:
    """
    A session as it was last read. A transcript that grows makes a new one.

    :ivar path: its transcript.
    :ivar verdict: what its last meaningful record says.
    :ivar grown: when it last grew, in seconds of a clock that is never set back.
    :ivar kind: how it stopped; None if it has not, or that is not known yet.
    :ivar owner: what had it when that was last asked; None before.
    :ivar who: that owner in words; None if nothing had it.
    :ivar is_interactive: whether that owner takes a message; see `Witness`.
    :ivar is_queued: whether a message waited for it in its agent's own queue then; None if that
        is not known.
    :ivar doubt: why no prompt can be typed into the terminal of its program, when that was last
        asked; None if one can.
    :ivar doubt_asked: when that was, in seconds of the clock that is never set back; in the
        future if the doubt is to hold until then.
    :ivar wants_permission: whether its process said last that it waits for a permission.
    :ivar left: whether its user has left it since, as the agent notes elsewhere.
    :ivar state: what it was doing at the last tick.
    :ivar needs: what it needed from a person at the last tick; None if nothing.
    :ivar due: when it goes on by itself, as planned at the last tick, in seconds since the
        epoch; None if nothing is planned.
    :ivar unusable: why it cannot be revived in its directory, when that was last asked; None
        if it can.
    :ivar unstartable_until: until when its command is not tried again, which could not be
        executed, in seconds of a clock that is never set back.
    :ivar settled: whether nothing can change about it until it grows.
    """

    home: Home
    identity: Identity
    path: str
    stamp: Stamp
    verdict: Verdict
    grown: float
    kind: Kind | None = None
    owner: Owner | None = None
    who: str | None = None
    is_interactive: bool = False
    is_queued: bool | None = None
    doubt: str | None = None
    doubt_asked: float = -math.inf
    wants_permission: bool = False
    left: bool = False
    state: State = State.WORKING
    needs: str | None = None
    due: float | None = None
    unusable: str | None = None
    unstartable_until: float = 0.0
    settled: bool = False

    @property
    def agent(self) -> str:
        """Its agent's name."""
        return self.home.agent

    @property
    def name(self) -> tuple[str, str]:
        """Its agent and its id, which no other session shares."""
        return self.agent, self.identity.id

    @property
    def is_open(self) -> bool:
        """Whether a program or a server has it, as far as is known."""
        return self.owner in (Owner.PROGRAM, Owner.SERVER)

    def see(self, owners: Owners) -> None:
        """Take note of what has it now, and whether a message waits for it."""
        witness = owners.witness(self.identity, self.path)
        self.owner, self.who = witness.owner, witness.who
        self.is_interactive = witness.is_interactive
        self.is_queued = owners.is_queued(self.identity)

    @property
    def since(self) -> float:
        """When its transcript was last written, in seconds since the epoch."""
        return self.stamp.mtime_ns / 1e9

    @property
    def at(self) -> float:
        """The time of its last record, in seconds since the epoch; as good as is known."""
        return self.since if self.verdict.at is None else self.verdict.at


class Roster:
    """
    The sessions that are known, by transcript and by name.

    :param world: where they are read from.
    :param warn: called with one line for every transcript that cannot be read.
    :ivar sessions: by agent and id; of several transcripts of one session, one that the agent
        itself would have written there, or else the one that grew last. If two disagree, the kind
        of its end is unknown.
    """

    def __init__(self, world: World, times: Times, warn: Callable[[str], None]) -> None:
        self._world = world
        self._times = times
        self._warn = warn
        self._by_path: dict[str, Session] = {}
        self._disputed: dict[str, Session] = {}
        self._scanned: float | None = None
        self.sessions: dict[tuple[str, str], Session] = {}

    def scan(self, homes: Iterable[Home], memory: float) -> Iterator[None]:
        """
        Read every transcript that has changed, the newest first; yield after each step.

        :param memory: seconds after which a transcript that has not grown can be forgotten.
        """
        changes = []
        for change in self._world.scan(homes):
            if change is not None:
                changes.append(change)
            yield
        changes.sort(key=_newest_first)
        # One moment for the whole scan: what grows while it goes on is read by the next.
        monotonic = self._times.monotonic()
        horizon = self._times.wall() - memory
        for change in changes:
            self._take(change, horizon)
            yield
        if changes:
            self._forget_the_oldest(horizon)
            self._elect()
        self._scanned = monotonic

    def refresh(self, session: Session) -> Session | None:
        """Read a session again if its transcript has changed; None if it is gone."""
        stamp = self._world.stamp(session.home, session.path)
        if stamp == session.stamp:
            return session
        self._take(Change(session.home, session.path, stamp), 0.0)
        self._elect()
        return self.sessions.get(session.name)

    def find(self, home: Home, path: str) -> Session | None:
        """Read a transcript that is not among those scanned; None if that is impossible."""
        stamp = self._world.stamp(home, path)
        if stamp is None:
            return None
        try:
            found = self._world.read(home, path, None)
        except OSError:
            return None
        if found is None:
            return None
        return Session(home, found[0], path, stamp, found[1], self._grown(stamp))

    def _grown(self, stamp: Stamp) -> float:
        """Return when a transcript grew, in seconds of the clock that is never set back."""
        age = max(0.0, self._times.wall() - stamp.mtime_ns / 1e9)
        return self._times.monotonic() - age

    def _take(self, change: Change, horizon: float) -> None:
        home, path, stamp = change
        old = self._by_path.pop(path, None)
        if stamp is None:
            return
        if old is None and stamp.mtime_ns / 1e9 < horizon and len(self._by_path) >= KEPT:
            return
        appended = (
            old is not None
            and old.stamp[:2] == stamp[:2]
            and old.stamp.size <= stamp.size
            and old.home == home
        )
        try:
            found = self._world.read(home, path, old.identity if old and appended else None)
        except FileNotFoundError:
            self._world.forget(path)
            return
        except OSError as error:
            self._world.forget(path)
            self._warn(f"{path}: cannot be read: {in_short(error)}; its session is left alone")
            return
        if found is None:
            return
        grown = self._grown(stamp)
        if old is not None and self._scanned is not None:
            # It grew since the last scan, even if a clock that was set says otherwise.
            grown = max(grown, self._scanned)
        identity, verdict = found
        self._by_path[path] = Session(home, identity, path, stamp, verdict, grown)

    def _forget_the_oldest(self, horizon: float) -> None:
        if len(self._by_path) > KEPT:
            by_age = sorted(self._by_path.values(), key=lambda each: each.since, reverse=True)
            for session in by_age[KEPT:]:
                if session.since < horizon:
                    del self._by_path[session.path]

    def _elect(self) -> None:
        """Choose the transcript of each session."""
        found: dict[tuple[str, str], list[Session]] = {}
        for session in self._by_path.values():
            found.setdefault(session.name, []).append(session)
        sessions: dict[tuple[str, str], Session] = {}
        disputed: dict[str, Session] = {}
        for name, several in found.items():
            session = several[0] if len(several) == 1 else _chosen(several)
            other = _contradiction(session, several)
            if other is not None:
                self._warn(
                    f"{session.path} and {other.path} are of the same session and do not agree; it"
                    " is not revived. Move the one that is not the agent's elsewhere."
                )
                known = self._disputed.get(session.path)
                if known is None or known.stamp != session.stamp:
                    known = _disputed(session)
                session = disputed[session.path] = known
            sessions[name] = session
        self.sessions, self._disputed = sessions, disputed


def _chosen(sessions: Iterable[Session]) -> Session:
    """Return the session of one transcript: the agent's own, and of those the one grown last."""
    own = [each for each in sessions if each.home.kind.is_own(each.path, each.identity)]
    return max(own or sessions, key=lambda session: (session.since, session.path))


def _contradiction(chosen: Session, sessions: Iterable[Session]) -> Session | None:
    """
    Return a transcript that does not agree with the chosen one; None if none does.

    It does not if it names another directory and is as likely the agent's own, nor if it is
    newer and ends otherwise.
    """
    own = chosen.home.kind.is_own(chosen.path, chosen.identity)
    for session in sessions:
        elsewhere = session.identity.directory != chosen.identity.directory
        as_likely = not own or session.home.kind.is_own(session.path, session.identity)
        newer = session.since > chosen.since and session.verdict.key != chosen.verdict.key
        if (elsewhere and as_likely) or newer:
            return session
    return None


def _disputed(session: Session) -> Session:
    """Return a session of which nobody knows how it ended."""
    return replace(
        session,
        verdict=replace(session.verdict, kind=Kind.UNKNOWN, reset=None, prompt=None),
        kind=None,
        settled=False,
    )


def _newest_first(change: Change) -> float:
    return float("-inf") if change.stamp is None else -change.stamp.mtime_ns
