"""
The ledger: what the monitor did and saw, one JSON object a line, synced before it counts.

What the daemon must not forget follows from the file alone, as sums over its lines in their
order; their times are only told, since a clock can be set back. The file is the audit trail
of ``palingenesis log`` as well.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from palingenesis.monitor.ledger.history import ENTRIES_LIMIT, Attempt, History, Sums
from palingenesis.monitor.ledger.records import HOUR, SUMS, Entry, Stop, entry_of, lines
from palingenesis.monitor.statedir import StateError, prepare_directory
from palingenesis.words import Event

LEDGER_NAME = "ledger.jsonl"
OLD_NAME = "ledger.jsonl.1"
#: Bytes from which the file is replaced by one that begins with its sums.
ROTATION_SIZE = 1024 * 1024
#: Bytes beyond which a file is not the daemon's work, and is not read.
SIZE_LIMIT = 8 * 1024 * 1024
#: Characters of the text that says who paused.
BY_LIMIT = 200
#: More than any block of a file system: a probe of this size needs room that is really free.
_PROBE = b" " * 65535 + b"\n"


class LedgerError(StateError):
    """The ledger cannot be read or written, so nothing can be promised and nothing is started."""


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
            self._own_pause, self._pauser = event is Event.PAUSED, by[:BY_LIMIT]
            return None
        if self._descriptor is None:
            # The next look is seconds away, and the disk may have room by now.
            self.open()
        if self.paused == (event is Event.PAUSED) and not self._waiting:
            return None
        return self._append(Entry(self._clock(), event, by=by[:BY_LIMIT]))

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
            for number, told in enumerate(lines(content)):
                if told.get("event") == SUMS:
                    if number == 0:
                        try:
                            sums = Sums.from_header(told)
                        except ValueError:
                            continue
                elif (entry := entry_of(told)) is not None:
                    sums.add(entry)
                    entries.append(entry)
        for entry in self._waiting:
            sums.add(entry)
            entries.append(entry)
        self.sums, self._entries, self._loaded = sums, entries, True
        self._size, self._torn = len(data), bool(data) and not data.endswith(b"\n")


def _attempt_id(attempt: Attempt) -> tuple[str, str, str, int]:
    return attempt.stop.agent, attempt.stop.session, attempt.stop.key, attempt.attempt


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
