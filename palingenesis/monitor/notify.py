"""Notifications: the command of ``[notify]``, run once for an event that a person asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from palingenesis.monitor import child
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.ledger import HOUR
from palingenesis.text import MESSAGE_LIMIT, printable
from palingenesis.words import Event, Key

#: The events for which the command is run.
EVENTS = frozenset({Event.WORKED, Event.GAVE_UP, Event.LEFT})
SUMMARY_VARIABLE = "PALINGENESIS_SUMMARY"
#: Seconds that the command may take; then its process group is killed.
LIMIT = 30.0
#: Commands started in an hour at most.
HOURLY = 20


def summary_of(entry: Mapping[str, Any], directory: str | None = None) -> str:
    """
    Return one line for a person about an entry of the ledger, without any text of a session.

    :param entry: the entry, as `ledger.Entry.public` returns it; its event is in :data:`EVENTS`.
    :param directory: the session's directory.
    """
    where = f" in {directory}" if directory else ""
    attempts = entry.get(Key.ATTEMPT) or 0
    after = f" after {attempts} attempt{'' if attempts == 1 else 's'}" if attempts else ""
    what = {
        Event.WORKED: f"works again{after}",
        Event.GAVE_UP: f"is given up{after}",
        Event.LEFT: "was left by its user",
    }[Event(entry[Key.EVENT])]
    session = f"{entry[Key.AGENT]} session {entry[Key.SESSION]}"
    return printable(f"{session}{where} {what}", MESSAGE_LIMIT)


@dataclass(slots=True)
class _Run:
    process: subprocess.Popen[bytes]
    deadline: float
    killed: bool = False


class Notifier:
    """
    Runs the command of ``[notify]``, for at most `LIMIT` seconds and `HOURLY` times an hour.

    A warning is returned once, and again only after a command has succeeded. Every time is in
    seconds of a clock that is never set back.

    :param command: the program and its arguments; empty if nobody is notified.
    :param environment: the daemon's environment; that of this process if None.
    """

    def __init__(
        self, command: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = command
        self._environment = environment
        self._running: list[_Run] = []
        self._started: deque[float] = deque(maxlen=HOURLY)
        self._warned: set[str] = set()

    def notify(
        self, entry: Mapping[str, Any], now: float, directory: str | None = None
    ) -> str | None:
        """
        Run the command for an entry of the ledger, if its event is one of :data:`EVENTS`.

        :param entry: the entry, as `ledger.Entry.public` returns it.
        :param directory: the session's directory.
        :return: a new warning, in one line; None if there is none.
        """
        if not self.command or entry[Key.EVENT] not in EVENTS:
            return None
        if len(self._started) == HOURLY and now - self._started[0] < HOUR:
            return self._warning(f"more than {HOURLY} events in an hour; the rest is left out")
        self._started.append(now)
        event = json.dumps({**entry, Key.DIRECTORY.value: directory}).encode("ascii") + b"\n"
        added = {SUMMARY_VARIABLE: summary_of(entry, directory)}
        inherited = os.environ if self._environment is None else self._environment
        full = child.child_environment(inherited, added)
        try:
            program = child.find_program(self.command[0], full)
            self._running.append(_Run(self._start(program, full, event), now + LIMIT))
        except CommandError as error:
            return self._warning(str(error))
        except OSError as error:
            return self._warning(f"cannot pass on the event: {error.strerror}")
        return None

    def poll(self, now: float) -> list[str]:
        """Reap the commands that have ended, kill those over the limit, and return new warnings."""
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
            else:
                self._warned.clear()
        return [line for problem in problems if (line := self._warning(problem)) is not None]

    def _start(
        self, program: str, environment: Mapping[str, str], event: bytes
    ) -> subprocess.Popen[bytes]:
        # An event is far smaller than a pipe's buffer and the reading end is open here, so this
        # write neither waits nor fails.
        reader, writer = os.pipe()
        try:
            try:
                os.set_blocking(writer, False)
                os.write(writer, event)
            finally:
                os.close(writer)
            return child.start(self.command, program, environment, "/", stdin=reader)
        finally:
            os.close(reader)

    def _warning(self, problem: str) -> str | None:
        line = printable(f"[notify] command: {problem}", MESSAGE_LIMIT)
        if line in self._warned:
            return None
        self._warned.add(line)
        return line
