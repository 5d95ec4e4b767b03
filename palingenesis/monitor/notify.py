"""Notifications: the command of ``[notify]``, run once for an event that a person asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import deque
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from palingenesis.monitor import child
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.ledger import HOUR
from palingenesis.text import MESSAGE_LIMIT, printable
from palingenesis.words import Event, Key, Kind

#: The words of ``events`` in ``[notify]``, and the entry of the ledger that each one means.
CHOICES: Mapping[str, Event] = {
    Event.NEEDS_YOU.value: Event.NEEDS_YOU,
    Event.WORKED.value: Event.WORKED,
    Event.GAVE_UP.value: Event.GAVE_UP,
    Event.STOPPED.value: Event.STOPPED,
    Event.STARTED.value: Event.STARTED,
    Event.FAILED.value: Event.FAILED,
    Event.LEFT.value: Event.LEFT,
    Kind.FINISHED.value: Event.ENDED,
    Event.KILLED.value: Event.KILLED,
}
#: The events for which the command is run by default.
DEFAULT_EVENTS = frozenset({Event.NEEDS_YOU, Event.WORKED, Event.GAVE_UP})
SUMMARY_VARIABLE = "PALINGENESIS_SUMMARY"
#: Seconds that the command may take; then its process group is killed.
LIMIT = 60.0
#: Commands started in an hour at most: for each of `_OWN_ROOM`, and for all other events.
HOURLY = 20
#: Characters of a summary: what the lock screen of a phone shows.
SUMMARY_LIMIT = 120
#: Characters of the last part of a directory in it.
_NAME_LIMIT = 40
#: The events that others must not crowd out.
_OWN_ROOM = frozenset({Event.NEEDS_YOU, Event.GAVE_UP})


def summary_of(entry: Mapping[str, Any], directory: str | None = None) -> str:
    """
    Return one short line for a person about an entry of the ledger, fit for a locked screen.

    No text of a session is in it, no id, and of the directory only the last part.

    :param entry: the entry, as `ledger.Entry.public` returns it; its event is in :data:`CHOICES`.
    :param directory: the session's directory; the agent names the session if it is not known.
    """
    attempts = entry.get(Key.ATTEMPT) or 0
    after = f" after {attempts} attempt{'' if attempts == 1 else 's'}" if attempts else ""
    what = {
        Event.NEEDS_YOU: f"needs you: {entry.get(Key.REASON) or 'see palingenesis sessions'}",
        Event.WORKED: f"works again{after}",
        Event.GAVE_UP: f"given up{after}",
        Event.STOPPED: f"stopped: {entry.get(Key.KIND)}",
        Event.STARTED: f"revival {attempts} started",
        Event.FAILED: f"revival {attempts} failed",
        Event.LEFT: "left by its user",
        Event.ENDED: "its revival has finished",
        Event.KILLED: f"its revival was ended: {entry.get(Key.REASON)}",
    }[Event(entry[Key.EVENT])]
    name = os.path.basename((directory or "").rstrip("/")) or str(entry[Key.AGENT])
    return printable(f"{printable(name, _NAME_LIMIT)}: {what}", SUMMARY_LIMIT)


@dataclass(slots=True)
class _Run:
    process: subprocess.Popen[bytes]
    deadline: float
    killed: bool = False


class Notifier:
    """
    Runs the command of ``[notify]``, for at most `LIMIT` seconds.

    It runs at most `HOURLY` times an hour for needs-you, as often for gave-up, and as often for
    all other events together. A warning is returned once, and again only after a command has
    succeeded. Every time is in seconds of a clock that is never set back.

    :param command: the program and its arguments; empty if nobody is notified.
    :param events: the events for which it is run.
    """

    def __init__(
        self, command: Sequence[str] = (), events: Container[str] = DEFAULT_EVENTS
    ) -> None:
        self.command = command
        self.events = events
        self._running: list[_Run] = []
        self._started: dict[str, deque[float]] = {}

    def notify(
        self, entry: Mapping[str, Any], now: float, directory: str | None = None
    ) -> str | None:
        """
        Run the command for an entry of the ledger, if its event is one of those asked for.

        A session that is given up needs a person too, so ``needs-you`` asks for that as well.

        :param entry: the entry, as `ledger.Entry.public` returns it.
        :param directory: the session's directory.
        :returns: a warning, in one line; None if there is none.
        """
        event = entry[Key.EVENT]
        asked_for = event in self.events or (
            event == Event.GAVE_UP and Event.NEEDS_YOU in self.events
        )
        if not self.command or not asked_for:
            return None
        if not self._has_room(event, now):
            which = event if event in _OWN_ROOM else "other"
            return _warning(f"more than {HOURLY} {which} events in an hour; the rest is lost")
        return self._run(
            {**entry, Key.DIRECTORY.value: directory}, summary_of(entry, directory), now
        )

    def digest(self, event: Mapping[str, Any], now: float) -> str | None:
        """
        Run the command for the digest of a night, which is no entry of the ledger.

        :param event: what `report.digest` returns.
        :returns: a warning, in one line; None if there is none.
        """
        if not self.command:
            return None
        return self._run(event, event["summary"].partition("\n")[0], now)

    def _has_room(self, event: str, now: float) -> bool:
        room = event if event in _OWN_ROOM else ""
        started = self._started.setdefault(room, deque(maxlen=HOURLY))
        if len(started) == HOURLY and now - started[0] < HOUR:
            return False
        started.append(now)
        return True

    def _run(self, entry: Mapping[str, Any], summary: str, now: float) -> str | None:
        event = json.dumps(entry).encode() + b"\n"
        full = child.child_environment(os.environ, {SUMMARY_VARIABLE: summary})
        try:
            program = child.find_program(self.command[0], full)
            process = child.start_with(event, self.command, program, full)
            self._running.append(_Run(process, now + LIMIT))
        except CommandError as error:
            return _warning(str(error))
        except OSError as error:
            return _warning(f"cannot pass on the event: {error.strerror}")
        return None

    def poll(self, now: float) -> list[str]:
        """Reap the commands that have ended, kill those over the limit, and return warnings."""
        problems = []
        for run in list(self._running):
            status = run.process.poll()
            if status is None:
                if now >= run.deadline:
                    # Not reaped yet, so the pid and its group are still its own.
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(run.process.pid, signal.SIGKILL)
                    run.killed = True
                continue
            self._running.remove(run)
            if run.killed:
                problems.append(f"took longer than {LIMIT:.0f} seconds and was killed")
            elif status < 0:
                problems.append(f"ended by signal {-status}")
            elif status > 0:
                problems.append(f"exit status {status}")
        return [_warning(problem) for problem in problems]


def _warning(problem: str) -> str:
    return printable(f"[notify] command: {problem}", MESSAGE_LIMIT)
