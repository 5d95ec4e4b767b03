"""What follows from the ledger's entries: one more at a time, and nothing else is asked."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from palingenesis.monitor.ledger.records import SUMS, Entry, Stop, render
from palingenesis.words import Event, Kind

#: Sessions whose history is kept; of more, those that were touched last.
SESSIONS_LIMIT = 500
#: Intents whose times are kept, entries that `LOG` can show, and entries that wait for a disk.
ENTRIES_LIMIT = 1000


@dataclass(slots=True)
class Attempt:
    """An intent that has no outcome yet; ``pid`` and ``began`` are None until it has started."""

    stop: Stop
    attempt: int
    at: float
    pid: int | None = None
    began: str | None = None
    output: str | None = None


@dataclass(slots=True)
class History:
    """
    What the ledger knows of one session.

    :ivar key: the key of its last stop.
    :ivar kind: how it stopped then.
    :ivar stopped_at: when that was recorded, in seconds since the epoch.
    :ivar due: when that stop was last said to be due.
    :ivar attempts: attempts since its last progress.
    :ivar failed_at: when the last attempt failed, in seconds since the epoch.
    :ivar quick: quick failures in a row, with the same exit.
    :ivar found: the key of the last record that the last failed attempt left, which is no
        stop of its own.
    :ivar open: the intent without outcome.
    :ivar last: the last attempt that worked, whose command may still run.
    """

    key: str | None = None
    kind: Kind | None = None
    stopped_at: float | None = None
    due: float | None = None
    attempts: int = 0
    given_up: bool = False
    left: bool = False
    failed_at: float | None = None
    quick: int = 0
    quick_exit: int | None = None
    closed: tuple[str | None, int] | None = None
    found: str | None = None
    open: Attempt | None = None
    last: Attempt | None = None


@dataclass(slots=True)
class Sums:
    """
    What follows from all entries, in their order.

    :ivar first_at: the time of the first entry ever, in seconds since the epoch.
    :ivar started: commands really started.
    :ivar worked: revivals that worked.
    :ivar intents: when the last intents were, in the order of the file.
    """

    first_at: float | None = None
    started: int = 0
    worked: int = 0
    paused: bool = False
    intents: deque[float] = field(default_factory=lambda: deque(maxlen=ENTRIES_LIMIT))
    sessions: OrderedDict[tuple[str, str], History] = field(default_factory=OrderedDict)

    def add(self, entry: Entry) -> None:
        """Take one more entry into account; a repetition of the last ones changes nothing."""
        if self.first_at is None:
            self.first_at = entry.at
        if entry.event is Event.PAUSED or entry.event is Event.RESUMED:
            self.paused = entry.event is Event.PAUSED
        elif entry.agent is not None and entry.session is not None:
            self._add(entry, self._touch(entry.agent, entry.session))

    def _touch(self, agent: str, session: str) -> History:
        history = self.sessions.setdefault((agent, session), History())
        self.sessions.move_to_end((agent, session))
        if len(self.sessions) > SESSIONS_LIMIT:
            # An open attempt is never forgotten, however many sessions there are.
            for name, each in self.sessions.items():
                if each.open is None:
                    del self.sessions[name]
                    break
        return history

    def _add(self, entry: Entry, history: History) -> None:
        match entry.event:
            case Event.STOPPED:
                if entry.key != history.key:
                    history.key, history.left = entry.key, False
                    history.kind, history.stopped_at = entry.kind, entry.at
                    if entry.fresh:
                        _progress(history)
                history.due = entry.due
            case Event.INTENT:
                self.intents.append(entry.at)
                history.open, history.closed = _attempt(entry), None
                history.kind, history.last = entry.kind, None
                history.attempts = max(history.attempts + 1, history.open.attempt)
            case Event.STARTED:
                self._start(entry, history)
            case Event.WORKED:
                worked = history.open
                if _close(entry, history):
                    history.last = worked
                    self.worked += 1
                    _progress(history)
            case Event.FAILED:
                if _close(entry, history):
                    _fail(entry, history)
            case Event.GAVE_UP:
                history.given_up = True
            case Event.LEFT:
                history.key, history.left = entry.key, True

    def _start(self, entry: Entry, history: History) -> None:
        attempt = _attempt(entry)
        if history.closed == (entry.key, attempt.attempt):
            return
        known = history.open
        if known is None or (known.stop.key, known.attempt) != (entry.key, attempt.attempt):
            # The line of its intent was lost.
            history.open = known = attempt
            history.attempts = max(history.attempts, attempt.attempt)
        elif known.pid is not None:
            return
        known.pid, known.began, known.output = entry.pid, entry.began, entry.output
        self.started += 1

    def header(self, at: float) -> bytes:
        """Render the sums as the first line of a file that goes on from here."""
        return render(
            {
                "at": at,
                "event": SUMS,
                "first_at": at if self.first_at is None else self.first_at,
                "started": self.started,
                "worked": self.worked,
                "paused": self.paused,
                "intents": list(self.intents),
                "sessions": [[*name, asdict(each)] for name, each in self.sessions.items()],
            }
        )

    @classmethod
    def from_header(cls, told: dict[str, Any]) -> Sums:
        """
        Read back what :meth:`header` wrote.

        :raises ValueError: when it is not that.
        """
        try:
            sums = cls(
                float(told["first_at"]),
                int(told["started"]),
                int(told["worked"]),
                bool(told["paused"]),
            )
            sums.intents.extend(float(at) for at in told["intents"])
            for agent, session, history in told["sessions"]:
                sums.sessions[str(agent), str(session)] = _history(history)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError("not a line of sums") from None
        return sums


def _progress(history: History) -> None:
    history.attempts = history.quick = 0
    history.given_up = False
    history.quick_exit = history.failed_at = history.found = None


def _close(entry: Entry, history: History) -> bool:
    """End the open attempt; False where the entry only repeats an end that is known."""
    ended = (entry.key, entry.attempt or 0)
    if history.closed == ended:
        return False
    history.closed, history.open = ended, None
    return True


def _fail(entry: Entry, history: History) -> None:
    history.attempts = max(history.attempts, entry.attempt or 0)
    history.failed_at, history.found = entry.at, entry.found
    if not entry.quick:
        history.quick, history.quick_exit = 0, None
    elif history.quick and history.quick_exit == entry.exit:
        history.quick += 1
    else:
        history.quick, history.quick_exit = 1, entry.exit


def _attempt(entry: Entry) -> Attempt:
    stop = Stop(
        entry.agent or "",
        entry.session or "",
        entry.key or "",
        entry.kind,
        entry.transcript or "",
        entry.directory or "",
    )
    return Attempt(stop, entry.attempt or 1, entry.at)


def _history(told: dict[str, Any]) -> History:
    history = History(**told)
    if history.closed is not None:
        key, attempt = history.closed
        history.closed = key, int(attempt)
    history.kind = None if history.kind is None else Kind(history.kind)
    history.open, history.last = _restored(told.get("open")), _restored(told.get("last"))
    history.attempts, history.quick = int(history.attempts), int(history.quick)
    return history


def _restored(told: dict[str, Any] | None) -> Attempt | None:
    if told is None:
        return None
    known = dict(told)
    stop = Stop(**known.pop("stop"))
    kind = None if stop.kind is None else Kind(stop.kind)
    return Attempt(replace(stop, kind=kind), **known)
