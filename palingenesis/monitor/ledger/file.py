"""
The ledger: what the monitor did and saw, one JSON object a line, synced before it counts.

What the daemon must not forget follows from the file alone, as sums over its lines in their
order; their times are only told, since a clock can be set back. The file is the audit trail
of ``palingenesis log`` as well.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from palingenesis.monitor.sessions import Kind
from palingenesis.monitor.statedir import StateError, prepare_directory

LEDGER_NAME = "ledger.jsonl"
OLD_NAME = "ledger.jsonl.1"
#: Bytes from which the file is replaced by one that begins with its sums.
ROTATION_SIZE = 1024 * 1024
#: Bytes beyond which a file is not the daemon's work, and is not read.
SIZE_LIMIT = 8 * 1024 * 1024
#: Sessions whose history is kept; of more, those that were touched last.
SESSIONS_LIMIT = 500
#: Entries that `Ledger.last` can tell, starts of the last hour, and entries that wait for a disk.
ENTRIES_LIMIT = 1000
HOUR = 3600.0

_SUMS = "sums"
#: Characters of the text that says who paused.
_BY_LIMIT = 200
#: More than any block of a file system: a probe of this size needs room that is really free.
_PROBE = b" " * 65535 + b"\n"


class LedgerError(StateError):
    """The ledger cannot be read or written, so nothing can be promised and nothing is started."""


class Event(StrEnum):
    """What an entry tells."""

    STOPPED = "stopped"
    INTENT = "intent"
    STARTED = "started"
    WORKED = "worked"
    FAILED = "failed"
    GAVE_UP = "gave-up"
    LEFT = "left"
    PAUSED = "paused"
    RESUMED = "resumed"


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
        return _json({name: value for name, value in known.items() if value is not None})

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
        return _json(
            {
                "at": at,
                "event": _SUMS,
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


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and _is_number(told.get("at")) else None


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _entry(told: dict[str, Any]) -> Entry | None:
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
        and all(_is_number(known.get(name, 0)) for name in _NUMBERS)
        and _is_number(known.get("due", 0))
        and all(isinstance(known.get(name, False), bool) for name in _FLAGS)
    )
    return Entry(**known) if sane else None


class Ledger:
    """
    The ledger of one state directory.

    A daemon that is the keeper calls :meth:`open`, and again at each look while there is a
    `trouble`; every other one calls :meth:`read` and can only pause itself, in memory.
    An intent counts only once it is on disk. Every other entry tells of something that has
    happened already: it counts at once, and reaches the disk as soon as the disk takes it.

    :param directory: the state directory.
    :param clock: tells the time in seconds since the epoch.
    :ivar sums: what follows from all entries.
    :ivar trouble: why the ledger cannot be read or written, in one line; None where it can.
    """

    def __init__(self, directory: str, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._path = os.path.join(directory, LEDGER_NAME)
        self._clock = clock
        self._descriptor: int | None = None
        self._size = 0
        self._torn = False
        self._keeping = False
        self._loaded = False
        self._own_pause: bool | None = None
        self._pauser = ""
        self._waiting: deque[Entry] = deque(maxlen=ENTRIES_LIMIT)
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_LIMIT)
        self.sums = Sums()
        self.trouble: str | None = None

    @property
    def paused(self) -> bool:
        """Whether the monitor is paused: by the ledger, or by this daemon's own PAUSE."""
        return self.sums.paused if self._own_pause is None else self._own_pause

    def starts(self) -> int:
        """Count the intents of the last hour; each may have started a command."""
        now = self._clock()
        # A clock that was wrong by years must neither block for years nor free at once.
        return sum(abs(now - at) < HOUR for at in self.sums.intents)

    def history(self, agent: str, session: str) -> History:
        """Tell what is known of a session; an empty history where nothing is."""
        return self.sums.sessions.get((agent, session)) or History()

    def unfinished(self) -> list[Attempt]:
        """Tell the intents without outcome, the oldest first."""
        found = [each.open for each in self.sums.sessions.values() if each.open is not None]
        return sorted(found, key=lambda attempt: attempt.at)

    def last(self, count: int = 20) -> list[dict[str, Any]]:
        """Tell the last entries as ``LOG`` does, the oldest first; at most 1,000."""
        entries = list(self._entries)
        return [entry.public() for entry in entries[max(0, len(entries) - count) :]]

    def read(self) -> str | None:
        """Read the file as a daemon does that is not the keeper; tells the trouble, or None."""
        try:
            self._load()
        except FileNotFoundError:
            self.trouble = None
        except (OSError, StateError) as error:
            self.trouble = self._say("cannot read the ledger", error)
        else:
            self.trouble = None
        return self.trouble

    def open(self) -> str | None:
        """
        Take the ledger for writing, or try again after a trouble; tells the trouble, or None.

        Whatever waits for the disk is written. A pause of this daemon's own, from when it was
        not the keeper, is written too; a RESUME of its own is dropped, since the pause was
        given to the keeper.
        """
        if self._descriptor is not None:
            return None
        if not self._keeping:
            self._keeping = True
            if self._own_pause:
                self._append(Entry(self._clock(), Event.PAUSED, by=self._pauser))
            self._own_pause = None
        try:
            prepare_directory(self._directory)
            self._reopen()
        except (OSError, StateError) as error:
            self._fail("cannot write the ledger", error)
        else:
            self.trouble = None
        return self.trouble

    def close(self) -> None:
        """Close the file; nothing is lost by not calling it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def hand_over(self) -> None:
        """Write nothing from here on: another is the keeper. A pause stays, in memory."""
        if self._keeping:
            self._own_pause = True if self.paused else None
            self._keeping = False
            self._waiting.clear()
            self.close()

    def stopped(self, stop: Stop, due: float | None = None, *, fresh: bool = False) -> str | None:
        """
        Record that a session has stopped; nothing is written where that is known already.

        :param due: when it may go on, in seconds since the epoch.
        :param fresh: whether the agent has made progress since the session's stop before this
            one: its attempts and its quick failures are forgotten, and it is no longer given up.
        """
        if self.history(stop.agent, stop.session).key == stop.key:
            return self.trouble
        return self._record(Event.STOPPED, stop, due=due, fresh=fresh or None)

    def intent(self, stop: Stop, due: float | None = None) -> Attempt:
        """
        Write down that a session is about to be revived; it is on disk when this returns.

        :raises LedgerError: when it cannot be written: then nothing may be started.
        :raises ValueError: when the session's last intent has no outcome yet.
        """
        history = self.history(stop.agent, stop.session)
        if history.open is not None:
            raise ValueError(f"session {stop.session} has an intent without outcome")
        entry = self._entry(Event.INTENT, stop, attempt=history.attempts + 1, due=due)
        if self._descriptor is None or self.trouble is not None:
            reason = self.trouble or "the ledger is not open for writing"
            raise LedgerError(self._path, reason.removeprefix(f"{self._path}: "))
        try:
            self._write(entry)
        except OSError as error:
            self._fail("cannot write the ledger", error)
            raise LedgerError(self._path, f"cannot write the ledger: {error.strerror}") from None
        self._count(entry)
        opened = self.history(stop.agent, stop.session).open
        assert opened is not None  # noqa: S101 - the entry that was just counted opens it
        return opened

    def started(self, attempt: Attempt, pid: int, began: str | None, output: str) -> str | None:
        """Record that an attempt's command runs, as the process ``pid`` that began at ``began``."""
        return self._record(
            Event.STARTED,
            attempt.stop,
            attempt=attempt.attempt,
            pid=pid,
            began=began,
            output=output,
        )

    def worked(self, attempt: Attempt) -> str | None:
        """Record that an attempt worked: the agent has written a newer record."""
        return self._record(Event.WORKED, attempt.stop, attempt=attempt.attempt, pid=attempt.pid)

    def failed(
        self,
        attempt: Attempt,
        status: int | None = None,
        *,
        quick: bool = False,
        found: str | None = None,
    ) -> str | None:
        """
        Record that an attempt failed.

        :param status: the command's exit status, negative for a signal; None where it is
            unknown, or the command never started.
        :param quick: whether it ended soon after its start and left no record.
        :param found: the key of the last record in the transcript, where that is no more than
            what the command itself asked.
        """
        return self._record(
            Event.FAILED,
            attempt.stop,
            attempt=attempt.attempt,
            pid=attempt.pid,
            exit=status,
            quick=quick or None,
            found=found,
        )

    def gave_up(self, stop: Stop) -> str | None:
        """Record that a session is given up, until it makes progress by other means."""
        attempts = self.history(stop.agent, stop.session).attempts
        return self._record(Event.GAVE_UP, stop, attempt=attempts)

    def left(self, stop: Stop) -> str | None:
        """Record that the user interrupted or left; nothing is written where that is known."""
        known = self.history(stop.agent, stop.session)
        if known.left and known.key == stop.key:
            return self.trouble
        return self._record(Event.LEFT, stop)

    def pause(self, by: str) -> str | None:
        """
        Pause, for after a restart too; where that cannot be written, tells why, and pauses.

        A daemon that is not the keeper pauses itself alone, until it ends.

        :param by: who asks for it.
        """
        return self._set_paused(Event.PAUSED, by)

    def resume(self, by: str) -> str | None:
        """Undo :meth:`pause`; where that cannot be written, tells why, and resumes for now."""
        return self._set_paused(Event.RESUMED, by)

    def _set_paused(self, event: Event, by: str) -> str | None:
        if not self._keeping:
            self._own_pause, self._pauser = event is Event.PAUSED, by[:_BY_LIMIT]
            return None
        if self._descriptor is None:
            # The next look is seconds away, and the disk may have room by now.
            self.open()
        if self.paused == (event is Event.PAUSED) and not self._waiting:
            return None
        return self._append(Entry(self._clock(), event, by=by[:_BY_LIMIT]))

    def _entry(self, event: Event, stop: Stop, **known: Any) -> Entry:
        return Entry(
            self._clock(),
            event,
            stop.session,
            stop.agent,
            stop.kind,
            key=stop.key,
            transcript=stop.transcript if event is Event.INTENT or event is Event.STARTED else None,
            directory=stop.directory if event is Event.INTENT or event is Event.STARTED else None,
            **known,
        )

    def _record(self, event: Event, stop: Stop, **known: Any) -> str | None:
        return self._append(self._entry(event, stop, **known))

    def _append(self, entry: Entry) -> str | None:
        if self._descriptor is None:
            self._waiting.append(entry)
        else:
            try:
                self._write(entry)
            except OSError as error:
                self._waiting.append(entry)
                self._fail("cannot write the ledger", error)
        self._count(entry)
        return self.trouble

    def _count(self, entry: Entry) -> None:
        self.sums.add(entry)
        self._entries.append(entry)

    def _fail(self, what: str, error: OSError | StateError) -> None:
        # How much of a failed write, or of a write before a failed sync, is on the disk is
        # unknown: the file is read again before anything is added to it.
        self.close()
        self.trouble = self._say(what, error)

    def _say(self, what: str, error: OSError | StateError) -> str:
        if isinstance(error, StateError):
            return str(error)
        return str(LedgerError(self._path, f"{what}: {error.strerror}"))

    def _reopen(self) -> None:
        known = set(map(_attempt_id, self.unfinished())) if self._loaded else None
        try:
            self._load()
        except FileNotFoundError:
            # The sums of a file that was deleted under a running daemon are not lost.
            _replace(self._directory, LEDGER_NAME, self.sums.header(self._clock()))
            self._load()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._descriptor = descriptor
        if self.trouble is not None:
            self._probe(descriptor)
        if self.sums.first_at is None:
            self._write_bytes(Sums(first_at=self._clock()).header(self._clock()))
            self.sums.first_at = self._clock()
        if known is not None:
            for attempt in self.unfinished():
                if _attempt_id(attempt) not in known:
                    # Its line reached the disk although its write failed: nothing was started.
                    self._waiting.append(
                        self._entry(Event.FAILED, attempt.stop, attempt=attempt.attempt)
                    )
                    self._count(self._waiting[-1])
        while self._waiting:
            self._write(self._waiting[0], rotate=False)
            self._waiting.popleft()

    def _probe(self, descriptor: int) -> None:
        """Prove that the disk has room for more than one entry again."""
        torn = self._torn
        try:
            self._write_bytes(_PROBE)
        finally:
            os.ftruncate(descriptor, self._size)
            self._torn = torn

    def _write(self, entry: Entry, *, rotate: bool = True) -> None:
        descriptor, line = self._descriptor, entry.line()
        # What a file without a name takes is lost with the process.
        if descriptor is None or not os.path.samestat(os.stat(self._path), os.fstat(descriptor)):
            raise OSError(errno.ESTALE, "the file was replaced")
        if rotate and self._size + len(line) > ROTATION_SIZE:
            self._rotate()
        self._write_bytes(line)
        self._size += len(line)

    def _write_bytes(self, data: bytes) -> None:
        descriptor = self._descriptor
        assert descriptor is not None  # noqa: S101 - every caller has opened it
        if self._torn:
            data = b"\n" + data
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
        self._torn = False

    def _rotate(self) -> None:
        with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            old = file.read(SIZE_LIMIT)
        header = self.sums.header(self._clock())
        # The old file is copied, not renamed: at no moment is there no ledger.
        _replace(self._directory, OLD_NAME, old)
        _replace(self._directory, LEDGER_NAME, header)
        self.close()
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        self._size, self._torn = len(header), False

    def _load(self) -> None:
        """Read both files, into new sums; leaves everything as it was where that fails."""
        data = _read(self._path)
        try:
            old = _read(os.path.join(self._directory, OLD_NAME))
        except (OSError, StateError):
            old = b""
        if data.startswith(old):
            # A rotation was cut short between its two files.
            old = b""
        sums, entries = Sums(), deque[Entry](maxlen=ENTRIES_LIMIT)
        # The old file's sums are those of the new one's first line, should that be unreadable.
        for content in (old, data):
            for number, told in enumerate(_lines(content)):
                if told.get("event") == _SUMS:
                    if number == 0:
                        try:
                            sums = Sums.from_header(told)
                        except ValueError:
                            continue
                elif (entry := _entry(told)) is not None:
                    sums.add(entry)
                    entries.append(entry)
        for entry in self._waiting:
            sums.add(entry)
            entries.append(entry)
        self.sums, self._entries, self._loaded = sums, entries, True
        self._size, self._torn = len(data), bool(data) and not data.endswith(b"\n")


def _attempt_id(attempt: Attempt) -> tuple[str, str, str, int]:
    return attempt.stop.agent, attempt.stop.session, attempt.stop.key, attempt.attempt


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        told = _parse(line) if line.strip() else None
        if told is not None:
            yield told


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise LedgerError(path, "the ledger is not a regular file; move it aside")
        if found.st_uid != os.geteuid():
            raise LedgerError(path, f"the ledger belongs to uid {found.st_uid}; move it aside")
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise LedgerError(path, f"the ledger is larger than {SIZE_LIMIT} bytes; move it aside")
    return content


def _replace(directory: str, name: str, content: bytes) -> None:
    """Put a whole file in the place of another, so that there is always one of the two."""
    path = os.path.join(directory, name)
    new = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
