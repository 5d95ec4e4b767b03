"""What follows from the ledger's entries: a fold over them, which asks no clock and no file."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, field

from palingenesis.monitor.ledger.records import Entry, Stop, objects, render, restored
from palingenesis.words import Event, Key, Kind, Method

#: Sessions whose history is kept although nobody needs it; of more, those of the last entries.
SESSIONS_LIMIT = 500
#: Intents whose times are kept, and entries that `LOG` can show.
ENTRIES_LIMIT = 1000
#: Seconds.
HOUR = 3600.0
#: In place of an event: the line holds the sums over all the lines before it.
_SUMS = "sums"


#: A session, by its agent and its id.
Name = tuple[str, str]


@dataclass(slots=True)
class Attempt:
    """
    An intent, and the command that was started for it.

    :ivar attempt: its number since the session's last progress, from 1.
    :ivar at: when the intent was written, in seconds since the epoch.
    :ivar pid: the command's process id; None if no start is recorded.
    :ivar began: the start time of that process, as `processes.Process` has it.
    :ivar output: the path of the file that takes the command's output.
    :ivar killed: why a daemon ends the command; None if none does.
    :ivar method: how the session is revived; None for a command.
    :ivar is_typed: whether its prompt was typed, and Enter pressed.
    """

    stop: Stop
    attempt: int
    at: float
    pid: int | None = None
    began: str | None = None
    output: str | None = None
    killed: str | None = None
    method: Method | None = None
    is_typed: bool = False

    @classmethod
    def of(cls, entry: Entry) -> Attempt:
        """Return the attempt that an intent begins, or a start whose intent was lost."""
        return cls(entry.stop, entry.attempt or 1, entry.at, method=entry.method)


@dataclass(slots=True)
class History:
    """
    What the ledger knows of one session.

    :ivar key: the key of its last stop.
    :ivar kind: how it stopped then.
    :ivar stopped_at: when that was recorded, in seconds since the epoch.
    :ivar attempts: attempts since its last progress.
    :ivar given_up: whether it was given up since its last progress.
    :ivar left: whether its last stop was the user's.
    :ivar failed_at: when the last attempt failed, in seconds since the epoch.
    :ivar waited: whether the attempt after it needs no further wait.
    :ivar quick: quick failures in a row with the same exit status.
    :ivar quick_exit: that exit status.
    :ivar closed: key and number of the last attempt that has an outcome.
    :ivar found: the key of the last record that the last failed attempt left, which is no
        stop of its own.
    :ivar open: the attempt without an outcome.
    :ivar last: the last attempt that worked, while its command may still run.
    :ivar successor: the id under which the session goes on; then it is never revived.
    :ivar first_stop_at: when the first stop since the last progress was recorded, in seconds
        since the epoch.
    :ivar windows: after how many limits it was brought back since a person last wrote in it.
    :ivar intended_at: when the last intent was written, in seconds since the epoch.
    :ivar intended: the key of the stop that it was for.
    :ivar method: how it was last brought back, or tried to be; None for a command.
    :ivar needs: the key of the last stop for which a person was called.
    :ivar need: what it needed then, in words.
    :ivar on_hold: whether a person wants it left alone.
    :ivar asked: the key of the stop for which a person wants a revival now.
    """

    key: str | None = None
    kind: Kind | None = None
    stopped_at: float | None = None
    attempts: int = 0
    given_up: bool = False
    left: bool = False
    failed_at: float | None = None
    waited: bool = False
    quick: int = 0
    quick_exit: int | None = None
    closed: tuple[str | None, int] | None = None
    found: str | None = None
    open: Attempt | None = None
    last: Attempt | None = None
    successor: str | None = None
    first_stop_at: float | None = None
    windows: int = 0
    intended_at: float | None = None
    intended: str | None = None
    method: Method | None = None
    needs: str | None = None
    need: str | None = None
    on_hold: bool = False
    asked: str | None = None

    def stop(self, entry: Entry) -> None:
        """Take a stop into account; one that is known changes nothing."""
        if entry.key == self.key:
            return
        self.key, self.kind = entry.key, entry.kind
        self.stopped_at, self.left = entry.at, False
        if entry.fresh:
            self._progress()
        if self.first_stop_at is None:
            self.first_stop_at = entry.at

    def intend(self, entry: Entry) -> None:
        """Open an attempt."""
        self.open = Attempt.of(entry)
        self.closed = self.last = self.asked = None
        self.kind = entry.kind
        if entry.person:
            self.windows = 0
        # Another attempt for the same stop, after one that left its prompt, is no other reset.
        if entry.kind is Kind.LIMIT and entry.key not in (self.intended, self.found):
            self.windows += 1
        self.intended, self.intended_at = entry.key, entry.at
        self.method = entry.method
        self.attempts = max(self.attempts + 1, self.open.attempt)

    def start(self, entry: Entry) -> bool:
        """Note the command of the open attempt; False if the entry says nothing new."""
        if self.closed == _attempt_id(entry):
            return False
        attempt = self.open
        if attempt is None or (attempt.stop.key, attempt.attempt) != _attempt_id(entry):
            # The line of its intent was lost.
            self.open = attempt = Attempt.of(entry)
            self.attempts = max(self.attempts, attempt.attempt)
        elif attempt.pid is not None or attempt.is_typed:
            return False
        attempt.pid, attempt.began, attempt.output = entry.pid, entry.began, entry.output
        attempt.is_typed = entry.pid is None
        return True

    def work(self, entry: Entry) -> bool:
        """Close the open attempt with success; False if the entry says nothing new."""
        attempt = self.open
        if not self._close(entry):
            return False
        self.last = attempt
        self._progress()
        return True

    def fail(self, entry: Entry) -> None:
        """Close the open attempt, which failed, or was never started."""
        if not self._close(entry):
            return
        if entry.unstarted:
            self.attempts, self.found = max(0, (entry.attempt or 1) - 1), entry.found
            return
        self.attempts = max(self.attempts, entry.attempt or 0)
        self.failed_at, self.found = entry.at, entry.found
        self.waited = bool(entry.waited)
        if not entry.quick:
            self.quick, self.quick_exit = 0, None
        elif self.quick and self.quick_exit == entry.exit:
            self.quick += 1
        else:
            self.quick, self.quick_exit = 1, entry.exit

    def end(self, entry: Entry) -> bool:
        """Note that the command of the last attempt has ended; False if that is known."""
        if self.last is None or (self.last.stop.key, self.last.attempt) != _attempt_id(entry):
            return False
        self.last = None
        return True

    def kill(self, entry: Entry) -> None:
        """Note why a daemon ends the command that runs."""
        attempt = self.open or self.last
        if attempt is not None:
            attempt.killed = entry.reason

    def _close(self, entry: Entry) -> bool:
        if self.closed == _attempt_id(entry):
            return False
        self.closed, self.open = _attempt_id(entry), None
        return True

    def _progress(self) -> None:
        self.attempts = self.quick = 0
        self.given_up = self.waited = False
        self.quick_exit = self.failed_at = self.found = self.first_stop_at = None


def _attempt_id(entry: Entry) -> tuple[str, int]:
    return entry.key or "", entry.attempt or 1


@dataclass(slots=True)
class Sums:
    """
    What follows from all entries, in their order.

    :ivar first_at: the time of the first entry ever, in seconds since the epoch.
    :ivar started: commands that were started.
    :ivar worked: revivals that worked.
    :ivar seconds: how long the commands that worked ran, all together.
    :ivar paused: whether the monitor is paused.
    :ivar intents: the times of the last intents and their homes, in the order of the file.
    :ivar kept: when another daemon's home was taken over, by the home's directory.
    :ivar sessions: the history of each session, by agent and id; those of the last entries last.
    :ivar entries: how many entries there were; the number of the last one.
    :ivar digested: when the last digest was sent, in seconds since the epoch; None for never.
    """

    first_at: float | None = None
    started: int = 0
    worked: int = 0
    paused: bool = False
    intents: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=ENTRIES_LIMIT))
    sessions: dict[Name, History] = field(default_factory=dict)
    seconds: float = 0.0
    kept: dict[str, float] = field(default_factory=dict)
    entries: int = 0
    digested: float | None = None

    def add(self, entry: Entry) -> None:
        """Take one more entry into account; a repetition of the last ones is only counted."""
        self.entries += 1
        if self.first_at is None:
            self.first_at = entry.at
        if entry.event in (Event.PAUSED, Event.RESUMED):
            self.paused = entry.event is Event.PAUSED
        elif entry.event is Event.KEPT:
            self.kept[entry.directory or ""] = entry.at
        elif entry.event is Event.DIGEST:
            self.digested = entry.at
        elif entry.agent is not None and entry.session is not None:
            name = entry.agent, entry.session
            # The last one from now on, in the order of the entries.
            history = self.sessions[name] = self.sessions.pop(name, History())
            self._add(entry, history)

    def starts(self, home: str, now: float) -> list[float]:
        """
        Return when a home had its intents of the last hour, the first first.

        An intent without a home, as older versions wrote it, counts for each.
        """
        # A clock that was wrong by years must neither block for years nor free at once.
        return sorted(at for at, of in self.intents if abs(now - at) < HOUR and of in (home, ""))

    def _add(self, entry: Entry, history: History) -> None:
        match entry.event:
            case Event.STOPPED:
                history.stop(entry)
            case Event.INTENT:
                self.intents.append((entry.at, entry.home or ""))
                history.intend(entry)
            case Event.STARTED:
                self.started += history.start(entry)
            case Event.WORKED:
                # What works was started, even if a kill came before the record of the start.
                attempt = history.open
                recorded = attempt is None or attempt.pid is not None or attempt.is_typed
                self.started += not recorded
                self.worked += history.work(entry)
            case Event.FAILED:
                history.fail(entry)
                if entry.unstarted:
                    self._take_back(history.intended_at, entry.home)
            case Event.GAVE_UP:
                history.given_up = True
            case Event.LEFT:
                history.key, history.left = entry.key, True
            case Event.ENDED:
                if history.end(entry):
                    self.seconds += entry.seconds or 0.0
            case Event.KILLED:
                history.kill(entry)
            case Event.CONTINUED:
                history.key, history.successor = entry.key, entry.successor
            case Event.NEEDS_YOU:
                history.needs, history.need = entry.key, entry.reason
            case Event.ON_HOLD:
                history.on_hold, history.asked = True, None
            case Event.RELEASED:
                history.on_hold = False
            case Event.ASKED:
                history.asked = entry.key

    def _take_back(self, at: float | None, home: str | None) -> None:
        """
        Have an intent not count as a start, since its command was never started.

        :param home: the name of its home; None if the entry does not have it, as older ones.
        """
        for number in range(len(self.intents) - 1, -1, -1):
            begun, of = self.intents[number]
            if begun == at and home in (None, of):
                del self.intents[number]
                return

    def forget(self, needed: Container[Name], limit: int = SESSIONS_LIMIT) -> None:
        """
        Forget the histories of the oldest entries, until ``limit`` are left.

        Sessions that are needed, on hold or in an open attempt are kept, however many they are.
        """
        if len(self.sessions) <= limit:
            return
        for name, history in list(self.sessions.items()):
            is_kept = history.open is not None or history.on_hold
            if not is_kept and name not in needed:
                del self.sessions[name]
                if len(self.sessions) <= limit:
                    return

    def header(self, at: float) -> bytes:
        """Return the sums as the first line of a file that goes on from here."""
        header = _Header(
            at,
            _SUMS,
            at if self.first_at is None else self.first_at,
            self.started,
            self.worked,
            self.paused,
            [],
            [(*name, history) for name, history in self.sessions.items()],
            self.seconds,
            list(self.kept.items()),
            list(self.intents),
            self.entries,
            self.digested,
        )
        return render(asdict(header))


@dataclass(frozen=True, slots=True)
class _Header:
    # Older versions wrote `intents`, which have no home; `starts` has both.
    at: float
    event: str
    first_at: float
    started: int
    worked: int
    paused: bool
    intents: list[float]
    sessions: list[tuple[str, str, History]]
    seconds: float = 0.0
    kept: list[tuple[str, float]] = field(default_factory=list)
    starts: list[tuple[float, str]] = field(default_factory=list)
    entries: int = 0
    digested: float | None = None

    def sums(self) -> Sums:
        return Sums(
            self.first_at,
            self.started,
            self.worked,
            self.paused,
            deque([*((at, "") for at in self.intents), *self.starts], maxlen=ENTRIES_LIMIT),
            {(agent, session): each for agent, session, each in self.sessions},
            self.seconds,
            dict(self.kept),
            self.entries,
            self.digested,
        )


def fold(contents: Iterable[bytes]) -> tuple[Sums, list[Entry]]:
    """
    Return the sums over the lines of files, and the last entries in them.

    A line that cannot be read loses itself alone. If that is a file's first one, the sums go on
    from the file before, which ends with the same.

    :param contents: what is in the files, the oldest first.
    """
    sums, entries = Sums(), deque[Entry](maxlen=ENTRIES_LIMIT)
    for content in contents:
        at_beginning = True
        for value in objects(content):
            if value.get(Key.EVENT) == _SUMS:
                header = restored(_Header, value)
                if at_beginning and header is not None:
                    sums = header.sums()
            elif (entry := restored(Entry, value)) is not None:
                at_beginning = False
                sums.add(entry)
                entries.append(entry)
    return sums, list(entries)
