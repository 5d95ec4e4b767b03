"""
Kills of the daemon at each place around a revival: ``python -m tests.programs.kills [FIRST LAST]``.

A place is a call of the system, counted from the line of the ledger that says that the session
has stopped; each place is tried twice, before the call and after it. Every third kill ends the
command too, in every fourth the ledger's file is replaced at each second line, and every fifth
kills both daemons of an upgrade: the one that revives, and the one that waits to take over.

Then daemons are killed whose ledger ends with one of several lines; that is cut at each of its
bytes, and the next daemon is started: ``python -m tests.programs.kills cuts [LINE]`` does nothing
else, for one line if it is named. No line that is cut leads to a second start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import unittest
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from palingenesis.monitor.ledger import LEDGER_NAME
from palingenesis.words import Event
from tests.support.agents import AgentTestCase
from tests.support.patience import wait_until
from tests.support.processes import Process, wait_for_end

#: The calls of the system from a stop to the end of its revival are at least so many.
PLACES = 100
#: The lines that are cut: those before the command was started, and those after it.
CUT_BEFORE = (Event.STOPPED,)
CUT_AFTER = (Event.INTENT, Event.STARTED, Event.WORKED)
#: Every so manieth byte at which a line is cut before the command was started: each cut is a
#: revival of its own.
STRIDE = 10
#: Bytes of a line before the start, at most.
LENGTH = 400
#: Seconds until the reset of a limit, after which the command is started.
RESET = 2


class KillCase(AgentTestCase):
    """
    One revival during which the daemon is killed once, and what a second daemon makes of it.

    :param number: the call of the system at which the first daemon is killed, from 1.
    :param is_after: whether it is killed after the call, and not before it.
    :param with_command: whether the command is killed too.
    :param rotates: whether the ledger's file is replaced at each second line.
    :param is_upgrade: whether a second daemon waits to take over, and is killed too: at once, or
        when it has taken over if the number is odd.
    :ivar variant: which of these it is, in words.
    :ivar came_there: whether the daemon came to the place.
    :ivar told: what failed; empty if nothing did.
    """

    def __init__(
        self,
        number: int = 1,
        *,
        is_after: bool = False,
        with_command: bool = False,
        rotates: bool = False,
        is_upgrade: bool = False,
    ) -> None:
        super().__init__("runTest")
        self.number, self.is_after, self.with_command = number, is_after, with_command
        self.rotates, self.is_upgrade = rotates, is_upgrade
        self.came_there = False
        self.told = ""
        self.variant = " ".join(
            words
            for words, holds in (
                ("command too", with_command),
                ("replaced file", rotates),
                ("upgrade", is_upgrade),
            )
            if holds
        )
        self.name = " ".join([f"place {number}{'+' if is_after else ''}", self.variant]).rstrip()

    def runTest(self) -> None:  # noqa: N802 - the default name of a test
        self.came_there = self.kill_and_check()

    def kill_and_check(self) -> bool:
        """Play it, and return whether the daemon came to the place."""
        config = self.configure()
        told = f"{self.number}{'+' if self.is_after else ''}"
        rotation = {"PALINGENESIS_TEST_ROTATION": "1"} if self.rotates else {}
        daemon = self.start_daemon(config, PALINGENESIS_TEST_KILL=told, **rotation)
        follower = self.follower(config) if self.is_upgrade else None
        self.begin("s", "limit:0", "work", "finish").wait()
        wait_until(lambda: not daemon.running or self.has_worked(), "it works or is killed")
        came_there = not daemon.running
        daemon.kill()
        if follower is not None:
            if self.number % 2:
                follower.wait_for_log("This daemon is the keeper")
            follower.kill()
        alive = self.command() if self.with_command else None
        if alive is not None:
            os.kill(alive, signal.SIGKILL)
            wait_for_end(alive)
        self.start_daemon(config)
        self.wait_for_event("worked")
        self.wait_for_looks()
        runs, entries = self.runs("s"), self.reply("LOG 100")
        if alive is None:
            self.assertEqual(len(runs), 2, entries)
            self.assertEqual(self.story().count("started"), 1, entries)
            self.assertEqual(self.reply("STATUS")["total_resumes"], 1)
        else:
            # A command that was killed before it worked is tried again, once, for its own stop.
            self.assertIn(len(runs), (2, 3), entries)
            self.assertNotIn("died", [entry["kind"] for entry in entries if len(runs) == 3])
        return came_there

    def follower(self, config: str) -> Process:
        """Start a second daemon with the same state directory."""
        pidfile, self.place.pidfile = self.place.pidfile, self.place.path("follower.pid")
        socket = self.place.path("follower.sock")
        options = ("--config", config, "--socket", socket)
        follower = self.place.daemon(*options, environment=self.variables)
        self.place.pidfile = pidfile
        return follower

    def command(self) -> int | None:
        """Return the pid of the command that revives the session, if one was started."""
        runs = self.runs("s")
        return runs[1]["pid"] if len(runs) > 1 else None

    def has_worked(self) -> bool:
        # The daemon may be killed while it is asked.
        with contextlib.suppress(OSError, ValueError):
            return "worked" in self.story()
        return False


class CutCase(AgentTestCase):
    """
    A ledger whose last line is cut, and what the next daemon makes of it.

    :param event: what the line says: one of `CUT_BEFORE` or `CUT_AFTER`.
    :param numbers: how many bytes are cut, one after the other; None for each number. Of a line
        before the start, one number is tried.
    :ivar cuts: how many cuts were tried.
    :ivar told: what failed; empty if nothing did.
    """

    def __init__(self, event: Event, numbers: Iterable[int] | None = None) -> None:
        super().__init__("runTest")
        self._event, self._numbers = event, numbers
        self.variant = f"cut of {event}"
        self.name = f"{self.variant} {numbers}"
        self.cuts = 0
        self.told = ""

    def runTest(self) -> None:  # noqa: N802 - the default name of a test
        config, content, line = self.prepare()
        for number in range(1, len(line) + 2) if self._numbers is None else self._numbers:
            self.name = f"{self.variant} by {number} of {len(line) + 1} bytes"
            with open(os.path.join(self.state, LEDGER_NAME), "r+b") as file:
                file.write(content)
                file.truncate(len(content) - min(number, len(line) + 1))
            daemon = self.start_daemon(config)
            if self._event in CUT_BEFORE:
                self.wait_for_event("worked")
            wait_until(lambda: self.ticks() > 3, "it has looked at everything")
            self.check()
            daemon.kill()
            self.cuts += 1

    def prepare(self) -> tuple[str, bytes, bytes]:
        """
        Have a ledger that ends with the line, and no daemon.

        :returns: the configuration, the content of the ledger, and its last line.
        """
        config = self.configure()
        kill = {"PALINGENESIS_TEST_KILL": "start+"} if self._event is Event.INTENT else {}
        daemon = self.start_daemon(config, **kill)
        reset = RESET if self._event in CUT_BEFORE else 0
        self.begin("s", f"limit:{reset}", "hang" if kill else "work", "finish").wait()
        if kill:
            daemon.wait()
        else:
            self.wait_for_event(self._event)
        daemon.kill()
        if self._event in CUT_AFTER:
            wait_until(lambda: len(self.runs("s")) > 1, "the command runs")
        with open(os.path.join(self.state, LEDGER_NAME), "rb") as file:
            content = file.read()
        lines = content.splitlines(keepends=True)
        # What followed before the kill goes too.
        while json.loads(lines[-1])["event"] != self._event:
            lines.pop()
        return config, b"".join(lines), lines[-1].rstrip()

    def check(self) -> None:
        """Check that the command was started once, and that the ledger does not say more."""
        entries = self.reply("LOG 1000")
        self.assertEqual(len(self.runs("s")), 2, entries)
        self.assertLessEqual(self.story().count("started"), 1, entries)
        self.assertLessEqual(self.reply("STATUS")["total_resumes"], 1)
        if self._event in (Event.STARTED, Event.WORKED):
            # Its intent is there: it is known again.
            self.assertEqual(self.story().count("started"), 1, entries)
            self.assertEqual(self.reply("STATUS")["total_resumes"], 1)

    def ticks(self) -> int:
        """Return how often the daemon has looked at all sessions."""
        name = "palingenesis_scan_seconds_count "
        lines = self.reply("METRICS").splitlines()
        return next(int(each.removeprefix(name)) for each in lines if each.startswith(name))


Case = TypeVar("Case", KillCase, CutCase)


def tried(case: Case) -> Case:
    """Run a case to its end; what fails is in its text."""
    result: unittest.TestResult = unittest.TestResult()
    case.run(result)
    case.told = "\n".join(text for _, text in (*result.failures, *result.errors))
    return case


def shown(case: Case) -> Case:
    """Try a case, and print what becomes of it."""
    tried(case)
    print(f"{case.name}: {case.told or 'as it should be'}", flush=True)
    return case


def kill_at_places(first: int, last: int) -> list[KillCase]:
    """Kill daemons before and after each of these calls of the system."""
    return [
        shown(
            KillCase(
                number,
                is_after=is_after,
                with_command=(number + is_after) % 3 == 0,
                rotates=number % 4 == 0,
                is_upgrade=number % 5 == 0,
            )
        )
        for number in range(first, last + 1)
        for is_after in (False, True)
    ]


def cut_lines(events: Iterable[Event]) -> list[CutCase]:
    """Cut each of these lines at its bytes."""
    cases = []
    for event in events:
        if event in CUT_AFTER:
            cases.append(shown(CutCase(event)))
        else:
            cases += [shown(CutCase(event, [number])) for number in range(1, LENGTH, STRIDE)]
    return cases


def main() -> None:
    kills: list[KillCase] = []
    cuts: list[CutCase] = []
    if sys.argv[1:2] == ["cuts"]:
        cuts = cut_lines(map(Event, sys.argv[2:]) if sys.argv[2:] else (*CUT_BEFORE, *CUT_AFTER))
    elif len(sys.argv) > 1:
        kills = kill_at_places(*map(int, sys.argv[1:3]))
    else:
        kills, cuts = kill_at_places(1, PLACES), cut_lines((*CUT_BEFORE, *CUT_AFTER))
    counts: Counter[str] = Counter()
    for kill in kills:
        counts[f"kill {kill.variant}".rstrip()] += kill.came_there
    for cut in cuts:
        counts[cut.variant] += cut.cuts
    for variant, count in sorted(counts.items()):
        print(f"{count:6} {variant}")
    failed = sum(bool(case.told) for case in (*kills, *cuts))
    print(f"{counts.total()} kills and cuts, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
