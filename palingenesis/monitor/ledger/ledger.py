"""The memory of the monitor: each event recorded, and what follows from all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from typing import Any

from palingenesis.monitor.ledger.file import HEADER_LIMIT, LedgerError, LedgerFile
from palingenesis.monitor.ledger.history import ENTRIES_LIMIT, Attempt, History, Name, Sums, fold
from palingenesis.monitor.ledger.records import Entry, Stop
from palingenesis.monitor.statedir import StateError, prepare_directory
from palingenesis.monitor.times import Times
from palingenesis.words import Event, Key, Method

#: Characters of the text that names the client that pauses or resumes.
BY_LIMIT = 200
#: Characters of the text that says why a command is killed, or what a session needs.
REASON_LIMIT = 200
#: Entries that wait for room on the disk.
WAITING_LIMIT = 1000


class Ledger:
    """
    The ledger of one state directory.

    A daemon that is the keeper calls :meth:`open`, and again at each tick; any other one calls
    :meth:`read`, and can only pause itself, in memory. An intent counts only once it is on disk.
    Every other entry reports what has happened already: it counts at once, and is written as
    soon as the disk has room for it.

    :param directory: the state directory.
    :ivar sums: what follows from all entries.
    :ivar observer: called with each entry that is recorded; None for nobody.
    """

    def __init__(self, directory: str, times: Times) -> None:
        self._directory = directory
        self._times = times
        self._file = LedgerFile(directory)
        self._is_keeper = False
        self._own_pause: bool | None = None
        self._own_pause_by = ""
        self._waiting: deque[Entry] = deque(maxlen=WAITING_LIMIT)
        #: Attempts whose intent could not be written, although it may be on the disk.
        self._refused: set[tuple[str, str, str, int]] = set()
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_LIMIT)
        self._failure: StateError | None = None
        self.sums = Sums()
        self.observer: Callable[[Entry], object] | None = None

    # What is known

    @property
    def warning(self) -> str | None:
        """Why the ledger cannot be read or written, in one line; None if it can."""
        return None if self._failure is None else str(self._failure)

    @property
    def paused(self) -> bool:
        """Whether the monitor is paused: by the ledger, or by this daemon's own PAUSE."""
        return self.sums.paused if self._own_pause is None else self._own_pause

    def starts(self, home: str) -> list[float]:
        """Return when a home had its intents of the last hour; each may have started a command."""
        return self.sums.starts(home, self._times.wall())

    def history(self, agent: str, session: str) -> History:
        """Return what is known of a session; an empty history if nothing is."""
        return self.sums.sessions.get((agent, session)) or History()

    def unfinished(self) -> list[Attempt]:
        """Return the attempts without an outcome, the oldest first."""
        found = [each.open for each in self.sums.sessions.values() if each.open is not None]
        return sorted(found, key=lambda attempt: attempt.at)

    def last(self, count: int = 20) -> list[dict[str, Any]]:
        """Return the last entries as `LOG` shows them, the oldest first; at most 1,000."""
        entries = list(self._entries)
        return [entry.public() for entry in entries[max(0, len(entries) - count) :]]

    def entries(self) -> list[Entry]:
        """Return the last entries, the oldest first; at most 1,000."""
        return list(self._entries)

    def forget(self, needed: Container[Name]) -> None:
        """
        Forget the sessions of the oldest entries, so that the ledger does not grow for ever.

        Call it after each scan: what is known of a session that can still be revived must not
        be forgotten, since its stop would be recorded anew and its attempts counted from 1.

        :param needed: the sessions that are not over.
        """
        self.sums.forget(needed)

    # The file

    def read(self) -> str | None:
        """Read the file for a daemon that is not the keeper; return the warning."""
        self._failure = None
        try:
            self._load()
        except FileNotFoundError:
            # No daemon has kept it yet.
            pass
        except (OSError, StateError) as error:
            self._fail(error, "cannot read the ledger")
        return self.warning

    def open(self) -> str | None:
        """
        Open the ledger for writing, or try again after a warning; return the warning.

        Entries that wait for the disk are written, and so is a PAUSE that this daemon was given
        before it was the keeper. A RESUME from that time is dropped: it was meant for a pause of
        this daemon, and the ledger's pause was given to the keeper.
        """
        if self._file.is_open:
            return self._correct_first_time()
        if not self._is_keeper:
            self._is_keeper = True
            if self._own_pause:
                self._append(Entry(self._times.wall(), Event.PAUSED, by=self._own_pause_by))
            self._own_pause = None
        try:
            prepare_directory(self._directory)
            self._reopen()
        except (OSError, StateError) as error:
            self._fail(error)
            return self.warning
        self._failure = None
        return self._correct_first_time()

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        self._file.close()

    def hand_over(self) -> None:
        """Write no more, since another daemon is the keeper; a pause stays, in memory."""
        if self._is_keeper:
            self._own_pause = True if self.paused else None
            self._is_keeper = False
            self._waiting.clear()
            self.close()

    # The events

    def stopped(self, stop: Stop, due: float | None = None, *, fresh: bool = False) -> None:
        """
        Record that a session has stopped; nothing is written if that is known already.

        :param due: when it may go on, in seconds since the epoch.
        :param fresh: whether the agent has made progress since the session's last stop: then its
            attempts and quick failures are forgotten, and it is no longer given up.
        """
        if self.history(stop.agent, stop.session).key != stop.key:
            self._append(self._entry_with_paths(Event.STOPPED, stop, due=due, fresh=fresh or None))

    def intent(
        self,
        stop: Stop,
        due: float | None = None,
        *,
        home: str = "",
        method: Method | None = None,
        person: bool = False,
    ) -> Attempt:
        """
        Record that a session is about to be revived; it is on disk when this returns.

        :param home: the name of the session's home.
        :param method: how it is revived; None for a command.
        :param person: whether a person wrote in the session since the last intent.

        :raises LedgerError: if it cannot be written: then nothing may be started.
        :raises ValueError: if the session's last attempt has no outcome yet.
        """
        history = self.history(stop.agent, stop.session)
        if history.open is not None:
            raise ValueError(f"session {stop.session} has an attempt without an outcome")
        if not self._file.is_open:
            raise self._refusal()
        entry = self._entry_with_paths(
            Event.INTENT,
            stop,
            attempt=history.attempts + 1,
            due=due,
            home=home or None,
            method=None if method is Method.COMMAND else method,
            person=person or None,
        )
        try:
            # What the command does must be written down too, so one free entry is not enough.
            self._file.probe()
            self._write(entry)
        except (OSError, StateError) as error:
            self._fail(error)
            self._refused.add(_attempt_id(Attempt.of(entry)))
            raise self._refusal() from None
        self._count(entry)
        opened = self.history(stop.agent, stop.session).open
        assert opened is not None  # noqa: S101 - the entry that was just counted opens it
        return opened

    def started(
        self,
        attempt: Attempt,
        pid: int | None = None,
        began: str | None = None,
        output: str | None = None,
    ) -> None:
        """
        Record that an attempt's command runs, or that its prompt was typed.

        :param pid: the command's process; None for a prompt.
        :param began: when that process began, as `processes.Process` has it.
        """
        entry = self._entry_with_paths(
            Event.STARTED,
            attempt.stop,
            attempt=attempt.attempt,
            pid=pid,
            began=began,
            output=output,
            method=attempt.method,
        )
        self._append(entry)

    def worked(self, attempt: Attempt) -> None:
        """Record that an attempt worked: the agent has written a newer record."""
        self._append(self._outcome(Event.WORKED, attempt))

    def failed(
        self,
        attempt: Attempt,
        status: int | None = None,
        *,
        quick: bool = False,
        found: str | None = None,
        reason: str | None = None,
        waited: bool = False,
    ) -> None:
        """
        Record that an attempt failed.

        :param status: the command's exit status, negative for a signal; None if it is unknown.
        :param quick: whether it ended soon after its start and left no record.
        :param found: the key of the transcript's last record, if that is only the command's
            own prompt.
        :param reason: why, if that is known beyond its exit status.
        :param waited: whether the next attempt needs no further wait.
        """
        entry = self._outcome(
            Event.FAILED,
            attempt,
            exit=status,
            quick=quick or None,
            found=found,
            reason=reason,
            waited=waited or None,
            # Where a person looks for the cause.
            output=attempt.output,
        )
        self._append(entry)

    def not_started(
        self, attempt: Attempt, home: str, reason: str, found: str | None = None
    ) -> None:
        """
        Record that the command of an intent could not be started, so that it was no attempt.

        :param home: the name of the session's home, as the intent has it.
        :param reason: why, in a few words.
        :param found: as in :meth:`failed`.
        """
        text = f"not started: {reason}"[:REASON_LIMIT]
        self._append(
            self._outcome(
                Event.FAILED, attempt, home=home or None, found=found, reason=text, unstarted=True
            )
        )

    def gave_up(self, stop: Stop) -> None:
        """Record that a session is given up, until it makes progress by other means."""
        attempts = self.history(stop.agent, stop.session).attempts
        self._append(self._entry_with_paths(Event.GAVE_UP, stop, attempt=attempts))

    def left(self, stop: Stop) -> None:
        """Record that the user interrupted or left; nothing is written if that is known."""
        known = self.history(stop.agent, stop.session)
        if not known.left or known.key != stop.key:
            self._append(self._entry_with_paths(Event.LEFT, stop))

    def kept(self, directory: str) -> None:
        """Record that a home is kept from here on, which another daemon kept until now."""
        self._append(Entry(self._times.wall(), Event.KEPT, directory=directory))

    def digested(self) -> None:
        """Record that the digest is sent."""
        self._append(Entry(self._times.wall(), Event.DIGEST))

    def ended(self, attempt: Attempt, status: int | None, seconds: float) -> None:
        """
        Record that the command of an attempt that worked has ended.

        :param status: its exit status, negative for a signal; None if it is unknown.
        :param seconds: how long it ran.
        """
        self._append(self._outcome(Event.ENDED, attempt, exit=status, seconds=seconds))

    def killed(self, attempt: Attempt, reason: str, by: str | None = None) -> None:
        """
        Record that the daemon ends an attempt's command; its outcome is recorded besides.

        :param by: the client that asks for it, if one does.
        """
        self._append(
            self._outcome(
                Event.KILLED, attempt, reason=reason[:REASON_LIMIT], by=by and by[:BY_LIMIT]
            )
        )

    def continued(self, stop: Stop, successor: str) -> None:
        """Record that a session goes on under another id, and is never revived itself."""
        if self.history(stop.agent, stop.session).successor != successor:
            self._append(self._entry(Event.CONTINUED, stop, successor=successor))

    def needs_you(self, stop: Stop, reason: str, *, again: bool = False) -> bool:
        """
        Record that a session needs a person; once for each stop.

        :param reason: what it needs, in a few words.
        :param again: whether it is recorded even so.
        :returns: whether that is news.
        """
        if self.history(stop.agent, stop.session).needs == stop.key and not again:
            return False
        self._append(self._entry_with_paths(Event.NEEDS_YOU, stop, reason=reason[:REASON_LIMIT]))
        return True

    def hold(self, agent: str, session: str, by: str) -> str | None:
        """Record that a person wants a session left alone; return the warning."""
        return self._wish(Event.ON_HOLD, agent, session, by)

    def release(self, agent: str, session: str, by: str) -> str | None:
        """Undo :meth:`hold`; return the warning."""
        return self._wish(Event.RELEASED, agent, session, by)

    def asked(self, stop: Stop, by: str) -> str | None:
        """Record that a person wants a session to be revived now; return the warning."""
        self._append(self._entry(Event.ASKED, stop, by=by[:BY_LIMIT]))
        return self.warning

    def _wish(self, event: Event, agent: str, session: str, by: str) -> str | None:
        if self.history(agent, session).on_hold != (event is Event.ON_HOLD):
            now = self._times.wall()
            self._append(Entry(now, event, session, agent, by=by[:BY_LIMIT]))
        return self.warning

    def pause(self, by: str) -> str | None:
        """
        Pause, for after a restart too; return why the pause is lost at a restart, if it is.

        A daemon that is not the keeper pauses itself alone, until it ends.

        :param by: the client that asks for it.
        """
        return self._set_paused(Event.PAUSED, by[:BY_LIMIT])

    def resume(self, by: str) -> str | None:
        """Undo :meth:`pause`; return why that is lost at a restart, if it is."""
        return self._set_paused(Event.RESUMED, by[:BY_LIMIT])

    def _set_paused(self, event: Event, by: str) -> str | None:
        pauses = event is Event.PAUSED
        if not self._is_keeper:
            self._own_pause, self._own_pause_by = pauses, by
            return None
        # The next tick is seconds away, and the disk may have room by now.
        self.open()
        if self.paused == pauses and not self._waiting:
            return None
        self._append(Entry(self._times.wall(), event, by=by))
        return self.warning

    # The entries

    def _entry(self, event: Event, stop: Stop, **known: Any) -> Entry:
        now = self._times.wall()
        return Entry(now, event, stop.session, stop.agent, stop.kind, key=stop.key, **known)

    def _entry_with_paths(self, event: Event, stop: Stop, **known: Any) -> Entry:
        """Return an entry from which the session or its command is found again later."""
        paths = {Key.TRANSCRIPT: stop.transcript, Key.DIRECTORY: stop.directory}
        return self._entry(event, stop, **paths, **known)

    def _outcome(self, event: Event, attempt: Attempt, **known: Any) -> Entry:
        return self._entry(event, attempt.stop, attempt=attempt.attempt, pid=attempt.pid, **known)

    def _append(self, entry: Entry) -> None:
        """Count an entry, and write it now or when the disk has room."""
        if not self._file.is_open:
            self._waiting.append(entry)
        else:
            try:
                self._write(entry)
            except (OSError, StateError) as error:
                self._waiting.append(entry)
                self._fail(error)
        self._count(entry)

    def _write(self, entry: Entry) -> None:
        line = entry.line()
        if self._file.is_full(line):
            self._file.rotate(self._header())
        self._file.append(line)

    def _header(self) -> bytes:
        """Return the sums as a line that the file has room for, whatever has to be forgotten."""
        header = self.sums.header(self._times.wall())
        limit = len(self.sums.sessions)
        while len(header) > HEADER_LIMIT and limit > 0:
            limit //= 2
            self.sums.forget((), limit)
            header = self.sums.header(self._times.wall())
        return header

    def _count(self, entry: Entry) -> None:
        self.sums.add(entry)
        self._entries.append(entry)
        if self.observer is not None:
            self.observer(entry)

    def _correct_first_time(self) -> str | None:
        """
        Correct the time of the first entry if it is ahead of now; return the warning.

        The clock was wrong then: every stop would be from before the first start.
        """
        now = self._times.wall()
        if self.sums.first_at is not None and self.sums.first_at > now:
            self.sums.first_at = now
            try:
                self._file.rotate(self._header())
            except (OSError, StateError) as error:
                self._fail(error)
        return self.warning

    # What goes wrong

    def _fail(self, error: OSError | StateError, what: str = "cannot write the ledger") -> None:
        """Close the file, which is read again before anything is appended; keep the reason."""
        self._file.close()
        if not isinstance(error, StateError):
            error = LedgerError(self._file.path, f"{what}: {error.strerror}")
        self._failure = error

    def _refusal(self) -> LedgerError:
        if self._failure is None:
            return LedgerError(self._file.path, "the ledger is not open for writing")
        return LedgerError(self._failure.path, self._failure.reason)

    # Loading

    def _load(self) -> None:
        """Read the files into new sums; everything stays as it was if that fails."""
        sums, entries = fold(self._file.read())
        for entry in self._waiting:
            sums.add(entry)
        self.sums = sums
        self._entries = deque((*entries, *self._waiting), maxlen=ENTRIES_LIMIT)

    def _reopen(self) -> None:
        try:
            self._load()
        except FileNotFoundError:
            # The sums of a file that was deleted under a running daemon are not lost.
            self._file.create(self._header())
            self._load()
        self._file.open()
        if self._failure is not None:
            self._file.probe()
        if self.sums.first_at is None:
            # Nothing in the file can be read.
            self.sums.first_at = self._times.wall()
            self._file.append(self._header())
        for attempt in self.unfinished():
            if _attempt_id(attempt) in self._refused:
                # Its line reached the disk although its write failed: nothing was started.
                reason = "the ledger could not be written"
                self._waiting.append(self._outcome(Event.FAILED, attempt, reason=reason))
                self._count(self._waiting[-1])
        self._refused.clear()
        while self._waiting:
            self._file.append(self._waiting[0].line())
            self._waiting.popleft()


def _attempt_id(attempt: Attempt) -> tuple[str, str, str, int]:
    stop = attempt.stop
    return stop.agent, stop.session, stop.key, attempt.attempt
