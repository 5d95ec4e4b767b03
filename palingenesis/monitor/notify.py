"""A word to a person: the configured command, run once for an event of the monitor's."""

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
from palingenesis.words import Event

#: The events that are told.
TOLD = frozenset({Event.WORKED, Event.GAVE_UP, Event.LEFT})
SUMMARY_VARIABLE = "PALINGENESIS_SUMMARY"
#: Seconds that the command may take; then its process group is killed.
LIMIT = 30.0
#: Commands started in an hour at most.
HOURLY = 20


def summary_of(entry: Mapping[str, Any], directory: str | None = None) -> str:
    """
    Say an entry of the ledger in one line, for a person; no word of a conversation is in it.

    :param entry: the entry, as `ledger.Entry.public` tells it.
    :param directory: the session's directory.
    """
    where = f" in {directory}" if directory else ""
    attempts = entry.get("attempt") or 0
    after = f" after {attempts} attempt{'' if attempts == 1 else 's'}" if attempts else ""
    what = {
        Event.WORKED: f"works again{after}",
        Event.GAVE_UP: f"is given up{after}",
        Event.LEFT: "was left by its user",
    }[Event(entry["event"])]
    return printable(f"{entry['agent']} session {entry['session']}{where} {what}", MESSAGE_LIMIT)


@dataclass(slots=True)
class _Run:
    process: subprocess.Popen[bytes]
    deadline: float
    killed: bool = False


class Notifier:
    """
    Runs the command of ``[notify]``, and lets it neither hang nor flood.

    What goes wrong is said once, and again only after a command has succeeded. Every time is in
    seconds, of a clock that is never set back.

    :param command: the program and its arguments; empty where nobody is to be told.
    :param environment: the daemon's environment; that of this process where None.
    """

    def __init__(
        self, command: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = command
        self._environment = environment
        self._running: list[_Run] = []
        self._started: deque[float] = deque(maxlen=HOURLY)
        self._said: set[str] = set()

    def tell(
        self, entry: Mapping[str, Any], now: float, directory: str | None = None
    ) -> str | None:
        """
        Run the command for an event, if it is one that is told.

        :param entry: the entry, as `ledger.Entry.public` tells it.
        :return: what went wrong, in one line, where that has not been said yet.
        """
        if not self.command or entry["event"] not in TOLD:
            return None
        if len(self._started) == HOURLY and now - self._started[0] < HOUR:
            return self._say(f"more than {HOURLY} events in an hour; the rest is left out")
        self._started.append(now)
        told = json.dumps({**entry, "directory": directory}).encode("ascii") + b"\n"
        added = {SUMMARY_VARIABLE: summary_of(entry, directory)}
        inherited = os.environ if self._environment is None else self._environment
        full = child.child_environment(inherited, added)
        try:
            program = child.find_program(self.command[0], full)
            self._running.append(_Run(self._start(program, full, told), now + LIMIT))
        except CommandError as error:
            return self._say(str(error))
        except OSError as error:
            return self._say(f"cannot hand over the event: {error.strerror}")
        return None

    def poll(self, now: float) -> list[str]:
        """Look after the commands that run, and tell what went wrong and was not said yet."""
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
                self._said.clear()
        return [line for problem in problems if (line := self._say(problem)) is not None]

    def _start(
        self, program: str, environment: Mapping[str, str], told: bytes
    ) -> subprocess.Popen[bytes]:
        # An event is far smaller than a pipe, so that this write neither waits nor fails: the
        # reading end is still open here.
        reader, writer = os.pipe()
        try:
            try:
                os.set_blocking(writer, False)
                os.write(writer, told)
            finally:
                os.close(writer)
            return child.start(self.command, program, environment, "/", stdin=reader)
        finally:
            os.close(reader)

    def _say(self, problem: str) -> str | None:
        line = printable(f"[notify] command: {problem}", MESSAGE_LIMIT)
        if line in self._said:
            return None
        self._said.add(line)
        return line
